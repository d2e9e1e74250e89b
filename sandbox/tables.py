"""Objects of one kind, in the order they were made, paged in Stripe's way without scanning."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sandbox.errors import StripeError, missing

Row = dict[str, Any]

INDEXED = {
    "balance_transaction": ("source", "type", "currency"),
    "charge": ("payment_intent", "customer", "transfer_group"),
    "checkout.session": ("payment_intent", "customer"),
    "dispute": ("charge", "payment_intent"),
    "payment_intent": ("customer",),
    "payment_method": ("customer",),
    "refund": ("charge", "payment_intent"),
    "transfer": ("destination", "transfer_group"),
    "transfer_reversal": ("transfer",),
    "event": ("type",),
}


class Table:
    """An ordered list, its ids, and an ordered list of positions per indexed value."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.rows: list[Row] = []
        self._position: dict[str, int] = {}
        self._index: dict[str, dict[Any, list[int]]] = {f: {} for f in INDEXED.get(kind, ())}

    def add(self, row: Row) -> Row:
        """The row, now the newest."""
        position = len(self.rows)
        self.rows.append(row)
        self._position[row["id"]] = position
        for field, places in self._index.items():
            places.setdefault(row.get(field), []).append(position)
        return row

    def get(self, id_: str) -> Row | None:
        """The row of that id, or nothing."""
        position = self._position.get(id_)
        return None if position is None else self.rows[position]

    def move(self, row: Row, field: str, value: Any) -> None:
        """An indexed field gets another value."""
        position = self._position[row["id"]]
        places = self._index[field]
        places[row[field]].remove(position)
        row[field] = value
        there = places.setdefault(value, [])
        there.insert(bisect_left(there, position), position)

    def where(self, field: str, value: Any) -> list[Row]:
        """All rows whose indexed field has that value, oldest first."""
        return [self.rows[position] for position in self._index[field].get(value, ())]

    def page(
        self,
        params: Mapping[str, Any],
        filters: Mapping[str, Any],
        also: Callable[[Row], bool] | None = None,
        within: Iterable[str] | None = None,
    ) -> tuple[list[Row], bool]:
        """One page, newest first, and whether more follow in the direction of reading.

        ``within`` names the few ids to look at, instead of all rows.
        """
        limit = params.get("limit", 10)
        if not 1 <= limit <= 100:
            raise StripeError("Invalid limit: must be between 1 and 100", param="limit")
        places, rest = self._narrowest(filters)
        if within is not None:
            places, rest = sorted(self._position[id_] for id_ in within), dict(filters)
        low, high = self._created(places, params.get("created", {}))
        upward = "ending_before" in params
        if upward:
            low = max(low, bisect_right(places, self._cursor(params["ending_before"])))
        elif "starting_after" in params:
            high = min(high, bisect_left(places, self._cursor(params["starting_after"])))
        walk: Iterable[int] = range(low, high) if upward else range(high - 1, low - 1, -1)
        found: list[Row] = []
        for place in walk:
            row = self.rows[places[place]]
            if all(row.get(f) == v for f, v in rest.items()) and (also is None or also(row)):
                found.append(row)
                if len(found) > limit:
                    break
        page = found[:limit]
        return (page[::-1] if upward else page), len(found) > limit

    def _narrowest(self, filters: Mapping[str, Any]) -> tuple[Sequence[int], Row]:
        """The shortest list of positions that some filter gives, and the filters left."""
        lists = [
            (self._index[field].get(value, []), field)
            for field, value in filters.items()
            if field in self._index
        ]
        if not lists:
            return range(len(self.rows)), dict(filters)
        places, chosen = min(lists, key=lambda entry: len(entry[0]))
        return places, {f: v for f, v in filters.items() if f != chosen}

    def _created(self, places: Sequence[int], span: Mapping[str, int]) -> tuple[int, int]:
        """The part of ``places`` made within the bounds: time never goes back in a table."""

        def made(position: int) -> int:
            return int(self.rows[position]["created"])

        low, high = 0, len(places)
        if "gte" in span:
            low = max(low, bisect_left(places, span["gte"], key=made))
        if "gt" in span:
            low = max(low, bisect_right(places, span["gt"], key=made))
        if "lte" in span:
            high = min(high, bisect_right(places, span["lte"], key=made))
        if "lt" in span:
            high = min(high, bisect_left(places, span["lt"], key=made))
        return low, high

    def _cursor(self, id_: str) -> int:
        if id_ not in self._position:
            raise missing(self.kind, id_, param="starting_after", status=400)
        return self._position[id_]
