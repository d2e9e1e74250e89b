"""Tips: a listener gives money to a Space's hosts."""
