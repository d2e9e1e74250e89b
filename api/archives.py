"""Archives: papers as text for people and as JSON for programs, together in one ZIP.

The same papers make the same bytes: names are in order, and no file knows when it was written.
"""

import io
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from takings import money
from takings.money import Money

Paper = Any
"""What a paper says: mappings, sequences, texts, numbers, Money and instants, one in another."""

EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The first instant that a ZIP knows."""

READABLE: Final = 0o644 << 16
NOTHING: Final = "–"


def zipped(papers: Mapping[str, Paper]) -> bytes:
    """Each paper as NAME.txt and NAME.json."""
    files = {f"{name}.txt": text(paper).encode() for name, paper in papers.items()}
    files |= {f"{name}.json": _json(paper) for name, paper in papers.items()}
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr, entry.create_system = READABLE, 3  # a plain file, wherever we run
            archive.writestr(entry, content)
    return into.getvalue()


def text(paper: Paper) -> str:
    """A paper as people read it: what belongs to something stands below it, further in."""
    return "\n".join([*_lines(paper), ""])


def _lines(said: Paper) -> Iterator[str]:
    if isinstance(said, Mapping):
        for name, value in said.items():
            yield from _named(name.replace("_", " "), value)
    else:
        for value in said:
            first, *more = _lines(value)
            yield f"- {first}"
            yield from (f"  {line}" for line in more)


def _named(name: str, value: Paper) -> Iterator[str]:
    if isinstance(value, Mapping | list) and value:
        yield f"{name}:"
        yield from (f"  {line}" for line in _lines(value))
        return
    first, *more = _word(value).splitlines() or [""]
    yield f"{name}: {first}".rstrip()
    yield from (f"    {line}" for line in more)


def _word(value: Paper) -> str:
    if value in (None, [], {}):
        return NOTHING
    match value:
        case bool():
            return "yes" if value else "no"
        case Money():
            return money.format(value)
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
        case _:
            return str(value)


def _json(paper: Paper) -> bytes:
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
    return orjson.dumps(paper, default=_plain, option=options | orjson.OPT_PASSTHROUGH_DATACLASS)


def _plain(value: object) -> dict[str, Any]:
    if isinstance(value, Money):
        return {"amount": value.minor, "currency": value.currency}
    raise TypeError(f"{value!r} is not to be written")
