"""Keys from the command line: issued, listed, replaced, revoked, and every act noted."""

import json
from datetime import timedelta

from api import keys
from api.runtime import Runtime
from tests.acceptance.test_cli import Cli, cli

__all__ = ["cli"]  # the fixture


async def test_a_key_is_issued_listed_and_revoked(cli: Cli, runtime: Runtime) -> None:
    issued = await cli("keys", "issue", "backend")
    secret = issued.out.strip()
    assert secret.startswith("tk_test_")
    keyring = keys.Keyring(runtime.database)
    assert await keyring.find(secret, runtime.now())
    [listed] = (await cli("keys", "list", "--json")).json["data"]
    assert (listed["name"], listed["scopes"]) == ("backend", ["admin"])
    assert secret not in json.dumps(listed)
    assert (await cli("keys", "revoke", listed["id"])).code == 0
    keyring.forget()
    assert not await keyring.find(secret, runtime.now())
    noted = await runtime.database.fetch("SELECT actor, operation, target FROM acts ORDER BY id")
    assert {(row.operation, row.target) for row in noted} == {
        ("keys.issue", listed["id"]),
        ("keys.revoke", listed["id"]),
    }
    assert all(row.actor.startswith("cli:") for row in noted)


async def test_a_key_opens_what_its_scopes_name_and_another_takes_its_place(
    cli: Cli, runtime: Runtime
) -> None:
    secret = (await cli("keys", "issue", "bot", "--scope", "tips", "--scope", "spaces")).out.strip()
    [old] = (await cli("keys", "list", "--json")).json["data"]
    assert old["scopes"] == ["tips", "spaces"]
    made = (await cli("keys", "rotate", old["id"], "--hours", "1", "--json")).json
    assert made["scopes"] == old["scopes"]
    await keys.revoke(runtime.database, made["id"], now=runtime.now())
    assert "key_revoked" in (await cli("keys", "rotate", made["id"])).err
    made = (await cli("keys", "rotate", old["id"], "--hours", "1", "--json")).json
    keyring, now = keys.Keyring(runtime.database), runtime.now()
    for minutes, opens in ((59, True), (61, False)):
        found = await keyring.find(secret, now + timedelta(minutes=minutes))
        assert (found is not None) is opens
        assert await keyring.find(made["secret"], now + timedelta(minutes=minutes))
