"""Acts: whatever is asked to change something is written down with its actor, and done once.

    begun ──► answered       the same key and request again: the same answer
      │  ▲
      ▼  │ the same request again
    left off                 a crash, a 5xx: the next try finishes what this one began

The actor and the idempotency key name the act; a request without a key is an act of its own.  While
an act is in flight nobody else begins it.  What it makes has ids made of its name, so that a second
try meets what the first one left.  Acts are written many at a time.
"""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
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
  RETURNING actor, key
)
SELECT q.id, b.key IS NOT NULL AS ours, k.begun_at, k.status, k.media, k.answer,
       k.fingerprint
  FROM asked q
  LEFT JOIN begun b ON b.actor = q.actor AND b.key = q.key
  LEFT JOIN acts k ON k.actor = q.actor AND k.key = q.key
"""

FINISH = """
UPDATE acts a
   SET status = e.status, media = e.media, answer = e.body, ended_at = $7,
       leased_until = CASE WHEN e.body IS NULL THEN $7 ELSE a.leased_until END,
       fingerprint = CASE WHEN e.open THEN '' ELSE a.fingerprint END
  FROM unnest($1::text[], $2::text[], $3::smallint[], $4::text[], $5::bytea[], $6::boolean[])
    AS e (actor, key, status, media, body, open)
 WHERE a.actor = e.actor AND a.key = e.key
"""

FORGET = "UPDATE acts SET answer = NULL WHERE answer IS NOT NULL AND ended_at < $1 RETURNING id"


@dataclass(frozen=True, slots=True)
class Started:
    """An act that is ours to do now; ``begun_at`` is when it was tried first."""

    actor: str
    key: str
    begun_at: datetime

    def id(self, prefix: str) -> str:
        """The id of what this act makes: every try makes the same."""
        return derived_id(prefix, self.begun_at, f"{self.actor}\n{self.key}")


class Acts:
    """Starts and finishes the acts of one process; those that arrive together share a commit."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._starting: Batcher[Act, Answer | Started] = Batcher(self._start)
        self._finishing: Batcher[tuple[Act, Answer, datetime], None] = Batcher(self._finish)

    async def start(self, act: Act) -> Answer | Started:
        """The answer that the act has already, or that it is ours to do now.

        Raises InFlight while another does it, IdempotencyKeyReused if the key is another act's.
        """
        return await self._starting.put(act)

    async def finish(self, act: Act, answer: Answer, now: datetime) -> None:
        """Write down what it came to, before anybody is told."""
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
                started = Started(act.actor, act.key, row.begun_at or act.begun_at)
                answers.append(started if act is leader else again)
            elif row.fingerprint is not None and bytes(row.fingerprint) != act.fingerprint:
                answers.append(InFlight() if row.fingerprint == b"" else IdempotencyKeyReused())
            elif row.answer is None:
                answers.append(InFlight())
            else:
                answers.append(Answer(row.status, row.media, bytes(row.answer)))
        return answers

    async def _finish(self, ended: Sequence[tuple[Act, Answer, datetime]]) -> Sequence[None]:
        columns = [
            [act.actor for act, _, _ in ended],
            [act.key for act, _, _ in ended],
            [answer.status for _, answer, _ in ended],
            [answer.media for _, answer, _ in ended],
            [answer.body for _, answer, _ in ended],
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
    return len(await database.fetch(FORGET, now - KEPT))


def checked(key: str | None, *, moves_money: bool) -> str | None:
    """The key of a request, if it has one; raises where it must have one or cannot have that."""
    if key is None and moves_money:
        raise IdempotencyKeyMissing
    if key is not None and not (0 < len(key) <= LONGEST and key.isascii() and key.isprintable()):
        raise BadIdempotencyKey
    return key


def fingerprint(operation: str, target: str, body: bytes) -> bytes:
    """What makes two requests the same: what they ask, and the body whatever its spaces."""
    with suppress(orjson.JSONDecodeError):  # what is not JSON is taken byte for byte
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(b"\n".join((operation.encode(), target.encode(), body))).digest()
