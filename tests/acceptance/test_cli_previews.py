"""Previews from the command line: one table for the money, one for the payees, or JSON."""

from collections.abc import Sequence

import pytest

from api.runtime import Runtime
from tests import stories
from tests.acceptance.test_cli import Cli, assert_refused, cli

__all__ = ["cli"]  # the fixture

TWITTER = ("--policy", "twitter-ticketed-spaces-2021", "--kind", "ticket")
STORE = ("10.00", "usd", *TWITTER, "--channel", "ios", "--size", "100")
AMONG = ("--shares", "ada:6000,bob:4000", "--earned", "ada:49994.00")


async def test_a_preview_is_shown_with_what_each_gets(cli: Cli) -> None:
    said = await cli("preview", *STORE, *AMONG)
    assert said.code == 0, said.err
    lines = [line.split() for line in said.out.splitlines()]
    cells = [" ".join(word for word in line if word not in "│┃") for line in lines]
    assert cells[0].startswith("100 × ticket at $10.00 · twitter-ticketed-spaces-2021 1 · ios")
    for row in (
        "the listener pays $10.00 $1,000.00",
        "the store keeps $3.00 $300.00",
        "commission $0.21 $90.98",
        "ada 60.00 % $49,994.00 $4.20 $0.13 $0.00 $4.07 $337.02",
        "bob 40.00 % $0.00 $2.80 $0.08 $0.00 $2.72 $272.00",
        "ada passes $50,000.00 with number 2: of that one $2.40 pays the next rate.",
    ):
        assert row in cells, said.out


async def test_as_json_it_is_what_the_api_answers(cli: Cli) -> None:
    found = (await cli("preview", *STORE, *AMONG, "--json")).json
    assert (found["size"], found["channel"], found["total"]["store_fee"]) == (100, "ios", 30_000)
    ada, bob = found["payees"]
    assert (ada["counter"], ada["total"]["net"], bob["total"]["net"]) == (4_999_400, 33_702, 27_200)
    crossing = {"up_to": 5_000_000, "sale": 2, "below": 180, "rate_bps": 2_000}
    assert (ada["crossings"], bob["crossings"]) == ([crossing], [])


async def test_a_space_has_its_own_rules_and_shares(cli: Cli, runtime: Runtime) -> None:
    await stories.room(runtime.database, runtime.now())
    found = (await cli("preview", "5.00", "eur", "--space", "spc_one", "--json")).json
    assert (found["policy"], found["agreement_version"]) == (stories.CLUBHOUSE, 1)
    assert found["first"]["charged"] == 546
    nets = {payee["host"]: payee["first"]["net"] for payee in found["payees"]}
    assert nets == {"host_ada": 300, "host_bob": 200}


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("10.00", "usd"), "nobody_to_divide_among", "Name the Space"),
        (("ten", "usd", *TWITTER, *AMONG), "not_decimal", "ten"),
        (("10.00", "usd", *TWITTER, "--shares", "ada"), "not_pairs", "ada:6000,bob:4000"),
        (("10.00", "usd", *TWITTER, "--shares", "ada:60%"), "not_pairs", "60%"),
        (("10.00", "usd", *TWITTER, "--shares", "ada:6000"), "shares_do_not_sum", "6000"),
        (("10.00", "usd", *TWITTER, *AMONG, "--region", "mars"), "region_not_priced", "standard"),
        (("10.00", "usd", "--space", "spc_none"), "not_found", "spc_none"),
    ],
)
async def test_what_is_wrong_is_said(
    cli: Cli, arguments: Sequence[str], code: str, why: str
) -> None:
    assert_refused(await cli("preview", *arguments), code, why)
