"""Takings as a library: its names stay, and it works in another application's transaction.

The application is a chat: its messages are rows of its own, in its own schema, written through its
own engine under its own role; a message and the tip or entry that came with it are one.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import Field, MetaData, SQLModel, select
from sqlmodel.ext.asyncio.session import AsyncSession

import takings
import ticketing
import tipping
from api import worker
from api.runtime import Runtime
from sandbox.control import Sandbox
from takings import Conflict, Entry, Invalid, Money, Posting, accounts, database, journal
from takings.payments.asks import LEASE, Ask
from tests import books, stories
from tests.conftest import Fresh
from tipping import tips

ROOT = Path(__file__).parent.parent.parent

NAMES = """
PRESETS Conflict Corrupt Database Entry FeeSchedule Invalid Money NotFound Policy Posting Refused
Share Stripe TakingsError Terms Tier Unavailable accounts agreements balances batches books cash
checks database disputes embedded hosts journal money onboarding payments plans policies previews
receipts refunds releases spaces stages stripe sweeps webhooks
"""
TICKETING = """
CHECKS admissions calendars cancellations codes comps door_keys doors holds passes pools purchases
quotas returns runs tickets tiers waitlist wishes
"""


def test_the_names_that_applications_may_use_stay_as_they_are() -> None:
    assert takings.__all__ == NAMES.split()
    assert tipping.__all__ == ["presets", "tabs", "tips"]
    assert ticketing.__all__ == TICKETING.split()


@pytest.mark.parametrize(
    "first", ["takings.books", "takings.payments.asks", "tipping.limits", "ticketing.sales"]
)
async def test_whatever_is_imported_first_the_names_are_the_same(first: str) -> None:
    program = f"""
import {first}
import takings, ticketing, tipping
found = {{name: getattr(takings, name) for name in takings.__all__}}
assert found["spaces"].schedule and found["policies"].publish and found["payments"].get
print(*found, *tipping.__all__, *ticketing.__all__)"""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert out.decode().split() == [*takings.__all__, *tipping.__all__, *ticketing.__all__]


class Message(SQLModel, table=True):
    """What somebody said; a row of the chat's."""

    metadata = MetaData()
    __tablename__ = "messages"
    __table_args__ = ({"schema": "chat"},)

    id: str = Field(primary_key=True)
    said: str


CHAT = """
CREATE ROLE {role} LOGIN PASSWORD 'chat';
GRANT takings_app TO {role};
CREATE SCHEMA chat AUTHORIZATION {role};
SET ROLE {role};
CREATE TABLE chat.messages (id text PRIMARY KEY, said text NOT NULL);
"""


@pytest.fixture
async def chat(fresh: Fresh) -> AsyncIterator[AsyncEngine]:
    """The chat's own engine, on the same database, as a role of its own."""
    role = f"chat_{os.getpid()}"
    url = database.address(fresh.app).set(username=role, password="chat")
    async with books.connected(fresh.admin) as connection:
        await connection.execute(CHAT.format(role=role))
        await connection.execute("RESET ROLE")
        engine = create_async_engine(url)
        yield engine
        await engine.dispose()
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


Step = Callable[[AsyncSession], Awaitable[Any]]


async def say(chat: AsyncEngine, text: str, *steps: Step, name: str = "1") -> list[Any]:
    """A transaction of the chat's: a message, and whatever comes with it."""
    with database.in_our_words():
        async with AsyncSession(chat) as session, session.begin():
            session.add(Message(id=name, said=text))
            return [await step(session) for step in steps]


async def said(chat: AsyncEngine) -> list[str]:
    async with AsyncSession(chat) as session:
        return list(await session.exec(select(Message.said).order_by(Message.said)))


def bar(minor: int) -> Step:
    """Somebody pays at the bar of the club, and Ada is owed it."""
    money = Money(minor, "eur")
    owed = Posting(accounts.of_host("host_ada", "held"), -money)
    entry = Entry(f"bar:{minor}", "bar", "bar", books.NOON, (Posting(accounts.BANK, money), owed))
    return lambda session: journal.post(session, [entry])


def tip(runtime: Runtime, minor: int = 500) -> Step:
    wish = tips.Wish("tip_1", "spc_one", "lis_zoe", Money(minor, "eur"), "intent")
    return lambda session: tips.write(session, runtime.stripe, wish, runtime.now())


class ChangedTheirMind(Exception):
    """The chat does not want to, after all."""


async def second_thoughts(_: AsyncSession) -> None:
    raise ChangedTheirMind


async def carried(runtime: Runtime, ask: Ask | None) -> tips.Sent:
    """What the chat does after its commit."""
    return await tips.carry(runtime.database, runtime.stripe, "tip_1", ask, now=runtime.now())


def asked(box: Sandbox) -> int:
    return len(box.calls("POST", "/v1/payment_intents"))


async def test_an_entry_is_committed_with_the_applications_own_row(
    runtime: Runtime, chat: AsyncEngine
) -> None:
    assert await say(chat, "A beer!", bar(400)) == [{"bar:400"}]
    assert await said(chat) == ["A beer!"]
    assert (
        await stories.told(runtime.database)
        == """\
bar:400
  assets:bank +400 eur
  liabilities:host:host_ada:held -400 eur"""
    )


async def test_rolled_back_there_is_neither_entry_nor_row(
    runtime: Runtime, chat: AsyncEngine
) -> None:
    with pytest.raises(ChangedTheirMind):
        await say(chat, "A beer!", bar(400), second_thoughts)
    assert (await said(chat), await stories.told(runtime.database)) == ([], "")


async def test_a_law_of_the_books_takes_the_applications_row_back_too_and_speaks_our_words(
    runtime: Runtime, chat: AsyncEngine
) -> None:
    with pytest.raises(database.Overdrawn):
        await say(chat, "On the house!", bar(-400))
    assert (await said(chat), await stories.told(runtime.database)) == ([], "")


async def test_a_law_of_the_applications_takes_the_entry_back_too(
    runtime: Runtime, chat: AsyncEngine
) -> None:
    await say(chat, "A beer!", bar(400))
    with pytest.raises(Conflict, match="messages_pkey"):
        await say(chat, "Another, under the same name!", bar(500))
    assert await said(chat) == ["A beer!"]
    assert "bar:500" not in await stories.told(runtime.database)


async def test_a_savepoint_keeps_the_applications_row_where_the_entry_is_refused(
    runtime: Runtime, chat: AsyncEngine
) -> None:
    async def refused(session: AsyncSession) -> str:
        try:
            with database.in_our_words():
                async with session.begin_nested():
                    await bar(-400)(session)
        except database.Overdrawn as error:
            return error.code
        return "nothing"

    assert await say(chat, "On the house!", refused) == ["overdrawn"]
    assert (await said(chat), await stories.told(runtime.database)) == (["On the house!"], "")


async def test_a_message_and_its_tip_are_one_and_the_tip_is_carried_on_after_the_commit(
    runtime: Runtime, box: Sandbox, chat: AsyncEngine
) -> None:
    await stories.room(runtime.database, runtime.now())
    (ask,) = await say(chat, "Bravo!", tip(runtime))
    assert asked(box) == 0  # nothing before the commit
    sent = await carried(runtime, ask)
    assert (sent.state, await said(chat)) == ("pending", ["Bravo!"])
    box.pay(sent.payment.intent_id)
    await stories.hear(runtime, box)
    assert (await tips.get(runtime.database, "tip_1")).state == "settled"
    assert await stories.guilty(runtime.database) == {}


async def test_rolled_back_there_is_neither_tip_nor_message_and_stripe_was_never_asked(
    runtime: Runtime, box: Sandbox, chat: AsyncEngine
) -> None:
    await stories.room(runtime.database, runtime.now())
    with pytest.raises(ChangedTheirMind):
        await say(chat, "Bravo!", tip(runtime), second_thoughts)
    await stories.hear(runtime, box, now=runtime.now() + 2 * LEASE)
    assert await said(chat) == []
    for table in ("tips", "payments", "lines", "asks"):
        assert await books.count(runtime.database, table) == 0
    assert asked(box) == 0


async def test_control_an_act_in_the_place_of_the_step_outlives_the_rollback(
    runtime: Runtime, chat: AsyncEngine
) -> None:
    await stories.room(runtime.database, runtime.now())

    async def send(_: AsyncSession) -> None:
        await stories.tip(runtime, 500)

    with pytest.raises(ChangedTheirMind):
        await say(chat, "Bravo!", send, second_thoughts)
    assert (await said(chat), await books.count(runtime.database, "tips")) == ([], 1)


async def test_a_wrong_tip_takes_the_message_back(runtime: Runtime, chat: AsyncEngine) -> None:
    await stories.room(runtime.database, runtime.now())
    with pytest.raises(Invalid, match=r"0\.01 EUR is less than the minimum"):
        await say(chat, "Boo!", tip(runtime, 1))
    assert await said(chat) == []


async def test_a_tip_whose_application_died_after_the_commit_is_carried_on_by_the_worker(
    runtime: Runtime, box: Sandbox, chat: AsyncEngine
) -> None:
    await stories.room(runtime.database, runtime.now())
    await say(chat, "Bravo!", tip(runtime))
    await worker.drain(runtime, runtime.now() + 2 * LEASE)
    assert asked(box) == 1
    assert (await carried(runtime, None)).payment.intent_id
    assert asked(box) == 1


async def test_written_twice_it_is_one_tip(
    runtime: Runtime, box: Sandbox, chat: AsyncEngine
) -> None:
    await stories.room(runtime.database, runtime.now())
    for name in ("1", "2"):
        (ask,) = await say(chat, "Bravo!", tip(runtime), name=name)
        await carried(runtime, ask)
    assert asked(box) == 1
    with pytest.raises(tips.TipDiffers):
        await say(chat, "Bravo, bravo!", tip(runtime, 501), name="3")


async def test_the_applications_role_reads_the_books_and_cannot_rewrite_them(
    chat: AsyncEngine,
) -> None:
    await say(chat, "A beer!", bar(400))
    async with AsyncSession(chat) as session:
        assert await database.fetch(session, "SELECT key FROM entries")
    for statement in ("DELETE FROM postings", "UPDATE balances SET minor = 0"):
        with pytest.raises(DBAPIError, match="permission denied"):
            await say(chat, "Ha!", partial(database.fetch, sql=statement), name="2")
