"""Walking lists while they grow, showing things whole, and editing what one has seen.

The control: by page numbers instead of cursors, the same walk meets rows twice.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
from sqlmodel import col, select

from api.acts import HEADER
from api.document import Operation
from takings.spaces import hosts, tables
from tests.acceptance.examples import STORY, Example, told
from tests.acceptance.world import World

THERE = 100
COMING = 1_000
AT_ONCE = 4


def parameters(said: Operation) -> dict[str, Any]:
    """What an operation takes beside its body, by name."""
    return {one["name"]: one for one in said.get("parameters", ())}


def having(world: World, parameter: str) -> dict[str, Example]:
    """The examples of all operations that take a parameter."""
    return {
        example.operation: example
        for example in STORY
        if parameter in parameters(world.operations()[example.operation][2])
    }


async def get(world: World, path: str, **asked: Any) -> Any:
    """What is there, as JSON."""
    answer = await world.client.get(path, params=asked)
    assert answer.is_success, answer.text
    return answer.json()


async def down(world: World, path: str, limit: int) -> AsyncIterator[list[str]]:
    """Page after page, each after the last row of the one before: newest first."""
    asked: dict[str, Any] = {"limit": limit}
    more = True
    while more:
        page = await get(world, path, **asked)
        found, more = [row["id"] for row in page["data"]], page["has_more"]
        yield found
        if found:
            asked["starting_after"] = found[-1]


async def up(world: World, path: str, limit: int, start: str) -> AsyncIterator[list[str]]:
    """Page before page, each before the first row of the one after: oldest last."""
    more = True
    while more:
        page = await get(world, path, limit=limit, ending_before=start)
        found, more = [row["id"] for row in page["data"]], page["has_more"]
        yield found
        start = found[0] if found else start


async def register(world: World, name: str) -> None:
    database = world.runtime.database
    await hosts.register(database, name, name, now=world.runtime.now())


@asynccontextmanager
async def growing(world: World) -> AsyncIterator[None]:
    """While inside, a thousand more hosts are on their way, a few at a time."""
    coming = iter(range(COMING))

    async def some() -> None:
        for n in coming:
            await register(world, f"host_new_{n}")

    tasks = [asyncio.create_task(some()) for _ in range(AT_ONCE)]
    yield
    await asyncio.gather(*tasks)


async def test_a_walk_meets_each_row_once_in_both_directions_while_a_thousand_come(
    world: World,
) -> None:
    there = [f"host_{n:03}" for n in range(THERE)]
    for name in there:
        await register(world, name)
    async with growing(world):
        fell = [name async for page in down(world, "/v1/hosts", 7) for name in page]
        rose = [page async for page in up(world, "/v1/hosts", 7, there[0])]
    climbed = [name for page in rose[::-1] for name in page]
    for walk, met in ((fell, there), (climbed, there[1:])):
        assert max(Counter(walk).values()) == 1
        assert [name for name in walk if name in set(there)] == met[::-1]
    assert len(climbed) > THERE  # some that came meanwhile
    assert len([name async for page in down(world, "/v1/hosts", 100) for name in page]) == (
        THERE + COMING
    )


async def test_control_by_page_numbers_the_same_walk_meets_rows_twice(world: World) -> None:
    for n in range(THERE):
        await register(world, f"host_{n:03}")
    met: Counter[str] = Counter()
    order = col(tables.Host.created_at).desc(), col(tables.Host.id).desc()
    for page in range(10):
        wanted = select(tables.Host.id).order_by(*order).offset(page * 10).limit(10)
        async with world.runtime.database.transaction() as session:
            met.update((await session.exec(wanted)).all())
        await register(world, f"host_new_{page}")
    assert max(met.values()) > 1


async def test_every_list_is_the_same_in_small_pages_as_in_one_and_in_both_directions(
    world: World,
) -> None:
    await told(world)
    for operation, example in having(world, "ending_before").items():
        path = world.here(example.path)
        whole = [row["id"] for row in (await get(world, path, limit=100))["data"]]
        assert whole, f"{operation}: the story leaves nothing to list"
        small = [name async for page in down(world, path, 1) for name in page]
        rose = [page async for page in up(world, path, 1, whole[-1])]
        if operation == "acts.newest":  # asking is no act, so nothing was added
            assert len(whole) > 10
        assert small == whole, operation
        assert [name for page in rose[::-1] for name in page] == whole[:-1], operation


async def problem(world: World, path: str, **asked: Any) -> tuple[int, str]:
    """What is wrong with the question."""
    answer = await world.client.get(path, params=asked)
    return answer.status_code, answer.json()["code"]


async def test_a_cursor_that_is_nobodys_or_two_of_them_are_refused_by_every_list(
    world: World,
) -> None:
    await told(world)
    for operation, example in having(world, "ending_before").items():
        path = world.here(example.path)
        for way in ("starting_after", "ending_before"):
            assert await problem(world, path, **{way: "none"}) == (404, "not_found"), operation
        both = {"starting_after": "a", "ending_before": "b"}
        assert await problem(world, path, **both) == (422, "invalid_request"), operation


async def test_whatever_can_be_expanded_is_shown_whole_and_nothing_else_can(world: World) -> None:
    await told(world)
    expanding = having(world, "expand[]")
    assert {"tips.one", "tips.newest", "spaces.one", "spaces.newest"} <= set(expanding)
    for operation, example in expanding.items():
        path = world.here(example.path)
        said = parameters(world.operations()[operation][2])["expand[]"]["schema"]
        fields = said["items"].get("enum") or [said["items"]["const"]]
        bare = await get(world, path)
        for asked in (*[[field] for field in fields], fields):
            shown = await get(world, path, **{"expand[]": asked})
            for field in asked:
                name = field.removeprefix("data.")
                named, rows = (
                    answer["data"] if field != name else [answer] for answer in (bare, shown)
                )
                for known, row in zip(named, rows, strict=True):
                    whole = row[name]
                    if known[name] is None:  # what costs nothing has no payment
                        assert whole is None
                        continue
                    assert (whole["object"], whole["id"]) == (name, known[name]), operation
                    plain = await get(world, f"/v1/{name}s/{whole['id']}")
                    assert whole == plain, operation
        wrong = await problem(world, path, **{"expand[]": "secrets"})
        assert wrong == (422, "invalid_request"), operation


def shares(ada: int) -> dict[str, Any]:
    """What Ada gets, and Bob the rest."""
    both = {"host_ada": ada, "host_bob": 10_000 - ada}
    return {"shares": [{"host": host, "weight": weight} for host, weight in both.items()]}


EDITS: Mapping[str, Sequence[Any]] = {
    "spaces.amend": [shares(part) for part in (1000, 2000, 3000, 4000)],
    "presets.set": [{"amounts": [part, 5000]} for part in (100, 200, 300, 400)],
    "runs.edit": [{"size": size} for size in (260, 270, 280, 290)],
    "runs.add": [{"name": f"Later {n}", "price": 1600} for n in (1, 2, 3, 4)],
    "runs.step": [{"price": price} for price in (610, 620, 630, 640)],
    "payout_plans.edit": [{"schedule": "weekly", "anchor": day} for day in (1, 2, 3, 4)],
}
"""For every operation that an If-Match guards: other edits than the story's."""


async def test_an_edit_names_the_version_that_it_has_seen_and_no_others_edit_is_lost(
    world: World,
) -> None:
    await told(world)
    editing = having(world, "if-match")
    assert set(editing) == set(EDITS), "give it other EDITS"
    for operation, example in editing.items():
        first, second, third, fourth = EDITS[operation]
        whole = example.path.partition("/tiers")[0]  # a tier is edited as a part of its run

        async def edit(body: Any, tag: str | None, example: Example = example) -> httpx.Response:
            headers = {HEADER: f"{body} {tag}"} | ({} if tag is None else {"If-Match": tag})
            return await world.client.send(example.request(world, headers=headers, body=body))

        seen = (await world.client.get(world.here(whole))).headers["etag"]
        before = await world.rows()
        for bad in ("", "1", f"W/{seen}", "*", '"one"', f'{seen}, "9"'):
            refused = await edit(first, bad)
            assert (refused.status_code, refused.json()["code"]) == (400, "bad_if_match"), bad
        late = await edit(first, '"999"')
        assert (late.status_code, late.json()["code"]) == (412, "edited_meanwhile"), operation
        after = await world.rows()
        assert {name for name in after if after[name] != before[name]} == {"acts"}, operation

        both = await asyncio.gather(edit(first, seen), edit(second, seen))
        assert {answer.status_code for answer in both} == {200, 412}, operation
        now = (await world.client.get(world.here(whole))).headers["etag"]
        assert now != seen
        assert (await edit(third, seen)).status_code == 412
        assert (await edit(third, now)).headers["etag"] not in {seen, now}
        assert (await edit(fourth, None)).is_success  # who names none overwrites what there is
