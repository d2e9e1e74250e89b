"""Payments: the one door to Stripe, what was paid, what came back, and the cash that proves it."""

from takings.payments.checks import CHECKS
from takings.payments.payments import get

__all__ = ["CHECKS", "get"]
