"""Ticketed Spaces: limited runs that never oversell, held, bought, passed on and admitted once."""
