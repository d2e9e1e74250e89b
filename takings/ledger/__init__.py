"""The books: accounts, entries, the journal, balances, and the checks they run on themselves."""
