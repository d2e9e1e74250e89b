"""Stripe's contract as JSON Schema, read from the types that the installed SDK is generated with.

Requests are the ``stripe.params`` TypedDicts, answers and events the annotations of the resources:
both come from Stripe's own description of exactly the API version that the SDK pins.
"""

import ast
import decimal
import importlib
import inspect
import pkgutil
import re
import sys
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import typing_extensions
from stripe._api_version import _ApiVersion
from stripe._list_object import ListObject
from stripe._request_options import RequestOptions
from stripe._stripe_object import StripeObject, UntypedStripeObject
from stripe.events import _event_classes
from stripe.v2._list_object import ListObject as ListObjectV2

Schema = dict[str, Any]

WANTED = re.compile(
    r"(?!.*/search)"  # its answers are no lists
    r"(/v1/(account_links|accounts/{\w+}$|balance|balance_transactions|charges|checkout/sessions"
    r"|customers(/{\w+}(/payment_methods)?)?$|disputes|events|payment_intents|payment_methods"
    r"|payouts|refunds|transfers|webhook_endpoints)(/|$)"
    r"|/v1/(balance|balance_settings|customers)$|/v2/core/(accounts|account_links|events)(/{\w+}(/close)?)?$)"
)
WHOLE = {  # any other object is only known by its name where it is expanded
    "account",
    "application",
    "balance",
    "balance_settings",
    "balance_transaction",
    "charge",
    "checkout.session",
    "customer",
    "dispute",
    "event",
    "item",
    "payment_intent",
    "payment_method",
    "payout",
    "price",
    "refund",
    "transfer",
    "transfer_reversal",
    "v2.core.account",
    "v2.core.account_link",
    "v2.core.event",
    "webhook_endpoint",
}
PLAIN: dict[Any, Schema] = {
    Any: {},
    object: {},
    None: {"type": "null"},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    decimal.Decimal: {"type": "string", "pattern": r"^-?\d+(\.\d+)?$"},
}
NULL = {"type": "null"}
LITERALS = (typing.Literal, typing_extensions.Literal)
UNIONS = (typing.Union, types.UnionType)
WRAPPERS = (
    typing_extensions.NotRequired,
    typing_extensions.Required,
    typing_extensions.Annotated,
    typing.NotRequired,
    typing.Required,
)


def names_in(module: types.ModuleType) -> dict[str, Any]:
    """What an annotation in that module may mean, with what only type checkers import."""
    names = {**vars(typing), **vars(module)}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for imported in ast.walk(node):
                if isinstance(imported, ast.ImportFrom) and imported.module:
                    origin = importlib.import_module(imported.module)
                    for alias in imported.names:
                        names[alias.asname or alias.name] = getattr(origin, alias.name)
    return names


class Definitions:
    """JSON Schemas of the SDK's types, each class defined once."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self.objects: dict[str, Schema] = {}
        self._names: dict[str, dict[str, Any]] = {}

    def names(self, module: str) -> dict[str, Any]:
        if module not in self._names:
            self._names[module] = names_in(sys.modules[module])
        return self._names[module]

    def of(self, hint: Any, names: Mapping[str, Any]) -> Schema:
        """The schema of one annotation; a kind of annotation never seen before is an error."""
        if isinstance(hint, typing.ForwardRef):
            hint = hint.__forward_arg__
        if isinstance(hint, str):
            hint = eval(hint.replace("\n", " "), dict(names))  # noqa: S307  the SDK's own words
            return self.of(hint, names)
        if isinstance(hint, typing.Hashable) and hint in PLAIN:
            return PLAIN[hint]
        origin = typing_extensions.get_origin(hint)
        if origin is not None:
            return self._generic(origin, typing_extensions.get_args(hint), names)
        return self._class(hint)

    def _class(self, hint: Any) -> Schema:
        if typing_extensions.is_typeddict(hint):
            return self._once(hint, self._params)
        if issubclass(hint, UntypedStripeObject):
            return {"type": "object"}
        name = getattr(hint, "OBJECT_NAME", None)
        if name is None or "." in hint.__qualname__:  # a part of an object
            return self._once(hint, self._resource)
        if name not in WHOLE:
            known = {"object": {"enum": [name]}}
            return {"type": "object", "required": ["object"], "properties": known}
        self.objects[name] = self._once(hint, self._resource)
        return self.objects[name]

    def _generic(self, origin: Any, arguments: Any, names: Mapping[str, Any]) -> Schema:
        if origin in LITERALS:
            return {"enum": list(arguments)}
        if origin in UNIONS:
            return self._union(arguments, names)
        inside = self.of(arguments[0 if origin in WRAPPERS else -1], names)
        if origin in WRAPPERS:
            return inside
        if origin in LISTS:
            return LISTS[origin](inside)
        if issubclass(origin, Mapping | UntypedStripeObject):
            return {"type": "object", "additionalProperties": inside}
        if issubclass(origin, Sequence):
            return {"type": "array", "items": inside}
        message = f"an annotation of no known kind: {origin!r}"
        raise TypeError(message)

    def _union(self, arguments: Any, names: Mapping[str, Any]) -> Schema:
        """Any of them; an open enum is taken as closed: we only say what is known today."""
        schemas: list[Schema] = []
        for argument in arguments:
            schema = self.of(argument, names)
            parts = schema.get("anyOf", [schema])
            schemas += [part for part in parts if part not in schemas]
        if any(schema.get("enum", [""]) != [""] for schema in schemas):
            schemas = [schema for schema in schemas if schema != PLAIN[str]]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _once(self, hint: type, define: Any) -> Schema:
        name = f"{hint.__module__}.{hint.__qualname__}"
        if name not in self.schemas:
            self.schemas[name] = {}  # a class may refer to itself
            self.schemas[name] = define(hint)
        return {"$ref": f"#/$defs/{name}"}

    def _params(self, hint: Any) -> Schema:
        names = self.names(hint.__module__)
        own = hint.__annotations__.items()
        fields = {n: self.of(a, names) for n, a in own if n not in RequestOptions.__annotations__}
        required = sorted(n for n in fields if n in hint.__required_keys__)
        return closed(fields, required)

    def _resource(self, hint: type) -> Schema:
        """A field that may be null may also be absent; a field of no type is nobody's."""
        fields: dict[str, Schema] = {}
        for owner in reversed(hint.__mro__):
            if not owner.__module__.startswith("stripe.") or owner is StripeObject:
                continue
            names = {**self.names(owner.__module__), **nested(owner)}
            for name, annotation in inspect.get_annotations(owner).items():
                if typing_extensions.get_origin(annotation) is typing.ClassVar:
                    continue
                if not name.startswith("_"):
                    fields[name] = self.of(annotation, names)
        required = sorted(
            name
            for name, schema in fields.items()
            if name != "deleted" and NULL not in schema.get("anyOf", [schema])
        )
        return closed(fields, required)


def nested(owner: type) -> dict[str, type]:
    return {name: kind for name, kind in vars(owner).items() if isinstance(kind, type)}


def closed(fields: dict[str, Schema], required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": fields,
        "required": required,
        "additionalProperties": False,
    }


def list_of(item: Schema) -> Schema:
    fields = {
        "object": {"enum": ["list"]},
        "data": {"type": "array", "items": item},
        "has_more": {"type": "boolean"},
        "url": {"type": "string"},
    }
    return closed(fields, sorted(fields))


def page_of(item: Schema) -> Schema:
    url = {"type": ["string", "null"]}
    items = {"type": "array", "items": item}
    return closed({"data": items, "next_page_url": url, "previous_page_url": url}, ["data"])


LISTS = {ListObject: list_of, ListObjectV2: page_of}


def operations() -> Iterator[tuple[str, str, str, str | None, str]]:
    """Method, path, module, parameters' type and answer's type of every operation we may use."""
    for package in ("stripe", "stripe.checkout", "stripe.v2.core"):
        for found in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if found.name.endswith("_service"):
                name = f"{package}.{found.name}"
                tree = ast.parse(inspect.getsource(importlib.import_module(name)))
                for node in ast.walk(tree):
                    if isinstance(node, ast.FunctionDef):
                        yield from operations_of(node, name)


def operations_of(
    function: ast.FunctionDef, module: str
) -> Iterator[tuple[str, str, str, str | None, str]]:
    for node in ast.walk(function):
        match node:
            case ast.Call(
                func=ast.Attribute(attr="_request"),
                args=[ast.Constant(value=method), path, *_],
            ):
                url = re.search(r"/v\d/[^'\"]+", ast.unparse(path))
                if url and WANTED.match(url[0]):
                    hints = {a.arg: a.annotation for a in function.args.args}
                    params = hints.get("params")
                    answer = ast.unparse(function.returns) if function.returns else "Any"
                    yield method, url[0], module, params and ast.unparse(params), answer


def build() -> Schema:
    """The whole contract."""
    types_ = Definitions()
    paths: dict[str, dict[str, Schema]] = {}
    for method, path, module, params, answer in operations():
        names = types_.names(module)
        request = types_.of(params, names) if params else {"type": "object"}
        if "anyOf" in request:  # params may be left out
            request = next(part for part in request["anyOf"] if part != NULL)
        paths.setdefault(path, {})[method] = {
            "request": request,
            "answer": types_.of(ast.literal_eval(answer), names),
        }
    notifications = {
        name: types_.of(_event_classes.get_v2_event_class(name), {})
        for name in _event_classes._V2_EVENT_CLASS_LOOKUP  # noqa: SLF001
        if name.startswith("v2.core.account")
    }
    return {
        "version": _ApiVersion.CURRENT,
        "paths": paths,
        "objects": types_.objects,
        "notifications": notifications,
        "$defs": types_.schemas,
    }
