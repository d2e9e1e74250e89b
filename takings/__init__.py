"""Takings: tips, ticketed Spaces and fair splits, on books that check themselves."""
