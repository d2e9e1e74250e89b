"""The demo comes out right, beside another one too, and leaves nothing behind."""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from api.cli import output
from api.cli.demo import box_office, buyers, report
from api.cli.demo.buyers import Memory, Seat
from api.cli.demo.evening import Played, Wish
from takings.money import Money
from tests.conftest import ROOT


@pytest.fixture
def ground() -> Iterator[Path]:
    """A temporary folder for the demos' homes, which PostgreSQL's user may pass through."""
    with tempfile.TemporaryDirectory(prefix="takings-tests-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


async def demo(
    ground: Path,
    *arguments: str,
    cwd: Path = ROOT,
    start: Sequence[str] = ("-m", "api.cli"),
    **env: str,
) -> asyncio.subprocess.Process:
    """A demo with few listeners and buyers, in a terminal of its own as it were."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, *start, "demo", "--listeners", "20", "--buyers", "200", *arguments),
        cwd=cwd,
        env={**os.environ, **env, "TMPDIR": str(ground)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )


def homes(ground: Path) -> list[Path]:
    """What lies there."""
    return list(ground.iterdir())


def processes(ground: Path) -> list[str]:
    """Whatever runs there: PostgreSQL by its command line, ours by what they were told."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            told = process.environ().get("TAKINGS_HOME", "")
            if str(ground) in " ".join([told, *process.cmdline()]):
                found.append(" ".join(process.cmdline()))
    return found


async def test_two_demos_at_once_come_out_right_and_leave_nothing(ground: Path) -> None:
    both = [await demo(ground, "--seed", seed) for seed in ("1", "2")]
    for process, (out, _) in zip(
        both, await asyncio.gather(*(process.communicate() for process in both)), strict=True
    ):
        said = out.decode()
        assert process.returncode == 0, said
        assert "checks hold." in said
        assert "20 tips paid, all settled" in said
        assert "10 of 10 tickets sold, and not one more" in said
        assert "200 buyers came within" in said
        assert "The ticket 1 was admitted at" in said
        assert re.search(r"The debate was cancelled: (\d+) of \1 tickets refunded", said), said
        assert "Trial balance" in said
        told = " ".join(re.sub(r"[│┃]", " ", said).split())
        for part in MONTH:
            assert part in told, said
    assert homes(ground) == []
    assert processes(ground) == []


MONTH = (
    "Ada hands in the papers: http://",
    "$122.40 are parked for Sea Rescue",
    "Fay $261.00 $45.00 $252.00 Gus $156.60 $27.00 $151.20",
    "fraudulent needs_response $100.00 $100.00 $0.00",
    "unrecognized warning_needs_response $20.00 $0.00 $0.00",
    "fraudulent needs_response $100.00 $0.00 $100.00",
    "Of $98.28 that were parked $98.28 are its own now, and $0.00 parked still.",
    "Fay $238.20 sent, approved by the treasurer tr_",
    "Gus $142.92 sent tr_",
    "dispute opened · tips 1 -$45.00",
    "dispute fee passed · tips 1 -$7.50",
    "refund · tips 1 -$15.30",
    "Σ, $0.00 off 19 $238.20",
    "Fay $238.20 $5.40 $0.00 Gus $142.92 $0.00 -$3.24 Sea Rescue $98.28 $2.16 $0.00",
    "Gus's account is empty: Stripe refuses, and $3.24 are owed.",
    "fraudulent lost $100.00 $0.00 $100.00 unrecognized warning_closed $20.00 $0.00 $0.00",
    "-$3.24 $23.76",  # what he could take now, and what is likely on the next payday
    "refund · tips 1 -$3.24 earning · tips 3 $27.00",
    "Σ, $0.00 off 4 $23.76",
    "nobody is owed anything",
)
"""What the month after any evening tells, to the cent."""


async def test_a_demo_knows_nothing_of_the_users_own_database(ground: Path) -> None:
    poison = {
        "TAKINGS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "TAKINGS_OWNER_URL": "mysql://nobody@127.0.0.1:1/none",
        "TAKINGS_HOME": "/dev/null",
        "TAKINGS_STRIPE_API_KEY": "sk_live_of_the_user",
        "TAKINGS_STRIPE_API_BASE": "http://127.0.0.1:1",
        "TAKINGS_SETTLEMENT_CURRENCIES": "chf",
        "TAKINGS_TEST_CLOCK": "/dev/null",
        "TAKINGS_HOST": "nonsense.invalid",
        "TAKINGS_PORT": "many",
    }
    outside = ground.with_name(f"{ground.name}-outside")
    outside.mkdir()
    try:
        (outside / ".env").write_text("\n".join(f"{name}={text}" for name, text in poison.items()))
        process = await demo(ground, cwd=outside, MAKELEVEL="1", **poison)
        out, _ = await process.communicate()
    finally:
        shutil.rmtree(outside)
    assert process.returncode == 0, out.decode()
    assert "Look around in it: make demo KEEP=1" in out.decode()
    assert homes(ground) == []


A_TICKET_TOO_MANY_AND_ONE_TOO_FEW = """
from api.cli import main
from api.cli.demo import cancelled, guests, sale
open_doors, look_on = sale._open, cancelled.play

async def generous(stage, size):
    await open_doors(stage, size + 1)

async def forgetful(stage, memory, groups):
    await look_on(stage, memory, groups)
    memory.seats["tkt_lost"] = guests.Seat(sale.RUN, "zoe", None, 0)

sale._open, cancelled.play = generous, forgetful
main()
"""


async def test_a_demo_that_does_not_come_out_right_says_why_and_fails(ground: Path) -> None:
    process = await demo(ground, start=("-c", A_TICKET_TOO_MANY_AND_ONE_TOO_FEW))
    out, _ = await process.communicate()
    said = out.decode()
    assert "✗ 11 of 10 tickets are sold or held." in said
    assert "✗ The ticket tkt_lost is nobody's, and should be zoe's." in said
    assert "not one more" not in said
    assert process.returncode == 1
    assert homes(ground) == []


def test_a_cent_out_of_place_is_said() -> None:
    money = Money(500, "eur")
    wish = Wish("tip_1", "listener_1", "spc_jazz", money, "checkout", "pm_card_visa", None)
    played = Played(paid={"tip_1": wish}, refunded=[Money(100, "eur")])
    assert report.misplaced(played.given(), Counter(eur=400)) == []
    [said] = report.misplaced(played.given(), Counter(eur=399))
    assert said == "The hosts have 3.99 EUR, the listeners gave 4.00 EUR."


@pytest.fixture
def memory() -> Memory:
    """Ada has a ticket; Bob gave one of two back; Cleo's payment came to nothing."""
    seats = {
        "tkt_1": Seat("run_1", "ada", "pay_1", 1000),
        "tkt_2": Seat("run_1", "bob", "pay_2", 1000),
        "tkt_3": Seat("run_1", "bob", "pay_2", 1000, returned=True),
    }
    opened = {"pay_1", "pay_2", "pay_3"}
    return Memory(seats=seats, charged=Counter(pay_1=1000, pay_2=2000), opened=opened)


def test_a_ticket_in_the_wrong_hands_is_said(memory: Memory) -> None:
    valid = {"tkt_1": "ada", "tkt_2": "bob"}
    assert list(box_office.misplaced(memory, valid)) == []
    assert list(box_office.misplaced(memory, {"tkt_1": "ada"})) == [
        "The ticket tkt_2 is nobody's, and should be bob's."
    ]
    assert list(box_office.misplaced(memory, valid | {"tkt_3": "bob"})) == [
        "The ticket tkt_3 is bob's, and should be nobody's."
    ]


def test_money_that_stripe_took_or_kept_is_said(memory: Memory) -> None:
    charges = {"pay_1": (1000, 0), "pay_2": (2000, 1000)}
    assert memory.given() == Counter(usd=2000)
    assert list(box_office.mischarged(memory, charges)) == []
    assert list(box_office.mischarged(memory, charges | {"pay_3": (1000, 0)})) == [
        "For pay_3 Stripe took 10.00 USD and returned 0.00 USD; it should be 0.00 USD and 0.00 USD."
    ]
    [said] = box_office.mischarged(memory, charges | {"pay_2": (2000, 0)})
    assert said.endswith("returned 0.00 USD; it should be 20.00 USD and 10.00 USD.")


def test_a_wrong_count_and_a_gap_in_the_numbers_are_said() -> None:
    assert list(box_office.miscounted({"sold": 9, "held": 1}, 10)) == []
    assert list(box_office.miscounted({"sold": 9, "held": 0}, 10)) == [
        "9 of 10 tickets are sold or held."
    ]
    assert list(box_office.misnumbered([1, 2, 3])) == []
    assert list(box_office.misnumbered([1, 2, 4])) == [
        "3 tickets were numbered, and not from 1 to 3."
    ]


def test_the_same_seed_brings_the_same_buyers() -> None:
    crowd = buyers.crowd(400, seed=7)
    assert crowd == buyers.crowd(400, seed=7) != buyers.crowd(400, seed=8)
    assert {buyer.then for buyer in crowd} == {"pays", "forgets", "regrets"}
    assert {buyer.surface for buyer in crowd} == {"checkout", "intent", "saved"}
    assert sum(buyer.patient for buyer in crowd) == 20
    assert [buyer.listener for buyer in crowd].count(buyers.SCALPER) == 10


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
async def test_a_demo_that_is_broken_off_leaves_nothing(
    ground: Path, number: signal.Signals
) -> None:
    process = await demo(ground)
    assert process.stdout is not None
    assert b"run." in await process.stdout.readline()
    assert len(homes(ground)) == 1
    assert any("postgres" in line for line in processes(ground))
    assert any("worker" in line for line in processes(ground))
    await asyncio.sleep(0.5)  # in the middle of the tips
    for _ in range(2):  # the second one, of somebody impatient, changes nothing
        process.send_signal(number)
        await asyncio.sleep(0.2)
    rest, _ = await process.communicate()
    assert process.returncode == 130, rest.decode()
    assert "Traceback" not in rest.decode()
    assert homes(ground) == []
    assert processes(ground) == []


async def test_a_demo_that_is_kept_says_what_can_be_typed_as_it_stands(ground: Path) -> None:
    process = await demo(ground, "--keep")
    assert process.stdout is not None
    said = ""
    while "curl" not in said:
        line = await process.stdout.readline()
        assert line, said
        said += line.decode()
    async with httpx.AsyncClient(trust_env=False) as client:
        [schema] = re.findall(r"schema: (\S+)\)", said)
        assert (await client.get(schema)).json()["openapi"]
        [(key, url)] = re.findall(r"curl -H 'Authorization: (Bearer tk_test_\w+)' (\S+)", said)
        answer = await client.get(url, headers={"Authorization": key})
        assert answer.json()["lines"], answer.text
    typed = said.partition("In another terminal:")[2].partition("  curl")[0]
    assert " entries --limit 5\n" in typed
    terminal = await asyncio.create_subprocess_exec(
        *("sh", "-euc", typed),
        cwd="/",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await terminal.communicate()
    assert terminal.returncode == 0, err.decode()
    for words in ("Payouts", "Next payouts of host_gus", "fraudulent, lost", "1 in force"):
        assert words in out.decode()
    assert "checks hold." in out.decode()
    process.send_signal(signal.SIGINT)
    rest, _ = await process.communicate()
    assert process.returncode == 0, said + rest.decode()
    assert homes(ground) == []
    assert processes(ground) == []


@pytest.mark.parametrize(
    ("started", "typed"),
    [
        (f"{ROOT}/.venv/bin/takings", ".venv/bin/takings"),
        (".venv/bin/takings", ".venv/bin/takings"),
        ("/opt/the takings/bin/takings", "'/opt/the takings/bin/takings'"),
        ("/opt/api/cli/__main__.py", f"{shlex.quote(sys.executable)} -m api.cli"),
    ],
)
def test_what_one_types_to_start_it_once_more_works_from_here(
    monkeypatch: pytest.MonkeyPatch, started: str, typed: str
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [started, "demo"])
    assert output.program() == typed


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")
async def test_what_a_killed_demo_leaves_is_only_for_the_doctor_to_remove(ground: Path) -> None:
    process = await demo(ground)
    assert process.stdout is not None
    assert b"run." in await process.stdout.readline()
    process.kill()
    await process.communicate()
    async with asyncio.timeout(20):
        while any("api.cli" in line for line in processes(ground)):
            await asyncio.sleep(0.1)
    [home] = homes(ground)
    for arguments, state, said in (
        ((), "wrong", f"A demo that was killed left {home}."),
        (("--stop",), "fine", f"Removed {home}."),
    ):
        doctor = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api.cli", "doctor", "--json", *arguments),
            env={
                **os.environ,
                "TMPDIR": str(ground),
                "TAKINGS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            },
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await doctor.communicate()
        found = {diagnosis["name"]: diagnosis for diagnosis in json.loads(out)["data"]}
        assert (found["demos"]["state"], found["demos"]["what"]) == (state, said)
    assert homes(ground) == []
    assert processes(ground) == []
