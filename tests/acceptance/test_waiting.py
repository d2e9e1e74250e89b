"""The waiting list: who is told no comes first, in their order, when something becomes free."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from takings.database import Database
from takings.errors import TakingsError
from takings.spaces import spaces
from tests import box_office
from ticketing import holds, runs, waitlist
from ticketing.waitlist import Place, WaitWish
from ticketing.wishes import TierWish

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TWO_TIERS = (
    TierWish("Front", "fixed", 5000, "tier_front", size=2),
    TierWish("Seat", "fixed", 1000, "tier_seat"),
)


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


async def wait(database: Database, name: str, second: float = 1, **named: object) -> str:
    """What becomes of a wish to wait: the state of the place, or the code of the refusal."""
    run = str(named.pop("run", "run_one"))
    listener = str(named.pop("listener", f"lis_{name}"))
    wish = WaitWish(f"wait_{name}", run, listener, **named)  # type: ignore[arg-type]
    try:
        return (await waitlist.join(database, wish, now=at(second))).state
    except TakingsError as error:
        return error.code


async def place(database: Database, name: str, second: float = 1) -> Place:
    return await waitlist.get(database, f"wait_{name}", now=at(second))


async def states(database: Database) -> dict[str, str]:
    rows = await database.fetch("SELECT id, state FROM waiting ORDER BY id")
    return {row.id.removeprefix("wait_"): row.state for row in rows}


async def sold_out(database: Database, size: int = 2, **named: object) -> None:
    """A run that one listener holds whole, in holds of one."""
    await box_office.run(database, NOON, size=size, **named)  # type: ignore[arg-type]
    for n in range(size):
        assert await box_office.claim(database, f"early_{n}", now=NOON) == "held"


async def release(database: Database, n: int, second: float) -> None:
    await holds.release(database, f"hold_early_{n}", f"lis_early_{n}", now=at(second))


async def test_what_is_released_goes_to_the_first_in_line_and_no_buyer_sees_it(
    database: Database,
) -> None:
    await sold_out(database)
    for n, name in enumerate(("ada", "bob", "cleo"), 1):
        assert await wait(database, name, n) == "waiting"
    assert [(await place(database, name)).place for name in ("ada", "bob", "cleo")] == [1, 2, 3]
    await release(database, 0, 10)
    assert await box_office.claim(database, "dan", now=at(10)) == "sold_out"
    ada = await place(database, "ada")
    assert (ada.state, ada.place, ada.offered_until) == ("offered", None, at(10 + 1800))
    assert ada.hold is not None
    hold = await holds.get(database, ada.hold)
    assert (hold.listener, hold.quantity, hold.state) == ("lis_ada", 1, "held")
    assert (await place(database, "bob")).place == 1
    assert await box_office.left(database) == (2, 2, 0)


async def test_an_offer_that_lapses_goes_to_the_next(database: Database) -> None:
    await sold_out(database, offer_s=60, hold_s=86_400)
    for n, name in enumerate(("ada", "bob"), 1):
        await wait(database, name, n)
    await release(database, 0, 10)
    assert await holds.sweep(database, now=at(69)) == 0
    await holds.sweep(database, now=at(70))
    assert await states(database) == {"ada": "lapsed", "bob": "offered"}
    assert (await place(database, "bob")).offered_until == at(130)
    assert await box_office.claim(database, "dan", now=at(200)) == "held", "and then to anybody"
    assert await states(database) == {"ada": "lapsed", "bob": "lapsed"}


async def test_an_offer_that_is_bought_is_taken(database: Database) -> None:
    await sold_out(database, size=1)
    await wait(database, "ada")
    await release(database, 0, 10)
    hold = (await place(database, "ada")).hold
    assert hold is not None
    await box_office.sold(database, [hold.removeprefix("hold_")], at(20))
    assert (await place(database, "ada")).state == "taken"
    assert await box_office.left(database) == (1, 0, 1)
    with pytest.raises(waitlist.WaitOver):
        await waitlist.leave(database, "wait_ada", now=at(30))
    assert await wait(database, "ada_again", 30, listener="lis_ada") == "waiting"


async def test_a_refunded_ticket_goes_to_the_list_before_it_goes_on_sale(
    database: Database,
) -> None:
    await sold_out(database, size=1)
    await box_office.sold(database, ["early_0"], NOON)
    await wait(database, "ada")
    await database.fetch(
        "SELECT void_tickets('run_one', $1, 'asked', $2)", ["tkt_early_0_1"], at(5)
    )
    assert await box_office.claim(database, "dan", now=at(5)) == "sold_out"
    assert await states(database) == {"ada": "offered"}
    assert await box_office.left(database) == (1, 1, 0)


async def test_who_wants_more_than_is_free_is_passed_over_and_keeps_the_place(
    database: Database,
) -> None:
    await sold_out(database, size=4)
    await wait(database, "three", 1, quantity=3)
    await wait(database, "some", 2, quantity=3, least=2)
    await wait(database, "one", 3)
    await release(database, 0, 10)
    assert await states(database) == {"one": "offered", "some": "waiting", "three": "waiting"}
    await release(database, 1, 11)
    assert await box_office.claim(database, "dan", now=at(11)) == "held", "nobody on the list would"
    await release(database, 2, 12)
    await holds.release(database, "hold_dan", "lis_dan", now=at(13))
    assert await states(database) == {"one": "offered", "some": "offered", "three": "waiting"}
    some = await place(database, "some")
    assert some.hold is not None
    assert (await holds.get(database, some.hold)).quantity == 2
    await waitlist.leave(database, "wait_some", now=at(14))
    await release(database, 3, 15)
    assert await states(database) == {"one": "offered", "some": "left", "three": "offered"}


async def test_who_leaves_gives_the_offer_to_the_next_and_may_say_so_twice(
    database: Database,
) -> None:
    await sold_out(database)
    for n, name in enumerate(("ada", "bob", "cleo"), 1):
        await wait(database, name, n)
    await waitlist.leave(database, "wait_bob", now=at(5))
    await release(database, 0, 10)
    for _ in range(2):
        left = await waitlist.leave(database, "wait_ada", now=at(20))
        assert (left.state, left.place, left.offered_until) == ("left", None, None)
    assert await states(database) == {"ada": "left", "bob": "left", "cleo": "offered"}
    assert await box_office.left(database) == (2, 2, 0)
    with pytest.raises(waitlist.NotFound):
        await waitlist.leave(database, "wait_nobody", now=at(20))


async def test_each_reason_not_to_wait_has_its_code(database: Database) -> None:
    await sold_out(database, per_listener=3, per_address=2, closes_at=at(100))
    for quantity in (0, -1, 10**9):
        assert await wait(database, "ada", quantity=quantity) == "quantity_out_of_range"
        assert await wait(database, "ada", least=quantity) == "least_out_of_range"
    assert await wait(database, "ada", run="run_none") == "not_found"
    assert await wait(database, "ada", tier="tier_none") == "not_found"
    assert await wait(database, "a b") == "bad_id"
    assert await wait(database, "ada", quantity=4) == "too_many_tickets"
    assert await wait(database, "ada", quantity=4, least=1) == "waiting"
    assert await wait(database, "ada", 50, quantity=4, least=1) == "waiting", "as often as you like"
    assert await wait(database, "ada", quantity=2) == "wait_differs"
    assert await wait(database, "ada_again", listener="lis_ada") == "already_waiting"
    assert await wait(database, "bob", address="10.0.0.1", quantity=2) == "waiting"
    assert await wait(database, "bot", address="10.0.0.1") == "too_many_tickets"
    assert await wait(database, "late", 100) == "not_on_sale"
    await spaces.move(database, "spc_one", "ended", now=at(60))
    assert await wait(database, "late", 61) == "not_on_sale"
    assert await states(database) == {"ada": "waiting", "bob": "waiting"}


async def test_where_tickets_are_simply_on_sale_nobody_waits(database: Database) -> None:
    await box_office.run(database, NOON, tiers=TWO_TIERS, opens_at=at(1))
    assert await wait(database, "ada", 0) == "not_on_sale"
    assert await wait(database, "ada", 2) == "still_on_sale"
    assert await wait(database, "ada", 2, quantity=11) == "waiting"
    assert await wait(database, "bob", 3, quantity=2) == "offered", "nobody else would"
    await box_office.claim(database, "front", now=at(3), quantity=2, tier="tier_front")
    assert await states(database) == {"ada": "waiting", "bob": "offered"}


async def test_a_hold_whose_time_is_over_is_no_reason_to_wait(database: Database) -> None:
    await sold_out(database, size=1, hold_s=60)
    assert await wait(database, "ada", 59) == "waiting"
    assert await wait(database, "bob", 60) == "waiting"
    assert await states(database) == {"ada": "offered", "bob": "waiting"}


async def test_a_long_line_for_one_tier_holds_nobody_up_who_waits_for_another(
    database: Database,
) -> None:
    await box_office.run(database, NOON, size=4, tiers=TWO_TIERS)
    for n, tier in enumerate(("tier_front", "tier_seat")):
        await box_office.claim(database, f"early_{n}", now=NOON, quantity=2, tier=tier)
    for n in range(120):
        await wait(database, f"front_{n:03}", n / 10, tier="tier_front")
    await wait(database, "seat", 13, tier="tier_seat")
    await wait(database, "any", 14)
    await release(database, 1, 20)
    taken = {name for name, state in (await states(database)).items() if state == "offered"}
    assert taken == {"seat", "any"}
    await release(database, 0, 30)
    taken = {name for name, state in (await states(database)).items() if state == "offered"}
    assert taken == {"seat", "any", "front_000", "front_001"}


async def test_limits_hold_for_offers_too_and_hold_up_nobody_behind(database: Database) -> None:
    await sold_out(database, size=3, per_listener=1)
    await wait(database, "ada", 1)
    await release(database, 0, 2)  # ada's
    await waitlist.leave(database, "wait_ada", now=at(3))
    assert await box_office.claim(database, "ada", now=at(3)) == "held"
    assert await wait(database, "ada_more", 4, listener="lis_ada") == "too_many_tickets"
    assert await wait(database, "bob", 5) == "waiting"
    assert await wait(database, "cleo", 6) == "waiting"
    await database.fetch(OTHERWISE, NOON)  # bob came to a ticket some other way
    await release(database, 1, 10)
    assert await states(database) == {"ada": "left", "bob": "waiting", "cleo": "offered"}


OTHERWISE = """
INSERT INTO holds (id, run_id, tier_id, listener_id, quantity, minor, remaining, state, expires_at,
                   created_at, ended_at)
VALUES ('hold_other', 'run_one', 'tier_seat', 'lis_bob', 1, 0, 0, 'sold', $1, $1, $1)
"""


async def test_a_walk_in_does_not_profit_from_a_hold_that_nobody_has_swept(
    database: Database,
) -> None:
    await sold_out(database, size=4, hold_s=60)
    await wait(database, "three", 1, quantity=3)
    await release(database, 0, 2)
    assert await box_office.claim(database, "dan", now=at(60)) == "held", "a fourth is left"
    assert await states(database) == {"three": "offered"}
    assert await box_office.claim(database, "eve", now=at(61)) == "sold_out"


async def test_a_run_that_grows_is_offered_to_the_list(database: Database) -> None:
    await sold_out(database, size=1)
    await wait(database, "ada", 1)
    await wait(database, "bob", 2)
    await runs.edit(database, "run_one", {"size": 2}, now=at(3))
    assert await states(database) == {"ada": "offered", "bob": "waiting"}


async def test_what_time_makes_free_the_worker_offers(database: Database) -> None:
    later = TierWish("Later", "fixed", 1000, "tier_later", opens_at=at(100))
    await box_office.run(database, NOON, tiers=(later,))
    assert await wait(database, "ada", 1) == "waiting"
    assert await waitlist.serve(database, now=at(99)) == 0
    assert await waitlist.serve(database, now=at(100)) == 1
    assert await states(database) == {"ada": "offered"}
    assert await waitlist.serve(database, now=at(100)) == 0


async def test_who_waits_for_a_space_that_is_over_is_sent_home(database: Database) -> None:
    await sold_out(database)
    await wait(database, "ada")
    await spaces.move(database, "spc_one", "ended", now=at(10))
    assert await waitlist.serve(database, now=at(11)) == 1
    assert await states(database) == {"ada": "lapsed"}


async def test_the_list_over_http(client: httpx.AsyncClient, database: Database) -> None:
    now = datetime.now(UTC)
    await box_office.run(database, now, size=1)
    await box_office.claim(database, "early", now=now)
    for name in ("ada", "bob"):
        told = {"id": f"wait_{name}", "listener": f"lis_{name}", "quantity": 1}
        answer = await client.post("/v1/runs/run_one/waiting", json=told)
        assert answer.status_code == 200, answer.text
    assert (answer.json()["state"], answer.json()["place"]) == ("waiting", 2)
    body = {"listener": "lis_early"}
    assert (await client.post("/v1/holds/hold_early/release", json=body)).is_success
    one = (await client.get("/v1/waiting/wait_ada")).json()
    assert (one["state"], one["place"]) == ("offered", None)
    assert (
        one["offered_until"] == (await client.get(f"/v1/holds/{one['hold']}")).json()["expires_at"]
    )
    listed = (await client.get("/v1/runs/run_one/waiting")).json()["data"]
    assert [(row["id"], row["place"]) for row in listed] == [("wait_bob", 1), ("wait_ada", None)]
    asked = {"listener": "lis_ada", "state": "offered"}
    listed = (await client.get("/v1/runs/run_one/waiting", params=asked)).json()["data"]
    assert [row["id"] for row in listed] == ["wait_ada"]
    left = (await client.post("/v1/waiting/wait_ada/leave")).json()
    assert (left["state"], left["hold"]) == ("left", one["hold"])
    assert (await client.get("/v1/waiting/wait_bob")).json()["state"] == "offered"
    assert (await client.get("/v1/runs/run_none/waiting")).status_code == 404
    told = {"listener": "lis_bob"}
    again = await client.post("/v1/runs/run_one/waiting", json=told)
    assert (again.status_code, again.json()["code"]) == (409, "already_waiting")
