"""What each kind of line becomes when its payment is settled: a plain dict, gathered here."""

from takings.payments.payments import Settlement
from ticketing import sales
from tipping import tips

SETTLEMENT: Settlement = {**tips.SETTLEMENT, **sales.SETTLEMENT}
