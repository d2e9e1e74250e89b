"""One command that measures Takings against floors taken in the same run on the same database.

A floor is what the machine could do at most for that work: raw SQL, or a route that does nothing.
Figures move from machine to machine and from hour to hour; only the ratios are worth a look.
"""
