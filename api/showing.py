"""How the pages show what the OpenAPI document says: types, meanings, prose, and requests."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from markupsafe import Markup, escape

from api import acts, versions

Schema = Mapping[str, Any]

LISTING: Final = re.compile(r"Listing_(\w+)_")
LINK: Final = Markup('<a href="#{0}">{0}</a>')
CODE: Final = re.compile(r"``(.+?)``", re.DOTALL)
NULL: Final = {"type": "null"}


def name_of(schema: Schema) -> str:
    """The name of the model that a schema refers to; empty where it refers to none."""
    return str(schema.get("$ref", "")).rpartition("/")[2]


def is_object(model: str) -> bool:
    """Whether a model is described by itself; what is taken is shown where it is taken."""
    return not (model.startswith("Listing_") or model.endswith("Input") or model == "Health")


def kind(schema: Schema, *, null: bool = True) -> Markup:
    """A schema's type in words, linked to the models it names; null only where that is wanted."""
    if name := name_of(schema):
        listed = LISTING.fullmatch(name)
        return Markup("list of ") + LINK.format(listed[1]) if listed else LINK.format(name)
    if "anyOf" in schema:
        ways = [way for way in schema["anyOf"] if null or way != NULL]
        return Markup(" or ").join(kind(way) for way in ways) + _bounds(schema)
    if "enum" in schema or "const" in schema:
        words = schema.get("enum") or [schema["const"]]
        shown = Markup(" or ").join(Markup("<code>{}</code>").format(word) for word in words)
        return shown + _bounds(schema)
    if schema.get("type") == "array":
        return Markup("list of ") + kind(schema["items"])
    return escape(schema.get("type", "anything")) + _bounds(schema)


def _bounds(schema: Schema) -> Markup:
    """Between which numbers, and what it is by itself."""
    said = ""
    if "minimum" in schema and "maximum" in schema:
        said += f", {schema['minimum']} to {schema['maximum']}"
    if schema.get("default"):
        said += f", else {schema['default']}"
    return escape(said)


def asked(operation: Schema) -> list[Schema]:
    """The parameters worth telling of: not what every operation takes, nor a bare id."""
    return [
        one
        for one in operation["parameters"]
        if one["name"] not in (acts.HEADER, versions.HEADER)
        and (one["in"] != "path" or "description" in one)
    ]


def meaning(schema: Schema) -> str:
    """What a field or a parameter means: its own description, else that of its type."""
    ways = (schema, *schema.get("anyOf", ()))
    return next((str(way["description"]) for way in ways if "description" in way), "")


def prose(text: str) -> Markup:
    """A docstring as paragraphs, with its code as code."""
    return Markup("").join(Markup("<p>{}</p>").format(inline(part)) for part in text.split("\n\n"))


def inline(text: str) -> Markup:
    """One paragraph of a docstring, with its code as code."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def pretty(value: Any) -> str:
    """An example as it is read best."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def curl(operation: Schema) -> str:
    """An operation as one types it: the address and the body of its example, and the key."""
    return " \\\n  ".join(_typed(operation))


def _typed(operation: Schema) -> Iterator[str]:
    method, path = operation["method"], operation.get("x-example", operation["path"])
    contents = operation.get("requestBody", {}).get("content", {})
    body = contents.get("application/json", {}).get("example")
    how = "" if method == "GET" or (method == "POST" and body is not None) else f" -X {method}"
    if "text/event-stream" in operation["responses"]["200"].get("content", {}):
        how += " -N"  # each event as it comes
    if "application/zip" in operation["responses"]["200"].get("content", {}):
        how += " -OJ"  # into a file, under the name that it comes with
    if "[" in path:
        how += " -g"  # brackets are no pattern
    yield f'curl{how} "$TAKINGS{path}"'
    yield '-H "Authorization: Bearer $KEY"'
    if method != "GET":
        yield f'-H "{acts.HEADER}: $(uuidgen)"'
    if body is not None:
        yield f"--json {shlex.quote(pretty(body))}"
