"""The documentation is true: what it runs, prints, names and links to is so.

A rule is a function of one page that yields what is wrong with it, and beside the rules stand lies
that they must catch.  In a page, ``<!-- runs -->`` before a Python block says that the text block
after it is what it prints; ``<!-- books: … -->`` that the block is what the books hold after one of
the stories below; ``<!-- table: … -->`` that the table is the one of that name below.
"""

import asyncio
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import typer

from api import app as service
from api import gauges, operations
from api.checks import CHECKS
from api.cli import app
from api.metrics import GAUGES
from api.runtime import Runtime
from api.settings import Settings
from sandbox.control import Sandbox
from sandbox.state import PLATFORM
from takings import money
from takings.database import Database, fetch
from takings.ledger import accounts
from takings.money import Money
from takings.payments import cash, refunds
from takings.payouts import reversals
from takings.policies.presets import PRESETS
from tests import authorised, box_office, paying, stories
from tests.acceptance import test_fees, test_ticket_money

ROOT = Path(__file__).parent.parent.parent
FLOORS = ("api", "tipping", "ticketing", "takings")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}

Rule = Callable[[str, str], Iterator[str]]
RULES: list[Rule] = []


def rule(check: Rule) -> Rule:
    RULES.append(check)
    return check


BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def spans(text: str) -> list[str]:
    """What stands as code within a sentence."""
    return re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))


def code(text: str) -> list[str]:
    """Everything that stands as code: the spans, and the lines of the blocks."""
    return [*spans(text), *"".join(BLOCK.findall(text)).splitlines()]


def anchors(text: str) -> set[str]:
    """Where a link into a page may lead: its headings, as Markdown names them."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@rule
def links_lead_somewhere(page: str, text: str) -> Iterator[str]:
    for link in re.findall(r"\]\((?!\w+:)([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        there = (ROOT / page).parent / path if path else ROOT / page
        found = text if not path else there.read_text() if there.is_file() else ""
        if not there.exists() or (anchor and anchor not in anchors(found)):
            yield link


@rule
def paths_exist(_: str, text: str) -> Iterator[str]:
    for span in spans(text):
        top = span.partition("/")[0]
        if re.fullmatch(r"[\w.]+/[\w./]*", span) and top != "build" and (ROOT / top).is_dir():
            yield from () if (ROOT / span).exists() else (span,)


def defined(owner: str, name: str) -> bool:
    """Whether a module or a class of ours has that name; what is not ours may have any."""
    files = chain.from_iterable((ROOT / floor).rglob("*.py") for floor in FLOORS)
    if owner[0].isupper():
        texts = [file.read_text() for file in files]
        holders = [text for text in texts if re.search(rf"^class {owner}\b", text, re.MULTILINE)]
        pattern = rf"^    (?:async def |def )?{name}\b"
    else:
        holders = [file.read_text() for file in files if file.stem == owner]
        pattern = rf"^(?:async def|def|class) {name}\b|^{name}\b *[:=]"
    return not holders or any(re.search(pattern, text, re.MULTILINE) for text in holders)


@rule
def names_of_the_code_exist(_: str, text: str) -> Iterator[str]:
    """``journal.post`` is in a module ``journal``; ``acts.newest`` is an operation of the API."""
    asked = {name.strip("`") for name, *_ in of_operations()}
    for span in spans(text):
        found = re.fullmatch(r"(\w+)\.(\w+)(?:\(.*\))?", span)
        if found and found[2] != "py" and span not in asked and not defined(*found.groups()):
            yield span


@rule
def settings_exist(_: str, text: str) -> Iterator[str]:
    known = {f"TAKINGS_{name.upper()}" for name in Settings.model_fields}
    known.add("TAKINGS_WRITE_EXAMPLES")  # the tests' own
    yield from sorted({*re.findall(r"TAKINGS_[A-Z_]*[A-Z]", text)} - known)


@rule
def make_targets_exist(_: str, text: str) -> Iterator[str]:
    known = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {found[1] for line in code(text) if (found := re.match(r"(?:\$ )?make ([a-z]+)", line))}
    yield from sorted(named - known)


@rule
def commands_exist(_: str, text: str) -> Iterator[str]:
    for line in code(text):
        for words in re.findall(r"(?:^|[ /])takings (?!import )((?:[a-z][a-z-]+ ?){1,2})", line):
            command: Any = typer.main.get_command(app)
            for word in words.split():
                group = getattr(command, "commands", None)
                if group is not None and word not in group:
                    yield f"takings {words.strip()}"
                command = group.get(word) if group is not None else None


@rule
def presets_exist(_: str, text: str) -> Iterator[str]:
    named = {span for span in spans(text) if re.fullmatch(r"[a-z-]+-2021", span)}
    yield from sorted(named - set(PRESETS))


@pytest.mark.parametrize("check", RULES, ids=lambda check: check.__name__)
def test_no_page_breaks_the_rule(check: Rule) -> None:
    assert not [f"{page}: {wrong}" for page, text in TEXTS.items() for wrong in check(page, text)]


LIES: list[tuple[Rule, str]] = [
    (links_lead_somewhere, "See [the map](docs/nowhere.md)."),
    (links_lead_somewhere, "See [below](#not-a-heading)."),
    (paths_exist, "It stands in `takings/ledger/nowhere.py`."),
    (names_of_the_code_exist, "`journal.forget` removes an entry."),
    (names_of_the_code_exist, "`Stripe.guess` asks nobody."),
    (settings_exist, "Set TAKINGS_DEBUG."),
    (make_targets_exist, "Run `make money`."),
    (commands_exist, "Run `takings fix`, then `takings db forget`."),
    (presets_exist, "The preset `myspace-2021`."),
]


@pytest.mark.parametrize(("check", "text"), LIES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_lie_is_seen(check: Rule, text: str) -> None:
    assert list(check("README.md", text))


def test_every_rule_can_be_broken() -> None:
    assert {check for check, _ in LIES} == set(RULES)


RUNS = re.compile(r"<!-- runs -->\s*```python\n(.*?)```[^`]*```text\n(.*?)```", re.DOTALL)
RUNNABLE = [
    pytest.param(*found.groups(), id=f"{page}-{number}")
    for page, text in TEXTS.items()
    for number, found in enumerate(RUNS.finditer(text), 1)
]


@pytest.fixture
def ground() -> Iterator[Path]:
    """An empty folder where PostgreSQL's user can come in too; gone afterwards, with its books."""
    (ROOT / "build" / "docs").mkdir(parents=True, exist_ok=True)
    found = Path(tempfile.mkdtemp(dir=ROOT / "build" / "docs"))
    found.chmod(0o711)
    yield found
    for elsewhere in found.rglob("elsewhere"):
        shutil.rmtree(elsewhere.resolve())
    shutil.rmtree(found)


def test_every_block_that_is_marked_runs() -> None:
    assert len(RUNNABLE) == sum(text.count("<!-- runs -->") for text in TEXTS.values()) > 0


@pytest.mark.parametrize(("program", "printed"), RUNNABLE)
async def test_a_block_prints_what_stands_beside_it(
    program: str, printed: str, ground: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        cwd=ground,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, out.decode()) == (0, printed), err.decode()


JOURNAL = """
SELECT e.key, p.n, a.name, p.minor, p.currency
  FROM entries e
  JOIN postings p ON p.entry_id = e.id AND p.posted_at = e.posted_at
  JOIN accounts a ON a.id = p.account_id
 ORDER BY e.posted_at, e.key, p.n
"""


async def journal(database: Database) -> str:
    """What the books hold, in the order in which it was posted, as a page shows it."""
    lines: list[str] = []
    for row in await database.run(fetch, JOURNAL):
        if row.n == 1:
            lines.append(re.sub(r"(pay|ref|txn|po|trf|trr|dp)_\w+", "<id>", row.key))
        account = row.name.replace("host_", "")
        amount = money.decimal(abs(Money(row.minor, row.currency)))
        lines.append(f"  {account:<30}{('+' if row.minor > 0 else '−') + amount:>8}")
    return "\n".join([*lines, ""])


async def a_tip(runtime: Runtime, box: Sandbox) -> None:
    """Five euros, shared 60 to 40; the listener covers the card fee."""
    await stories.room(runtime.database, runtime.now())
    await stories.paid_tip(runtime, box, 500)
    await stories.end(runtime, box)


async def a_refund(runtime: Runtime, box: Sandbox) -> None:
    """Two of the five euros go back while the room is live; then the bank cannot take them."""
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    part = Money(200, "eur")
    refund = await refunds.refund(
        runtime.database, runtime.stripe, "ref_1", sent.payment.id, part, now=runtime.now()
    )
    await stories.hear(runtime, box)
    box.fail_refund(refund.stripe_id or "")
    await stories.hear(runtime, box)


async def a_dispute(runtime: Runtime, box: Sandbox) -> None:
    """Of five euros and the card fee all is disputed, then taken, then won."""
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500)
    found = box.dispute(payment_intent=sent.payment.intent_id, taken=False)
    await stories.hear(runtime, box)
    box.withdraw_dispute(found["id"])
    await stories.hear(runtime, box)
    box.close_dispute(found["id"], "won")
    await stories.hear(runtime, box)


async def a_fee_passed_on(runtime: Runtime, box: Sandbox) -> None:
    """Ten euros at three per cent, whose one host bears the card fee."""
    await test_fees.sent_and_paid(runtime, box)
    await stories.hear(runtime, box)


async def a_tab(runtime: Runtime, box: Sandbox) -> None:
    """Two tips of five euros on one tab, the second under another agreement."""
    await stories.room(runtime.database, runtime.now())
    await authorised.opened(runtime, box, 5000)
    await authorised.give(runtime, "tip_1")
    await stories.agreed(runtime.database, runtime.now(), {"host_ada": 5000, "host_bob": 5000})
    await authorised.give(runtime, "tip_2")
    await authorised.close(runtime)
    await stories.hear(runtime, box)


async def a_ticket(runtime: Runtime, box: Sandbox) -> None:
    """Ten euros for a ticket at three per cent, whose one host bears the card fee."""
    await test_ticket_money.evening(runtime)
    await box_office.bought(runtime, box, "zoe")
    await stories.end(runtime, box)


async def a_platforms_payout(runtime: Runtime, box: Sandbox) -> None:
    """Somebody sends the platform's money to its bank, in Stripe's dashboard; it comes back."""
    box.state.balances[PLATFORM]["usd"].available = 680
    params = {"amount": 680, "currency": "usd"}
    made = await runtime.stripe.ask("payouts.create", params, "the dashboard")
    await stories.hear(runtime, box)
    box.fail_payout(made["id"])
    await stories.hear(runtime, box)


async def a_payout(runtime: Runtime, box: Sandbox) -> None:
    """Five euros of Ada's are sent to her; then two of them are refunded, and asked back."""
    [payment] = await paying.evening(runtime, box, 500)
    await paying.payee(runtime, box)
    await paying.pay(runtime)
    await paying.hear(runtime, box)
    part, now = Money(200, "eur"), runtime.now()
    await refunds.refund(runtime.database, runtime.stripe, "ref_1", payment, part, now=now)
    await paying.hear(runtime, box)
    await reversals.recover(runtime.database, runtime.stripe, now=now)
    await paying.hear(runtime, box)


STORIES: dict[str, Callable[[Runtime, Sandbox], Awaitable[None]]] = {
    "a tip": a_tip,
    "a tab": a_tab,
    "a refund": a_refund,
    "a dispute": a_dispute,
    "a fee passed on": a_fee_passed_on,
    "a ticket": a_ticket,
    "a payout": a_payout,
    "a platform's payout": a_platforms_payout,
}
BOOKS = re.compile(r"<!-- books: (.+?) -->\s*```text\n(.*?)```", re.DOTALL)


@pytest.mark.parametrize("story", STORIES)
async def test_the_entries_in_a_page_are_those_of_the_story(
    story: str, runtime: Runtime, box: Sandbox
) -> None:
    told = [
        shown for text in TEXTS.values() for name, shown in BOOKS.findall(text) if name == story
    ]
    assert told
    assert all(told)
    await STORIES[story](runtime, box)
    held = await journal(runtime.database)
    assert [shown for shown in told if shown not in held] == []
    assert held in told, held


def of_accounts() -> list[list[str]]:
    """Every account that the code can name."""
    fixed = {value for name, value in vars(accounts).items() if name.isupper() and is_name(value)}
    drawers = {accounts.of_host("<id>", drawer) for drawer in accounts.DRAWERS}
    of_one = {accounts.parked("<id>"), accounts.collected_tax("<country>")}
    return [[f"`{name}`"] for name in (fixed - {accounts.PARKED}) | drawers | of_one]


def is_name(value: object) -> bool:
    return isinstance(value, str) and value != accounts.OWING


def of_settings() -> list[list[str]]:
    """Every setting, what it is by itself, and what it means."""
    found = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = str(default or "").replace(str(Path.home()), "~")
        shown = f"`{shown}`" if shown and default is not None else "–"
        found.append([f"`TAKINGS_{name.upper()}`", shown, field.description or ""])
    return found


def of_categories() -> list[list[str]]:
    """Where each of Stripe's reporting categories is booked."""
    return [[f"`{category}`", f"`{target}`"] for category, target in cash.TARGETS.items()]


def of_checks() -> list[list[str]]:
    """Every law that the books check."""
    return [[check.name, check.promise] for check in CHECKS]


def of_presets() -> list[list[str]]:
    """Every preset and where its rules come from."""
    return [[f"`{name}`", policy.source] for name, policy in PRESETS.items()]


def of_gauges() -> list[list[str]]:
    """Every gauge with its labels, and what it tells."""
    return [[" ".join([f"`{name}`", *labels]), text] for name, (text, labels) in GAUGES.items()]


def of_operations() -> list[list[str]]:
    """The stable ids of the operations, and what the door asks for each."""
    found = []
    for resource in (*service.RESOURCES, gauges):
        for route in resource.router.routes:
            [method], said = route.methods, route.openapi_extra
            key = {"GET": ""}.get(method, "required" if said["x-moves-money"] else "taken")
            place, name = f"`{method} {route.path}`", f"`{operations.named(route)}`"
            found.append([name, place, " or ".join(said["x-scopes"]), key])
    return found


TABLES = {
    "operations": of_operations,
    "accounts": of_accounts,
    "settings": of_settings,
    "categories": of_categories,
    "checks": of_checks,
    "presets": of_presets,
    "gauges": of_gauges,
}


def rows(name: str) -> list[list[str]]:
    """The rows of the table of that name, wherever it stands."""
    found = re.search(
        rf"<!-- table: {name} -->\n\|.*\n\|[-| ]+\n((?:\|.*\n)+)", "\n".join(TEXTS.values())
    )
    lines = found[1].splitlines() if found else []
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_says_what_the_code_says(name: str) -> None:
    expected = sorted(TABLES[name]())
    width = len(expected[0])
    text = "\n".join(f"| {' | '.join(row)} |" for row in TABLES[name]())
    assert sorted(row[:width] for row in rows(name)) == expected, f"it should say:\n{text}"
