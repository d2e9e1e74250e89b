"""Transfers: a payout's money on its way to the host's own account at Stripe, once.

    asked ──► sent          Stripe has taken it: the payout is sent
      └─────► refused       Stripe said no: the payout is refused, and the money is available again

A transfer is a row and an ask before it is a call.  What Stripe answers while a commit is in flight
is written by the next one.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from takings.batching import Batcher
from takings.database import Database, fetch, plans_kept
from takings.errors import Conflict, NotFound, Unavailable
from takings.ledger import accounts, journal
from takings.ledger.entries import Entry, Posting
from takings.money import Money
from takings.payments import asks, objects
from takings.payments.asks import Ask
from takings.payments.objects import Object
from takings.payments.stripe import Call, Stripe, StripeRefused
from takings.payouts import funds
from takings.records import new_id

log = structlog.get_logger()

CALL: Final[Call] = "transfers.create"
BATCH: Final = 200
"""How many transfers one run of ``send`` carries: the worker has other duties too."""


class Undecided(Conflict):
    """Stripe failed on the transfer {id}, and does not list it yet.

    It is looked up again until Stripe has forgotten its key: until then it may still appear.
    """


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a transfer: Stripe's object, or why there is none."""

    ask: Ask
    found: Object | None
    error: str = "Stripe has no such transfer"

    @property
    def transfer(self) -> str:
        """Our id of it."""
        return self.ask.key.partition(":")[2]


INSERT = """
INSERT INTO transfers (id, payout_id, host_id, currency, minor, state, reversing, reversed,
                       created_at)
SELECT t.id, p.id, p.host_id, p.currency, p.minor, 'asked', 0, 0, $3
  FROM unnest($1::text[], $2::text[]) AS t (id, payout_id) JOIN payouts p ON p.id = t.payout_id
"""


async def write(session: AsyncSession, payouts: Sequence[Any], now: datetime) -> Sequence[str]:
    """Write one transfer for each payout, and what it asks of Stripe; answer the asks' keys."""
    ids = [new_id("trf") for _ in payouts]
    async with plans_kept(session):
        await fetch(session, INSERT, ids, [payout.id for payout in payouts], now)
    asked = {
        f"transfer:{transfer}": {
            "amount": payout.minor,
            "currency": payout.currency,
            "destination": payout.destination,
            "transfer_group": payout.id,
            "metadata": {"takings_transfer": transfer, "takings_payout": payout.id},
        }
        for transfer, payout in zip(ids, payouts, strict=True)
    }
    await asks.write_many(session, CALL, asked, now)
    return list(asked)


async def carry(database: Database, door: Stripe, ask: Ask, *, now: datetime) -> None:
    """Carry a transfer's ask to Stripe and book the answer.

    Raises StripeRefused once that is booked; Unavailable, and then it is asked again later.
    """
    answer, refused = await _asked(database, door, ask, now)
    await database.run(book, [answer], now)
    if refused is not None:
        raise refused


async def _asked(
    database: Database, door: Stripe, ask: Ask, now: datetime
) -> tuple[Answer, Exception | None]:
    try:
        found = await asks.answer(database, door, ask, now)
        if found is None and not ask.expired:  # to give the money back now could pay it twice
            raise Undecided(id=ask.key.partition(":")[2])
        return Answer(ask, found), None
    except (StripeRefused, NotFound) as error:  # NotFound: the host's account is gone
        return Answer(ask, None, error.message), error


async def send(database: Database, door: Stripe, *, now: datetime) -> int:
    """Carry the transfers that are due to Stripe, a batch of them; answer how many are booked.

    The next ones are asked while the last answers are booked.  Where Stripe is away it stops; what
    it took along is due again when its lease is over.
    """
    due = {ask.key: ask for ask in await asks.take_due(database, [CALL], now, limit=BATCH)}
    booking: list[asyncio.Task[None]] = []

    async def write_down(answers: Sequence[Answer]) -> Sequence[Exception | None]:
        try:
            await database.run(book, answers, now)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - whatever is wrong with one must not hold up the rest
            return [await _alone(database, answer, now) for answer in answers]
        return [None] * len(answers)

    writer: Batcher[Answer, None] = Batcher(write_down)

    async def one(key: str) -> None:
        answer, _ = await _asked(database, door, due[key], now)
        booking.append(asyncio.create_task(writer.put(answer)))

    await asks.side_by_side(due, one)
    booked = await asyncio.gather(*booking, return_exceptions=True)
    for error in filter(None, booked):
        log.warning("transfer_not_booked", why=str(error))
    return sum(error is None for error in booked)


async def _alone(database: Database, answer: Answer, now: datetime) -> Exception | None:
    try:
        await database.run(book, [answer], now)
    except Exception as error:  # noqa: BLE001 - it is raised to whoever waits for this answer
        return error
    return None


LOCK = """
SELECT t.id, t.payout_id, t.host_id, t.currency, t.minor
  FROM transfers t JOIN payouts p ON p.id = t.payout_id
 WHERE t.id = ANY($1::text[]) AND t.state = 'asked' ORDER BY t.id FOR NO KEY UPDATE
"""

SENT = """
WITH sent AS (
  UPDATE transfers t SET state = 'sent', stripe_id = a.stripe_id, sent_at = a.at
    FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS a (id, stripe_id, at)
   WHERE t.id = a.id
  RETURNING t.payout_id, t.sent_at
)
UPDATE payouts p SET state = 'sent', ended_at = sent.sent_at FROM sent WHERE p.id = sent.payout_id
"""

REFUSED = """
WITH refused AS (
  UPDATE transfers t SET state = 'refused', error = a.error
    FROM unnest($1::text[], $2::text[]) AS a (id, error) WHERE t.id = a.id
  RETURNING t.payout_id, t.error
)
UPDATE payouts p SET state = 'refused', error = refused.error, ended_at = $3
  FROM refused WHERE p.id = refused.payout_id
"""


# A day's payout that did not go out is due again tomorrow, not when its plan's next day comes.
TOMORROW = """
UPDATE payout_plans p
   SET next_on = least(p.next_on, ($2::timestamptz AT TIME ZONE z.zone)::date + 1)
  FROM payouts o JOIN payout_batches b ON b.id = o.batch_id AND b.scheduled, books z
 WHERE o.id = ANY($1::text[]) AND p.host_id = o.host_id AND p.next_on IS NOT NULL
"""


async def book(session: AsyncSession, answers: Sequence[Answer], now: datetime) -> None:
    """Book what became of transfers, each once, whoever asked."""
    by_id = {answer.transfer: answer for answer in answers}
    rows = await fetch(session, LOCK, list(by_id))
    sent: list[tuple[str, str, datetime]] = []
    refused: list[tuple[str, str]] = []
    entries = []
    for row in rows:
        answer, amount = by_id[row.id], Money(row.minor, row.currency)
        if answer.found is None:
            refused.append((row.id, answer.error))
            entries.append(funds.moved(row.payout_id, row.host_id, amount, "refused", now))
        else:
            at = objects.moment(answer.found["created"])
            sent.append((row.id, answer.found["id"], at))
            entries.append(_sent(row.id, row.host_id, amount, answer.found["id"], at))
    if sent:
        await fetch(session, SENT, *map(list, zip(*sent, strict=True)))
    if refused:
        await fetch(session, REFUSED, *map(list, zip(*refused, strict=True)), now)
        not_sent = [row.payout_id for row in rows if by_id[row.id].found is None]
        await fetch(session, TOMORROW, not_sent, now)
    await journal.post(session, entries)
    await asks.all_answered(session, [answer.ask.key for answer in answers], now)


def _sent(transfer: str, host_id: str, amount: Money, stripe_id: str, at: datetime) -> Entry:
    """The entry of a transfer that Stripe has taken; its cash line has the same subject."""
    return Entry(
        key=f"transfer:{transfer}:sent",
        kind="transfer_sent",
        subject=stripe_id,
        happened_at=at,
        postings=(
            Posting(accounts.of_host(host_id, "in_transit"), amount),
            Posting(accounts.TRANSFERS, -amount),
        ),
        source=stripe_id,
    )
