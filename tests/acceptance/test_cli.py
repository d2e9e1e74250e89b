"""The command line tells what the books say, in words and in JSON, and its exit code is true."""

import asyncio
import json
import os
import re
import shlex
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import psutil
import pytest

from api.runtime import Runtime
from api.settings import Settings
from sandbox.control import Sandbox
from takings.database import fetch
from takings.embedded import Server
from tests import stories
from tests.conftest import CONNECT_SECRET, ROOT, SECRET, Fresh


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True)
class Cli:
    """The commands, run as processes of their own beside the sandbox."""

    env: dict[str, str]
    started: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def start(self, *arguments: str, **env: str) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "api.cli", *arguments),
            cwd=ROOT,
            env=self.env | env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
        )
        self.started.append(process)
        return process

    async def __call__(self, *arguments: str, **env: str) -> Said:
        process = await self.start(*arguments, **env)
        out, err = await process.communicate()
        return Said(process.returncode or 0, out.decode(), err.decode())


@pytest.fixture
async def cli(settings: Settings, tmp_path: Path) -> AsyncIterator[Cli]:
    told = {
        "TAKINGS_DATABASE_URL": str(settings.database_url),
        "TAKINGS_OWNER_URL": str(settings.owner_url),
        "TAKINGS_HOME": str(tmp_path / "home"),
        "TAKINGS_STRIPE_API_KEY": settings.stripe_api_key.get_secret_value(),
        "TAKINGS_STRIPE_API_BASE": str(settings.stripe_api_base),
        "TAKINGS_STRIPE_WEBHOOK_SECRETS": SECRET,
        "TAKINGS_STRIPE_CONNECT_SECRETS": CONNECT_SECRET,
    }
    found = Cli({**os.environ, **told, "TMPDIR": str(tmp_path)})
    yield found
    for process in found.started:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
async def payment(runtime: Runtime, box: Sandbox) -> str:
    """The payment of a tip of 5.00 EUR, settled, its cash booked."""
    await stories.room(runtime.database, runtime.now())
    return (await stories.paid_tip(runtime, box, 500, name="tip_one")).payment.id


async def test_the_trial_balance_has_two_equal_sides(cli: Cli, payment: str) -> None:
    said = await cli("trial-balance", "--json")
    assert said.code == 0
    lines = {line["account"]: line for line in said.json["lines"]}
    assert lines["liabilities:host:host_ada:held"]["credit"] == 300
    assert lines["liabilities:host:host_bob:held"]["credit"] == 200
    assert sum(line["debit"] - line["credit"] for line in lines.values()) == 0
    assert said.json["totals"] == [{"account": None, "currency": "eur", "debit": 0, "credit": 0}]
    shown = await cli("trial-balance")
    assert "liabilities:host:host_ada:held" in shown.out
    assert "€3.00" in shown.out
    assert payment


async def test_a_balance_is_told_now_and_as_of_either_time(cli: Cli, payment: str) -> None:
    account = "liabilities:host:host_ada:held"
    now = await cli("balance", account, "--json")
    assert now.json["balances"] == [{"currency": "eur", "minor": -300}]
    for time in ("--happened-at", "--posted-at"):
        before = await cli("balance", account, "--json", time, "2020-01-01T00:00:00Z")
        assert before.json["balances"] == [{"currency": "eur", "minor": 0}]
        after = await cli("balance", account, "--json", time, "2099-01-01")
        assert after.json["balances"] == [{"currency": "eur", "minor": -300}]
    assert payment


async def test_entries_are_found_by_subject_account_and_kind(cli: Cli, payment: str) -> None:
    by_subject = (await cli("entries", "--subject", payment, "--json")).json["data"]
    assert {entry["kind"] for entry in by_subject} == {"earned", "cash"}
    for entry in by_subject:
        assert sum(posting["minor"] for posting in entry["postings"]) == 0
    found = await cli("entries", "--kind", "earned", "--account", "clearing:charges", "--json")
    assert [entry["subject"] for entry in found.json["data"]] == [payment]
    assert (await cli("entries", "--account", "assets:bank", "--json")).json["data"] == []
    assert "clearing:charges" in (await cli("entries", "--limit", "1")).out
    nothing = await cli("entries", "--kind", "earnt")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "No entries.\n")


async def test_hosts_and_spaces_are_listed(cli: Cli, payment: str) -> None:
    hosts = {host["id"]: host for host in (await cli("hosts", "--json")).json["data"]}
    assert hosts["host_bob"]["money"]["eur"]["held"] == 200
    spaces = (await cli("spaces", "--json")).json["data"]
    assert [(space["id"], space["state"]) for space in spaces] == [("spc_one", "live")]
    assert "Ada" in (await cli("hosts")).out
    assert payment


async def test_verify_is_green_and_agrees_with_stripe(cli: Cli, payment: str) -> None:
    said = await cli("verify", "--json")
    assert said.code == 0
    assert said.json["holds"]
    assert said.json["checks"][-1]["name"] == "stripe"
    offline = await cli("verify", "--json", "--offline")
    assert "stripe" not in [check["name"] for check in offline.json["checks"]]
    shown = await cli("verify")
    assert f"All {len(said.json['checks'])} checks hold." in shown.out
    assert "not compared" not in shown.err
    keyless = await cli("verify", "--json", TAKINGS_STRIPE_API_KEY="")
    assert "Stripe's own balance was not compared" in keyless.err
    assert payment


async def test_verify_names_the_row_that_was_altered_behind_the_triggers_back(
    cli: Cli, fresh: Fresh, payment: str
) -> None:
    tamper = "UPDATE postings SET minor = minor + 1 WHERE entry_id = $1 AND n = 1"
    admin = await asyncpg.connect(fresh.admin)
    try:
        entry = await admin.fetchval("SELECT id FROM entries WHERE kind = 'earned'")
        with pytest.raises(asyncpg.RestrictViolationError):  # not even a superuser, awake
            await admin.execute(tamper, entry)
        for (partition,) in await admin.fetch(
            "SELECT inhrelid::regclass::text FROM pg_inherits "
            "WHERE inhparent = 'postings'::regclass AND inhrelid::regclass::text LIKE 'postings%'"
        ):
            await admin.execute(f"ALTER TABLE {partition} DISABLE TRIGGER ALL")
        assert await admin.execute(tamper, entry) == "UPDATE 1"
    finally:
        await admin.close()
    said = await cli("verify", "--json", "--offline")
    assert said.code == 1
    assert not said.json["holds"]
    guilty = {check["name"]: check["guilty"] for check in said.json["checks"]}
    assert guilty["entries balance"] == [{"row": entry, "why": "leaves 1 eur"}]
    assert entry in [found["row"] for found in guilty["running balances"]]
    shown = await cli("verify", "--offline")
    assert shown.code == 1
    assert entry in shown.out
    assert payment


async def test_verify_names_the_account_that_stripe_knows_otherwise(
    cli: Cli, runtime: Runtime, box: Sandbox, payment: str
) -> None:
    sent = await stories.tip(runtime, 700)
    box.pay(sent.payment.intent_id)  # nobody hears of it
    said = await cli("verify", "--json")
    assert said.code == 1
    wrong = {check["name"]: check["guilty"] for check in said.json["checks"] if check["guilty"]}
    assert [found["row"] for found in wrong.pop("stripe")] == ["assets:stripe:pending eur"]
    assert not wrong
    assert payment


async def test_events_are_listed_shown_and_replayed(
    cli: Cli, runtime: Runtime, payment: str
) -> None:
    proof = ("--type", "payment_intent.succeeded")
    listed = await cli("events", "list", *proof, "--status", "done", "--json")
    [event] = [event["id"] for event in listed.json["data"]]
    shown = await cli("events", "show", event, "--json")
    assert shown.json["payload"]["data"]["object"]["metadata"]["takings_payment"] == payment
    assert (await cli("events", "list", "--status", "nope")).code == 2
    before = await stories.told(runtime.database)
    assert (await cli("events", "replay", event)).code == 0
    rows = await runtime.database.run(fetch, "SELECT status FROM events WHERE id = $1", event)
    assert rows[0].status == "received"
    await stories.worker.drain(runtime, runtime.now())
    assert await stories.told(runtime.database) == before


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("balance nowhere", "not_found"),
        ("balance nowhere --posted-at yesterday", "not_an_instant"),
        ("balance nowhere --posted-at 2026-01-01 --happened-at 2026-01-01", "two_times"),
        ("events show evt_none", "not_found"),
        ("events replay evt_none", "not_found"),
        ("keys revoke key_none", "not_found"),
        ("keys issue ''", "no_name"),
        ("keys issue 'back\nend'", "no_name"),
    ],
)
async def test_an_error_is_one_line_with_its_code(cli: Cli, command: str, code: str) -> None:
    said = await cli(*shlex.split(command))
    assert said.code == 2
    assert said.err.startswith("✗ ")
    assert f"({code})" in said.err
    assert "Traceback" not in said.err
    assert not said.out


def assert_refused(said: Said, code: str, why: str) -> None:
    """It was said in words, with its code and its cause, and nothing was done."""
    assert (said.code, said.out) == (2, ""), said.err
    assert f"({code})" in said.err
    assert why in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("command", ["serve", "worker", "up"])
async def test_what_moves_money_does_not_start_without_its_keys(cli: Cli, command: str) -> None:
    key = "TAKINGS_STRIPE_API_KEY"
    assert_refused(await cli(command, **{key: ""}), "stripe_key_missing", key)
    for kind in ("WEBHOOK", "CONNECT") if command != "worker" else ():
        secrets = f"TAKINGS_STRIPE_{kind}_SECRETS"
        assert_refused(await cli(command, **{secrets: ""}), "secret_missing", secrets)


async def test_where_nobody_can_listen_is_said_with_the_true_cause(cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in ("sandbox", "serve"):
            assert_refused(await cli(command, "--port", port), "port_taken", f"127.0.0.1:{port}")
    for host, code in (("nonsense.invalid", "unknown_host"), ("192.0.2.1", "cannot_listen")):
        assert_refused(await cli("serve", "--port", "0", "--host", host), code, host)
    for command in ("sandbox", "serve"):
        said = await cli(command, "--port", "65536")
        assert (said.code, "65535" in said.err) == (2, True), said.err


async def test_a_home_that_is_no_folder_of_ours_is_named(cli: Cli) -> None:
    del cli.env["TAKINGS_DATABASE_URL"]
    assert_refused(await cli("hosts", TAKINGS_HOME="/dev/null"), "unusable", "/dev/null")


async def test_a_wrong_setting_or_database_is_said_in_words(cli: Cli, server: Server) -> None:
    empty = f"empty_{os.getpid()}"
    await server.create(empty)
    try:
        url, nobody = server.url(empty, "app"), "postgresql://a:b@127.0.0.1:1/none"
        for name, value, code, why in (
            ("PORT", "many", "bad_settings", "TAKINGS_PORT"),
            ("PORT", "70000", "bad_settings", "TAKINGS_PORT"),
            ("DATABASE_URL", nobody, "database_away", "127.0.0.1:1"),
            ("DATABASE_URL", nobody.replace("127.0.0.1", "a.invalid"), "database_away", "a.inv"),
            ("DATABASE_URL", url, "schema_differs", "takings db migrate"),
            ("DATABASE_URL", url.replace("@", "x@"), "no_access", "TAKINGS_DATABASE_URL"),
            ("DATABASE_URL", "my database", "bad_settings", "TAKINGS_DATABASE_URL"),
            ("DATABASE_URL", "mysql://a:b@127.0.0.1/c", "bad_settings", "no PostgreSQL"),
            ("DATABASE_URL", "postgresql://a@b:99999/c", "bad_settings", "no port 99999"),
        ):
            said = await cli("hosts", **{f"TAKINGS_{name}": value})
            assert_refused(said, code, why)
    finally:
        await server.drop(empty)


async def test_the_migrations_are_printed_and_proven(cli: Cli) -> None:
    sql = await cli("db", "sql", TAKINGS_DATABASE_URL="postgresql://a:b@127.0.0.1:1/none")
    assert sql.code == 0
    assert "CREATE TABLE postings" in sql.out
    assert "%%" not in sql.out
    checked = await cli("db", "check")
    assert checked.code == 0, checked.err
    assert (await cli("db", "migrate")).code == 0
    assert (await cli("db", "url")).out.strip() == cli.env["TAKINGS_DATABASE_URL"]


async def test_the_doctor_finds_what_is_wrong(cli: Cli, fresh: Fresh) -> None:
    healthy = await cli("doctor", "--json")
    assert healthy.code == 0, healthy.out
    assert {found["state"] for found in healthy.json["data"]} == {"fine"}
    ill = await cli(
        "doctor",
        "--json",
        TAKINGS_DATABASE_URL=fresh.owner,
        TAKINGS_STRIPE_CONNECT_SECRETS="",
        TAKINGS_STRIPE_API_BASE="http://127.0.0.1:1",
    )
    assert ill.code == 1
    wrong = {found["name"] for found in ill.json["data"] if found["state"] == "wrong"}
    assert wrong == {"webhooks", "rights", "stripe"}


@pytest.fixture
def home() -> Iterator[str]:
    """A home for an embedded PostgreSQL, where its user may pass through."""
    with tempfile.TemporaryDirectory(prefix="takings-tests-") as name:
        Path(name).chmod(0o711)
        yield f"{name}/home"


async def test_the_doctor_stops_a_server_that_outlived_its_killed_user(cli: Cli, home: str) -> None:
    del cli.env["TAKINGS_DATABASE_URL"]
    process = await cli.start("serve", "--port", "0", TAKINGS_HOME=home)
    assert process.stdout is not None
    assert await process.stdout.readline()
    process.kill()
    await process.wait()
    found = await cli("doctor", "--json", "--stop", TAKINGS_HOME=home)
    assert found.code == 0
    assert found.json["data"][0]["what"].startswith("Stopped ")
    assert not [
        p for p in psutil.process_iter(["cmdline"]) if home in " ".join(p.info["cmdline"] or ())
    ]


@pytest.mark.parametrize("command", [("up", "--port", "0"), ("serve", "--port", "0")])
async def test_the_service_says_where_it_is_and_stops_when_told(
    cli: Cli, command: tuple[str, ...]
) -> None:
    process = await cli.start(*command)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    found = re.fullmatch(r"takings listening on (http://127\.0\.0\.1:\d+)\n", line)
    assert found is not None
    async with httpx.AsyncClient(base_url=found[1], trust_env=False) as client:
        assert (await client.get("/readyz")).is_success
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 0


async def test_the_sandbox_runs_alone_and_stops_when_told(cli: Cli) -> None:
    process = await cli.start("sandbox", "--port", "0")
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    async with httpx.AsyncClient(base_url=line.split()[-1], trust_env=False) as client:
        assert (await client.get("/_sandbox/clock")).is_success
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()


async def test_a_worker_settles_what_comes_and_stops_when_told(
    cli: Cli, runtime: Runtime, box: Sandbox
) -> None:
    await stories.room(runtime.database, runtime.now())
    sent = await stories.tip(runtime, 500)
    box.webhook("http://127.0.0.1:1", SECRET)  # where nobody listens: all events get lost
    box.pay(sent.payment.intent_id)
    process = await cli.start("worker")
    settled = "SELECT id FROM tips WHERE settled_at IS NOT NULL"
    async with asyncio.timeout(30):  # it asks for what got lost
        while not await runtime.database.run(fetch, settled):
            await asyncio.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 0, err.decode()
