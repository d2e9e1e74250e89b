"""Every package's checks, gathered: all that the books say of themselves."""

from takings.ledger import checks as ledger
from takings.ledger.checks import Check
from takings.payments import checks as payments
from takings.payouts import banks
from takings.payouts import checks as payouts
from ticketing import checks as ticketing

CHECKS: tuple[Check, ...] = (
    *ledger.CHECKS,
    *payments.CHECKS,
    *payouts.CHECKS,
    *banks.CHECKS,
    *ticketing.CHECKS,
)
