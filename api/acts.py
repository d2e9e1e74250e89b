"""Acts: whatever is asked to change something is written down with its actor, and done once.

    begun ──► answered       the same key and request again: the same answer
      │  ▲
      ▼  │ the same request again
    left off                 a crash, a 5xx: the next try finishes what this one began

The actor and the idempotency key name the act; a request without a key is an act of its own.  While
an act is in flight nobody else begins it; where it takes so long that somebody does, the last to
begin is the one whose answer counts.  What it makes has ids made of its name, so that a second try
meets what the first one left.  Acts are written many at a time.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import orjson

from takings.batching import Batcher
from takings.database import Database
from takings.errors import Conflict, Invalid
from takings.payments.asks import LEASE, InFlight
from takings.records import derived_id, new_id

KEPT: Final = timedelta(days=7)
"""How long an answer is kept; what was done is remembered for good."""


HEADER: Final = "Idempotency-Key"
LONGEST: Final = 255
BATCH: Final = 5_000
EPOCH: Final = datetime.fromtimestamp(0, UTC)


class IdempotencyKeyMissing(Invalid):
    """This moves money, and the request has no Idempotency-Key.

    Send one that is new for each act and the same for each repetition of it, such as a UUID.
    """

    param = HEADER


class BadIdempotencyKey(Invalid):
    """The Idempotency-Key cannot be kept.

    Send 1 to 255 printable characters of ASCII.
    """

    param = HEADER


class IdempotencyKeyReused(Conflict):
    """The Idempotency-Key was used before, with another request.

    Give each request a key of its own; repeat a request only as it was.
    """

    param = HEADER


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an actor asks for, under a key."""

    id: str
    actor: str
    key: str
    operation: str
    target: str
    fingerprint: bytes
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class Answer:
    """What an act came to; without a body where it may be tried again.

    ``open`` is an answer before anything began: the key is free for any request.
    """

    status: int
    media: str | None = None
    body: bytes | None = None
    etag: str | None = None
    open: bool = False


START = """
WITH asked AS (
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[],
                       $7::timestamptz[])
    AS a (id, actor, key, operation, target, fingerprint, begun_at)
), begun AS (
  INSERT INTO acts AS a (id, actor, key, operation, target, fingerprint, begun_at, leased_until,
                         attempts)
  SELECT id, actor, key, operation, target, fingerprint, begun_at, begun_at + $8::interval, 1
    FROM asked ORDER BY actor, key
  ON CONFLICT (actor, key) DO UPDATE
     SET operation = excluded.operation, target = excluded.target,
         fingerprint = excluded.fingerprint, leased_until = excluded.leased_until,
         attempts = a.attempts + 1
   WHERE a.answer IS NULL AND a.leased_until <= excluded.begun_at
     AND (a.fingerprint = excluded.fingerprint OR a.fingerprint = '')
  RETURNING actor, key, begun_at, attempts
)
SELECT q.id, b.key IS NOT NULL AS ours, b.begun_at, b.attempts, k.status, k.media, k.answer, k.etag,
       k.fingerprint
  FROM asked q
  LEFT JOIN begun b ON b.actor = q.actor AND b.key = q.key
  LEFT JOIN acts k ON k.actor = q.actor AND k.key = q.key
"""

FINISH = """
UPDATE acts a
   SET status = e.status, media = e.media, answer = e.body, etag = e.etag, ended_at = $9,
       leased_until = CASE WHEN e.body IS NULL THEN $9 ELSE a.leased_until END,
       fingerprint = CASE WHEN e.open THEN '' ELSE a.fingerprint END
  FROM unnest($1::text[], $2::text[], $3::integer[], $4::smallint[], $5::text[], $6::bytea[],
              $7::text[], $8::boolean[])
    AS e (actor, key, attempt, status, media, body, etag, open)
 WHERE a.actor = e.actor AND a.key = e.key AND a.attempts = e.attempt
"""

FORGET = """
UPDATE acts SET answer = NULL
 WHERE id IN (SELECT id FROM acts WHERE answer IS NOT NULL AND ended_at < $1
               ORDER BY ended_at LIMIT $2)
RETURNING id
"""


@dataclass(frozen=True, slots=True)
class Started:
    """An act that is ours to do now; ``begun_at`` is when it was tried first."""

    actor: str
    key: str
    begun_at: datetime
    attempt: int

    def id(self, prefix: str) -> str:
        """The id of what this act makes: every try makes the same."""
        return derived_id(prefix, self.begun_at, f"{self.actor}\n{self.key}")


def lasting_id(prefix: str, actor: str, key: str) -> str:
    """The id of what an act makes, known without asking when it was tried first."""
    return derived_id(prefix, EPOCH, f"{actor}\n{key}")


class Acts:
    """Starts and finishes the acts of one process; those that arrive together share a commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._starting: Batcher[Act, Answer | Started] = Batcher(self._start)
        self._finishing: Batcher[tuple[Started, Answer, datetime], None] = Batcher(self._finish)

    async def start(self, act: Act) -> Answer | Started:
        """The answer that the act has already, or that it is ours to do now.

        Raises InFlight while another does it, IdempotencyKeyReused if the key is another act's.
        """
        return await self._starting.put(act)

    async def finish(self, act: Started, answer: Answer, now: datetime) -> None:
        """Write down what it came to, before anybody is told, unless it was begun again since."""
        await self._finishing.put((act, answer, now))

    async def _start(self, acts: Sequence[Act]) -> Sequence[Answer | Started | Exception]:
        first: dict[tuple[str, str], Act] = {}
        for act in acts:
            first.setdefault((act.actor, act.key), act)
        columns = [
            [getattr(act, name) for act in first.values()]
            for name in ("id", "actor", "key", "operation", "target", "fingerprint", "begun_at")
        ]
        rows = {row.id: row for row in await self._database.fetch(START, *columns, LEASE)}
        answers: list[Answer | Started | Exception] = []
        for act in acts:
            leader = first[act.actor, act.key]
            row = rows[leader.id]
            if row.ours:
                same = leader.fingerprint == act.fingerprint
                again = InFlight() if same else IdempotencyKeyReused()
                started = Started(act.actor, act.key, row.begun_at, row.attempts)
                answers.append(started if act is leader else again)
            elif row.fingerprint is not None and bytes(row.fingerprint) != act.fingerprint:
                answers.append(InFlight() if row.fingerprint == b"" else IdempotencyKeyReused())
            elif row.answer is None:
                answers.append(InFlight())
            else:
                answers.append(Answer(row.status, row.media, bytes(row.answer), row.etag))
        return answers

    async def _finish(self, ended: Sequence[tuple[Started, Answer, datetime]]) -> Sequence[None]:
        columns = [
            [act.actor for act, _, _ in ended],
            [act.key for act, _, _ in ended],
            [act.attempt for act, _, _ in ended],
            [answer.status for _, answer, _ in ended],
            [answer.media for _, answer, _ in ended],
            [answer.body for _, answer, _ in ended],
            [answer.etag for _, answer, _ in ended],
            [answer.open for _, answer, _ in ended],
        ]
        await self._database.fetch(FINISH, *columns, max(now for _, _, now in ended))
        return [None] * len(ended)


NOTE = """
INSERT INTO acts (id, actor, key, operation, target, fingerprint, begun_at, leased_until, attempts,
                  ended_at)
VALUES ($1, $2, $1, $3, $4, '', $5, $5, 1, $5)
"""


async def note(
    database: Database, actor: str, operation: str, target: str, *, now: datetime
) -> None:
    """Write down what was done by another way than a request: from the command line."""
    await database.fetch(NOTE, new_id("req"), actor, operation, target, now)


async def forget_answers(database: Database, *, now: datetime) -> int:
    """Erase the answers whose time is over, for they hold what people wrote; say how many."""
    forgotten = 0
    while rows := await database.fetch(FORGET, now - KEPT, BATCH):
        forgotten += len(rows)
    return forgotten


def checked(key: str | None, *, moves_money: bool) -> str | None:
    """The key of a request, if it has one; raises where it must have one or cannot have that."""
    if key is None and moves_money:
        raise IdempotencyKeyMissing
    if key is not None and not (0 < len(key) <= LONGEST and key.isascii() and key.isprintable()):
        raise BadIdempotencyKey
    return key


def fingerprint(operation: str, target: str, seen: str, body: bytes) -> bytes:
    """What makes two requests the same: what they ask, of which version, and the body.

    The spaces in a body do not matter.
    """
    with suppress(orjson.JSONDecodeError):  # what is not JSON is taken byte for byte
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    head = (one.encode() for one in (operation, target, seen))
    return hashlib.sha256(b"\n".join((*head, body))).digest()
