"""Parameters in: Stripe's bracket encoding undone, then every field read by its declared reader.

A reader takes a raw value and the parameter's name and returns the typed value, or refuses it as
Stripe does.  Form fields arrive as text and v2 bodies as JSON; the readers take both.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from sandbox.errors import ParameterError

Reader = Callable[[Any, str], Any]


def decode(encoded: str) -> dict[str, Any]:
    """``a[b][0]=1`` becomes ``{"a": {"b": {"0": "1"}}}``; arrays are told apart when read."""
    root: dict[str, Any] = {}
    for name, value in parse_qsl(encoded, keep_blank_values=True):
        *path, last = [name.split("[", 1)[0], *re.findall(r"\[([^\]]*)\]", name)]
        place = root
        for step in path:
            place = place.setdefault(step or str(len(place)), {})
            if not isinstance(place, dict):
                raise ParameterError(f"Conflicting parameters: {name}", param=name)
        place[last or str(len(place))] = value
    return root


def integer(value: Any, param: str) -> int:
    """A whole number of minor units, seconds or items."""
    if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)):
        raise ParameterError(
            f"Invalid integer: {value}", code="parameter_invalid_integer", param=param
        )
    return int(value)


def boolean(value: Any, param: str) -> bool:
    """True or false, as the SDK writes them."""
    if str(value).lower() not in {"true", "false"}:
        raise ParameterError(f"Invalid boolean: {value}", param=param)
    return str(value).lower() == "true"


def text(value: Any, param: str) -> str:
    """Any text that is not empty."""
    if not isinstance(value, str):
        raise ParameterError(f"Invalid string: {value}", param=param)
    if not value:
        raise ParameterError(
            f"You passed an empty string for '{param}'.",
            code="parameter_invalid_empty",
            param=param,
        )
    return value


def currency(value: Any, param: str) -> str:
    """A currency's code in lower case, whatever case it came in."""
    return text(value, param).lower()


def choice(*allowed: str) -> Reader:
    """One of a few words."""

    def read(value: Any, param: str) -> str:
        if value not in allowed:
            words = ", ".join(allowed)
            raise ParameterError(f"Invalid {param}: must be one of {words}", param=param)
        return str(value)

    return read


def metadata(value: Any, param: str) -> dict[str, str]:
    """At most 50 keys of 40 characters with values of 500; an empty value unsets its key."""
    if value == "":
        return {}
    if not isinstance(value, Mapping) or len(value) > 50:
        raise ParameterError("Invalid metadata: at most 50 keys", param=param)
    for key, entry in value.items():
        if len(key) > 40 or not isinstance(entry, str) or len(entry) > 500:
            raise ParameterError(f"Invalid metadata: {key}", param=f"{param}[{key}]")
    return dict(value)


def array(of: Reader) -> Reader:
    """A list, from ``x[0]=…&x[1]=…`` or from JSON."""

    def read(value: Any, param: str) -> list[Any]:
        if isinstance(value, Mapping) and all(key.isdigit() for key in value):
            value = [value[key] for key in sorted(value, key=int)]
        if not isinstance(value, list):
            raise ParameterError("Invalid array", param=param)
        return [of(entry, f"{param}[{n}]") for n, entry in enumerate(value)]

    return read


@dataclass(frozen=True)
class Shape:
    """The parameters that an object may and must have; any other is refused by name."""

    fields: Mapping[str, Reader]
    required: frozenset[str] = frozenset()

    def __call__(self, value: Any, param: str = "") -> dict[str, Any]:
        """Every field read by its reader."""
        if not isinstance(value, Mapping):
            raise ParameterError("Invalid object", param=param)
        for name in value:
            if name not in self.fields:
                unknown = self._named(param, name)
                raise ParameterError(
                    f"Received unknown parameter: {unknown}",
                    code="parameter_unknown",
                    param=unknown,
                )
        for name in self.required - value.keys():
            absent = self._named(param, name)
            raise ParameterError(
                f"Missing required param: {absent}.", code="parameter_missing", param=absent
            )
        return {
            name: self.fields[name](entry, self._named(param, name))
            for name, entry in value.items()
        }

    def trimmed(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """The value without what this shape does not know (an older account's request)."""
        known = {}
        for name, entry in value.items():
            reader = self.fields.get(name)
            if isinstance(reader, Shape) and isinstance(entry, Mapping):
                known[name] = reader.trimmed(entry)
            elif reader is not None:
                known[name] = entry
        return known

    @staticmethod
    def _named(param: str, name: str) -> str:
        return f"{param}[{name}]" if param else name


def shape(*required: str, **fields: Reader) -> Shape:
    """A shape with its required fields named first."""
    return Shape(fields, frozenset(required))


def request(*required: str, **fields: Reader) -> Shape:
    """A whole request: its own fields and ``expand``, which every operation takes."""
    return Shape({**fields, "expand": array(text)}, frozenset(required))


SPAN = shape(gt=integer, gte=integer, lt=integer, lte=integer)


def span(value: Any, param: str) -> dict[str, int]:
    """``created=1`` or ``created[gte]=1``, as bounds."""
    if isinstance(value, Mapping):
        return SPAN(value, param)
    moment = integer(value, param)
    return {"gte": moment, "lte": moment}


def listing(**filters: Reader) -> Shape:
    """A list request: its filters and Stripe's paging."""
    return request(**filters, created=span, limit=integer, starting_after=text, ending_before=text)
