"""Disputes from the command line: what banks ask back, and the evidence to send them."""

import zipfile
from pathlib import Path

import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from tests import stories
from tests.acceptance.test_cli import Cli, assert_refused, cli

__all__ = ["cli"]  # the fixture


@pytest.fixture
async def dispute(runtime: Runtime, box: Sandbox) -> str:
    """A tip of 5.00 that the bank has taken back."""
    await stories.room(runtime.database, runtime.now())
    sent = await stories.paid_tip(runtime, box, 500, name="tip_one")
    found: str = box.dispute(payment_intent=sent.payment.intent_id)["id"]
    await stories.hear(runtime, box)
    return found


async def test_disputes_are_listed_and_shown_with_their_lines(cli: Cli, dispute: str) -> None:
    [found] = (await cli("disputes", "list", "--open", "--json")).json["data"]
    assert (found["id"], found["taken"], found["status"]) == (dispute, 546, "needs_response")
    shown = (await cli("disputes", "list")).out
    for words in (dispute, "€5.46", "fraudulent, needs response by 20"):
        assert words in shown, shown
    unknown = await cli("disputes", "list", "--status", "eaten")
    assert (unknown.code, "'warning_closed'" in unknown.err) == (2, True), unknown.err
    for flags in (["--closed"], ["--payment", "pay_none"], ["--status", "won"]):
        assert (await cli("disputes", "list", *flags, "--json")).json["data"] == []
    one = (await cli("disputes", "show", dispute, "--json")).json
    assert one == found
    said = (await cli("disputes", "show", dispute)).out
    for words in ("needs_response, fraudulent, evidence due by 20", "taken 5.46 EUR", "tip_one"):
        assert words in said, said
    assert_refused(await cli("disputes", "show", "dp_none"), "not_found", "dp_none")


async def test_the_evidence_is_written_into_a_file(cli: Cli, dispute: str, tmp_path: Path) -> None:
    file = tmp_path / "pack.zip"
    said = await cli("disputes", "evidence", dispute, "--to", str(file))
    assert (said.code, said.out) == (0, f"✓ {file}\n"), said.err
    with zipfile.ZipFile(file) as archive:
        assert "tip: tip_one" in archive.read("summary.txt").decode()
    nowhere = await cli("disputes", "evidence", dispute, "--to", str(tmp_path / "no" / "pack.zip"))
    assert_refused(nowhere, "not_writable", "pack.zip")
    assert "a folder that exists" in nowhere.err
    none = await cli("disputes", "evidence", "dp_none", "--to", str(tmp_path / "none.zip"))
    assert_refused(none, "not_found", "dp_none")
    assert not (tmp_path / "none.zip").exists()
