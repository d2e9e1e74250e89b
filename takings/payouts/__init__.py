"""Payouts: what is the host's to take goes out, on time and once, and says what it pays."""
