"""A pass is read without the net, is exactly what was signed, and dies with its key or owner."""

import asyncio
import json
import sys
from base64 import b32decode, b32encode
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import segno
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from takings.database import Database
from tests import at_the_door
from tests.conftest import ROOT
from ticketing import door_keys, passes
from ticketing.passes import BadPass, Pass

VERIFIER = ROOT / "docs" / "verify_pass.py"
NOW = datetime.now(UTC)
PRIVATE = bytes(range(32))
PUBLIC = Ed25519PrivateKey.from_private_bytes(PRIVATE).public_key().public_bytes_raw()
KEYS = {passes.name(PUBLIC): PUBLIC}
HELD = Pass("run_06bqf8v8c0h3v2m4d5k6n7p8q9", 417, 2, b"12345678")
TEXT = passes.sign(HELD, PRIVATE)
GOLDEN = (
    "AFLEOWVHAAAADIIAAAAAEMJSGM2DKNRXHBZHK3S7GA3GE4LGHB3DQYZQNAZXMMTNGRSDK2ZWNY3XAODR"
    "HFD5COH3WLG3K26HPKKZZJRVRPAG76Z2G7J7UFTVLOQHQ5LJG3H52NGDXQAC3QQ3UZZ4GHNFNVWOABVY"
    "ULKO4DO325YUKP3B6VLMCBII"
)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)
counts = st.integers(1, 2**31 - 1)
held = st.builds(Pass, ids, counts, counts, st.binary(min_size=8, max_size=8))


def refused(text: str, keys: dict[str, bytes] = KEYS) -> bool:
    try:
        passes.read(text, keys)
    except BadPass:
        return True
    return False


@given(held)
def test_what_is_signed_is_read_and_fits_into_an_address_and_a_small_code(one: Pass) -> None:
    text = passes.sign(one, PRIVATE)
    assert passes.read(text, KEYS) == one
    assert set(text) <= set(LETTERS)
    assert len(text) <= 232
    assert segno.make_qr(text).mode == "alphanumeric"


def test_the_form_of_a_pass_does_not_change_by_itself() -> None:
    assert TEXT == GOLDEN
    assert (len(TEXT), segno.make_qr(TEXT, error="m").designator) == (184, "8-M")


def test_every_other_letter_at_every_place_makes_it_a_bad_pass() -> None:
    for place, letter in enumerate(TEXT):
        for other in {*LETTERS, letter.lower()} - {letter}:
            assert refused(TEXT[:place] + other + TEXT[place + 1 :]), (place, other)


def test_every_other_bit_of_every_byte_makes_it_a_bad_pass() -> None:
    said = bytearray(b32decode(TEXT))
    for place in range(len(said) * 8):
        said[place // 8] ^= 1 << place % 8
        assert refused(b32encode(said).decode()), place
        said[place // 8] ^= 1 << place % 8
    assert not refused(b32encode(said).decode()), "the control"


def test_a_pass_that_is_cut_or_lengthened_or_of_another_key_is_bad() -> None:
    assert all(refused(TEXT[:length]) for length in range(len(TEXT)))
    assert all(refused(TEXT + more) for more in ("A", "=", "========", "\n", " ", TEXT))
    other = Ed25519PrivateKey.generate()
    forged = passes.sign(HELD, other.private_bytes_raw())
    assert refused(forged)
    public = other.public_key().public_bytes_raw()
    of_ours = b32decode(forged)[:1] + bytes.fromhex(passes.name(PUBLIC)) + b32decode(forged)[5:]
    assert refused(b32encode(of_ours).decode())
    assert refused(forged, {passes.name(PUBLIC): public})
    assert refused(TEXT, {})


@given(st.one_of(st.text(), st.text(LETTERS), st.binary().map(lambda b: b32encode(b).decode())))
def test_whatever_else_is_shown_is_a_bad_pass(text: str) -> None:
    assert refused(text)


async def test_those_who_ask_first_at_once_make_one_key(database: Database) -> None:
    asked = (database.run(door_keys.published, now=NOW) for _ in range(20))
    found = await asyncio.gather(*asked)
    assert {len(keys) for keys in found} == {1}
    assert len({keys[0].id for keys in found}) == 1


async def test_a_rotated_key_signs_no_more_and_is_read_until_it_is_withdrawn(
    database: Database,
) -> None:
    await at_the_door.guests(database, NOW, "zoe", "ann", "bea")
    by_first = await at_the_door.shows(database, "zoe", NOW)
    await asyncio.gather(*(door_keys.rotate(database, now=NOW) for _ in range(5)))
    keys = await database.run(door_keys.published, now=NOW)
    assert Counter(key.signs for key in keys)[True] == 1
    by_second = await at_the_door.shows(database, "zoe", NOW)
    assert by_first != by_second
    for text in (by_first, by_second):
        assert passes.read(text, await database.run(door_keys.readable)).number == 1
    kept = await database.fetch("SELECT id FROM signing_keys WHERE private IS NOT NULL")
    assert [row.id for row in kept] == [key.id for key in keys if key.signs]

    await door_keys.rotate(database, withdraw=True, now=NOW)
    [only] = await database.run(door_keys.published, now=NOW)
    assert only.id not in {key.id for key in keys}
    for text in (by_first, by_second):
        assert await at_the_door.scanned(database, text, NOW) == "bad_pass"
    by_third = await at_the_door.shows(database, "zoe", NOW)
    assert await at_the_door.scanned(database, by_third, NOW) == "admitted"


async def test_only_a_valid_ticket_has_a_pass(
    database: Database, client: httpx.AsyncClient
) -> None:
    await at_the_door.guests(database, NOW, "zoe")
    shown = (await client.get("/v1/tickets/tkt_zoe_1/pass")).json()
    assert shown["pass"] == await at_the_door.shows(database, "zoe", NOW)
    assert shown["svg"].startswith("<svg ")
    assert "style=" not in shown["svg"]
    await at_the_door.given_back(database, "zoe", NOW)
    answer = await client.get("/v1/tickets/tkt_zoe_1/pass")
    assert (answer.status_code, answer.json()["code"]) == (409, "no_pass")
    assert (await client.get("/v1/tickets/tkt_none/pass")).status_code == 404


async def verdict(*args: str | Path) -> tuple[int | None, str]:
    """What the verifier says that knows nothing of us, and its exit code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", VERIFIER, *args),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode().strip()


def test_the_independent_verifier_is_short_and_knows_nothing_of_us() -> None:
    text = VERIFIER.read_text()
    assert len(text.splitlines()) < 60
    assert not [line for line in text.splitlines() if "import" in line and "takings" in line]


async def test_the_independent_verifier_agrees_with_us(
    database: Database, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    await at_the_door.guests(database, NOW, "zoe", "ann")
    keys, door = tmp_path / "keys.json", tmp_path / "door.json"
    keys.write_text((await client.get("/v1/door_keys")).text)
    zoe = await at_the_door.shows(database, "zoe", NOW)
    assert await verdict(zoe, keys) == (0, "ticket 1 of run_one")
    tampered = zoe[:-9] + ("A" if zoe[-9] != "A" else "B") + zoe[-8:]
    assert await verdict(tampered, keys) == (1, "no pass: its signature is not good")
    assert await verdict(TEXT, keys) == (1, "no pass: its key is not published")
    assert await verdict(zoe.lower(), keys) == (1, "no pass: not base 32")

    async def with_list(text: str) -> tuple[int | None, str]:
        door.write_text((await client.get("/v1/spaces/spc_one/door")).text)
        return await verdict(text, keys, door)

    assert await with_list(zoe) == (0, "ticket 1 of run_one, lis_zoe")
    await at_the_door.passed_on(database, "zoe")
    assert await with_list(zoe) == (1, "ticket 1 of run_one: passed on since")
    eve = await at_the_door.shows(database, "zoe", NOW)
    assert await with_list(eve) == (0, "ticket 1 of run_one, lis_eve")
    assert await at_the_door.scanned(database, eve, NOW) == "admitted"
    assert await with_list(eve) == (1, "ticket 1 of run_one: admitted before")
    ann = await at_the_door.shows(database, "ann", NOW)
    await at_the_door.given_back(database, "ann", NOW)
    assert await with_list(ann) == (1, "ticket 2 of run_one: not valid, or of another Space")
    jwk = json.loads(keys.read_text())["data"][0]["jwk"]
    assert (jwk["kty"], jwk["crv"], len(jwk["x"])) == ("OKP", "Ed25519", 43)


@pytest.mark.parametrize("serial", [1, 2, 3])
def test_a_pass_says_the_serial_that_a_door_compares(serial: int) -> None:
    text = passes.sign(Pass("run_one", 1, serial, b"12345678"), PRIVATE)
    assert passes.read(text, KEYS).serial == serial
