"""The demo comes out right, beside another one too, and leaves nothing behind."""

import asyncio
import os
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from api.cli.demo import report
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


async def demo(ground: Path, *arguments: str) -> asyncio.subprocess.Process:
    """A demo with few listeners, in a terminal of its own as it were."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "api.cli", "demo", "--listeners", "20", *arguments),
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(ground)},
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
        assert "Trial balance" in said
    assert homes(ground) == []
    assert processes(ground) == []


def test_a_cent_out_of_place_is_said() -> None:
    money = Money(500, "eur")
    wish = Wish("tip_1", "listener_1", "spc_jazz", money, "checkout", "pm_card_visa", None)
    played = Played(paid={"tip_1": wish}, refunded=[Money(100, "eur")])
    assert report.misplaced(played, Counter(eur=400)) == []
    [said] = report.misplaced(played, Counter(eur=399))
    assert said == "The hosts have 3.99 EUR, the listeners gave 4.00 EUR."


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


async def test_a_demo_that_is_kept_says_where_it_is_until_it_is_stopped(ground: Path) -> None:
    process = await demo(ground, "--keep")
    assert process.stdout is not None
    said = ""
    while "v1/trial-balance" not in said:
        line = await process.stdout.readline()
        assert line, said
        said += line.decode()
    assert "tk_test_" in said
    process.send_signal(signal.SIGINT)
    rest, _ = await process.communicate()
    assert process.returncode == 0, said + rest.decode()
    assert homes(ground) == []
    assert processes(ground) == []
