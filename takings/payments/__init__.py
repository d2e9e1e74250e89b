"""Payments: the one door to Stripe, what was paid, what came back, and the cash that proves it."""
