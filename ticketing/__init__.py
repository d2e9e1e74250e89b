"""Ticketed Spaces: the next floor to be built; nothing is sold here yet."""
