"""What each kind of line becomes when it is paid, and who reads which event: plain dicts."""

from takings.payments.facts import Readers
from takings.payments.payments import Settlement
from takings.payouts import banks, capabilities
from ticketing import sales
from tipping import tips

SETTLEMENT: Settlement = {**tips.SETTLEMENT, **sales.SETTLEMENT}
READERS: Readers = {**capabilities.READERS, **banks.READERS}
