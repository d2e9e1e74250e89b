"""Tickets after the sale: shown, passed on under a new secret, and never by who has no right to."""

from datetime import timedelta

import httpx
import pytest

from api.runtime import Runtime
from sandbox.control import Sandbox
from takings.errors import TakingsError
from takings.spaces import spaces
from tests import at_the_door, box_office, stories
from ticketing import door_keys, tickets
from ticketing.tickets import Issued, Transfer


async def a_ticket(runtime: Runtime, box: Sandbox, **named: object) -> str:
    await box_office.planned(runtime, **named)  # type: ignore[arg-type]
    made = await box_office.bought(runtime, box, "zoe")
    return made.tickets[0].id


async def passed(runtime: Runtime, ticket: str, to: str, by: str, holder: str | None = None) -> str:
    """What becomes of a transfer: whose the ticket is, or the code of the refusal."""
    wish = Transfer(f"lis_{to}", holder)
    try:
        done = await tickets.transfer(runtime.database, ticket, wish, listener=f"lis_{by}")
    except TakingsError as error:
        return error.code
    return done.ticket.listener_id


async def scanned(runtime: Runtime, text: str) -> str:
    return await at_the_door.scanned(runtime.database, text, runtime.now())


async def shown(runtime: Runtime, ticket: str) -> str:
    """What its QR code says now."""
    return await runtime.database.run(door_keys.sign, ticket, now=runtime.now())


async def of(runtime: Runtime, ticket: str) -> Issued:
    return await tickets.get(runtime.database, ticket)


async def test_a_ticket_that_is_passed_on_is_another_listeners_under_a_new_secret(
    runtime: Runtime, box: Sandbox
) -> None:
    ticket = await a_ticket(runtime, box)
    before = (await of(runtime, ticket)).ticket
    saved = await shown(runtime, ticket)
    assert await passed(runtime, ticket, "max", by="zoe", holder="Max M.") == "lis_max"
    assert await scanned(runtime, saved) == "pass_replaced"
    after = (await of(runtime, ticket)).ticket
    assert (after.serial, after.holder, after.number) == (2, "Max M.", before.number)
    assert after.secret != before.secret
    assert len(after.secret) == 16
    for by in ("zoe", "max"):  # the same once more, whoever repeats it
        assert await passed(runtime, ticket, "max", by=by, holder="Max M.") == "lis_max"
    again = (await of(runtime, ticket)).ticket
    assert (again.serial, again.secret) == (2, after.secret)
    assert await box_office.left(runtime.database) == (10, 0, 1), "no place was touched"
    assert await passed(runtime, ticket, "ann", by="zoe") == "not_your_ticket"
    assert await passed(runtime, ticket, "zoe", by="max") == "lis_zoe"  # and back
    assert (await of(runtime, ticket)).ticket.serial == 3
    assert (await of(runtime, ticket)).ticket.holder is None, "the other's name is gone"
    assert await stories.guilty(runtime.database) == {}


async def test_what_is_not_paid_void_or_used_is_not_passed_on(
    runtime: Runtime, box: Sandbox
) -> None:
    ticket = await a_ticket(runtime, box)
    pending = (await box_office.ordered(runtime, "ann")).tickets[0].id
    assert await passed(runtime, pending, "max", by="ann") == "ticket_not_paid"
    assert await scanned(runtime, await shown(runtime, ticket)) == "admitted"
    assert await passed(runtime, ticket, "max", by="zoe") == "ticket_used"
    other = (await box_office.bought(runtime, box, "bea")).tickets[0].id
    void = "SELECT void_tickets('run_one', ARRAY[$1], 'asked', $2)"
    await runtime.database.fetch(void, other, runtime.now())
    assert await passed(runtime, other, "max", by="bea") == "ticket_void"
    assert await passed(runtime, "tkt_none", "max", by="bea") == "not_found"
    assert await passed(runtime, other, "m/x", by="bea") == "bad_id"


@pytest.mark.parametrize("over", ["ended", "cancelled"])
async def test_a_ticket_is_passed_on_until_the_space_is_over(
    runtime: Runtime, box: Sandbox, over: spaces.State
) -> None:
    ticket = await a_ticket(runtime, box)
    await spaces.move(runtime.database, "spc_one", "live", now=runtime.now())
    assert await passed(runtime, ticket, "max", by="zoe") == "lis_max"
    await spaces.move(runtime.database, "spc_one", over, now=runtime.now())
    assert await passed(runtime, ticket, "ann", by="max") == "too_late_to_transfer"
    assert await passed(runtime, ticket, "max", by="zoe") == "lis_max", "it has happened already"


async def test_tickets_are_shown_and_passed_on_over_http_without_their_secret(
    runtime: Runtime, box: Sandbox, client: httpx.AsyncClient
) -> None:
    ticket = await a_ticket(runtime, box, starts_at=runtime.now() + timedelta(days=1))
    await box_office.bought(runtime, box, "ann", quantity=2)
    told = (await client.get(f"/v1/tickets/{ticket}")).json()
    assert (told["state"], told["number"], told["amount"]) == ("valid", 1, 1000)
    assert (told["space"], told["refund"]) == ("spc_one", None)
    secret = (await of(runtime, ticket)).ticket.secret
    assert secret.hex() not in str(told)
    body = {"listener": "lis_zoe", "to": "lis_max", "holder": "Max"}
    given = await client.post(f"/v1/tickets/{ticket}/transfer", json=body)
    assert (given.json()["listener"], given.json()["serial"]) == ("lis_max", 2)
    for query, many in (
        ({"run": "run_one"}, 3),
        ({"listener": "lis_max"}, 1),
        ({"purchase": "pur_ann"}, 2),
        ({"listener": "lis_zoe"}, 0),
    ):
        assert len((await client.get("/v1/tickets", params=query)).json()["data"]) == many
    again = await client.post(f"/v1/tickets/{ticket}/transfer", json=body | {"to": "lis_ann"})
    assert (again.status_code, again.json()["code"]) == (403, "not_your_ticket")
