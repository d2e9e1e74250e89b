"""The rules of the house are kept, and each of them can be broken.

A rule is a function of one file that yields what is wrong with it.  Beside the rules stand the
violations that they must catch and the innocents that they must leave alone.
"""

import ast
import functools
import re
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parent.parent
MADE_HERE = re.compile(r"^build/|__pycache__|\.egg-info/")
BELOW_API = ("takings", "tipping", "ticketing")
MONEY = (
    *("takings/money.py", "takings/splits.py", "takings/commission.py", "takings/ledger"),
    *("takings/spaces", "takings/payments", "takings/payouts", "takings/finance"),
    *("takings/policies", "tipping", "ticketing"),
)

Rule = Callable[[PurePosixPath, ast.Module, str], Iterator[str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef
RULES: list[Rule] = []


def rule(check: Rule) -> Rule:
    RULES.append(check)
    return check


def within(path: PurePosixPath, *places: str) -> bool:
    return any(path.is_relative_to(place) for place in places)


def functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def is_string(statement: ast.stmt) -> bool:
    """Whether it is a docstring, or a name given to a string."""
    match statement:
        case ast.Expr(value) | ast.Assign(value=value) | ast.AnnAssign(value=value):
            constant = isinstance(value, ast.Constant) and isinstance(value.value, str)
            return constant or isinstance(value, ast.JoinedStr)
    return False


def prose(tree: ast.Module) -> Iterator[ast.stmt]:
    """What does not count as code: docstrings, and the module's string constants (SQL)."""
    yield from filter(is_string, tree.body)
    for node in ast.walk(tree):
        if isinstance(node, Function | ast.ClassDef) and ast.get_docstring(node) is not None:
            yield node.body[0]


def span(*statements: ast.stmt) -> int:
    return sum((s.end_lineno or s.lineno) - s.lineno + 1 for s in statements)


@rule
def outsiders_have_one_door(path: PurePosixPath, tree: ast.Module, _: str) -> Iterator[str]:
    """Rule 1: stripe, fastapi and the environment are each met in one place."""
    doors = {"stripe": ("takings/payments/stripe.py",), "fastapi": ("api", "web")}
    if within(path, "tests"):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Import(names):
                imported = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module), level=0):
                imported = [module]
            case _:
                continue
        for name in imported:
            package = name.partition(".")[0]
            if package in doors and not within(path, *doors[package]):
                yield f"{node.lineno}: imports {package}"


@rule
def the_environment_is_read_in_settings(
    path: PurePosixPath, tree: ast.Module, _: str
) -> Iterator[str]:
    """Rule 1: os.environ in api/settings.py alone."""
    if within(path, "tests", "api/settings.py"):
        return
    for node in ast.walk(tree):
        name = getattr(node, "attr", None) or getattr(node, "name", None)
        if isinstance(node, ast.Attribute | ast.alias) and name in {"environ", "getenv", "putenv"}:
            yield f"{node.lineno}: os.{name}"


NAMED = {"AsyncSession": "session", "Database": "database"}


def kind(argument: ast.arg) -> str:
    annotation = ast.unparse(argument.annotation) if argument.annotation else ""
    return annotation.rpartition(".")[2]


@rule
def a_function_is_a_step_or_an_act(path: PurePosixPath, tree: ast.Module, _: str) -> Iterator[str]:
    """Rule 3: a step takes a session first, an act the Database first, nobody takes both."""
    if not within(path, *BELOW_API, "api"):
        return
    for function in functions(tree):
        positional = [a for a in function.args.args if a.arg not in {"self", "cls"}]
        given = [a for a in (*positional, *function.args.kwonlyargs) if kind(a) in NAMED]
        if len({kind(a) for a in given}) > 1:
            yield f"{function.lineno}: {function.name} is a step and an act"
        elif given and within(path, *BELOW_API):
            if given[:1] != positional[:1]:
                yield f"{function.lineno}: {function.name} takes its {given[0].arg} late"
            if given[0].arg != NAMED[kind(given[0])]:
                yield f"{function.lineno}: {function.name} calls it {given[0].arg}"


@rule
def only_the_database_commits(path: PurePosixPath, tree: ast.Module, _: str) -> Iterator[str]:
    """Rule 3: commit, rollback and begin only in takings/database.py."""
    if not within(path, *BELOW_API, "api", "web") or within(path, "takings/database.py"):
        return
    ends = {"commit", "rollback", "begin", "begin_nested"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) in ends:
            yield f"{node.lineno}: {ast.unparse(node.func)}"


@rule
def names_say_what_a_thing_is(path: PurePosixPath, tree: ast.Module, _: str) -> Iterator[str]:
    """Rule 6: no Service, Manager, Repository, Helper, Utils; no module of that kind."""
    if re.search(r"(service|manager|repositor|helper|util|\bkit\b)", path.stem):
        yield "1: the module's name says nothing"
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and re.search(
            r"(Service|Manager|Repository|Helper|Util)s?(?![a-z])", node.name
        ):
            yield f"{node.lineno}: class {node.name}"


@rule
def no_float_touches_money(path: PurePosixPath, tree: ast.Module, _: str) -> Iterator[str]:
    """Rule 7: no float, no fraction and no true division; only seconds may have decimals."""
    if not within(path, *MONEY):
        return
    seconds = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith("_S")
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id="float"):
                yield f"{node.lineno}: float"
            case ast.Constant(value=float(value)) if node not in seconds:
                yield f"{node.lineno}: {value}"
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                yield f"{node.lineno}: {ast.unparse(node)} divides into a float"


@rule
def now_is_an_argument(path: PurePosixPath, tree: ast.Module, _: str) -> Iterator[str]:
    """Rule 9: below api/ nothing reads the clock, but for the neighbourhood of an id."""
    if not within(path, *BELOW_API) or within(path, "takings/records.py"):
        return
    clocks = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "monotonic_ns"}
    clocks |= {"perf_counter", "perf_counter_ns"}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value, attr)) if attr in clocks:
                if ast.unparse(value).rpartition(".")[2] in {"datetime", "date", "time"}:
                    yield f"{node.lineno}: {ast.unparse(node.func)}"
            case ast.ImportFrom(module="time", names=names):
                yield from (f"{node.lineno}: {a.name}" for a in names if a.name in clocks)


@rule
def a_docstring_opens_with_a_promise(
    path: PurePosixPath, tree: ast.Module, text: str
) -> Iterator[str]:
    """Rule 13: every file of ours says in its first line, in one sentence, what it is."""
    if path.suffix != ".py" or not text.strip():
        return
    first, *more = (ast.get_docstring(tree) or "").splitlines() or [""]
    if not re.fullmatch(r"\S.*[.:]", first):
        yield f"1: the first line is no sentence: {first!r}"
    if more and more[0]:
        yield "2: the sentence does not stand alone"


@rule
def everything_is_small(path: PurePosixPath, tree: ast.Module, text: str) -> Iterator[str]:
    """Rule 14: files of 250 lines (tests 400), functions of 50, endpoints of 10."""
    if path.suffix != ".py" or within(path, "migrations/versions"):
        return
    limit = 400 if within(path, "tests") else 250
    if (length := len(text.splitlines()) - span(*prose(tree))) > limit:
        yield f"1: {length} lines, where {limit} are enough"
    route = re.compile(r"\.(get|post|put|patch|delete|head|api_route)\(")
    for function in functions(tree):
        docstring = function.body[:1] if ast.get_docstring(function) is not None else []
        if (length := span(function) - span(*docstring)) > 50:
            yield f"{function.lineno}: {function.name} has {length} lines, where 50 are enough"
        endpoint = any(route.search(ast.unparse(line)) for line in function.decorator_list)
        first, last = function.body[len(docstring) :][:1], function.end_lineno or 0
        if endpoint and within(path, "api") and first and last - first[0].lineno >= 10:
            yield f"{function.lineno}: the endpoint {function.name} has a body of over 10 lines"


def forbidden(text: str, pattern: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.search(pattern, line):
            yield f"{number}: {found[0]}"


@rule
def no_registry_is_named(_: PurePosixPath, __: ast.Module, text: str) -> Iterator[str]:
    """Where packages come from is the machine's business."""
    names = r"py[p]i\.|python[h]osted|registry[.]npmjs|index[-_]url|find[-_]links|proxy[.]golang"
    yield from forbidden(text, names)


@rule
def no_machine_is_described(_: PurePosixPath, __: ast.Module, text: str) -> Iterator[str]:
    """A path in somebody's home leads nowhere on another machine."""
    yield from forbidden(text, r"(?<![\w.}])/(?:[r]oot|[h]ome|[w]ork|[U]sers)/[\w.]")


@rule
def nothing_is_left_for_later(_: PurePosixPath, __: ast.Module, text: str) -> Iterator[str]:
    """What is to be done is an issue, not a comment."""
    yield from forbidden(text, r"\b(TO[D]O|FIX[M]E|XX[X])\b")


@functools.cache
def house() -> list[tuple[PurePosixPath, ast.Module, str]]:
    """Every text file of the project, read and parsed once."""
    files = []
    for path in sorted(ROOT.rglob("*")):
        inside = PurePosixPath(path.relative_to(ROOT).as_posix())
        hidden = inside.parts[0].startswith(".") and not within(inside, ".ci", ".squawk.toml")
        if hidden or MADE_HERE.search(str(inside)) or not path.is_file():
            continue
        with suppress(UnicodeDecodeError):
            text = path.read_text(encoding="utf-8")
            files.append((inside, ast.parse(text if path.suffix == ".py" else ""), text))
    return files


@pytest.mark.parametrize("check", RULES, ids=lambda check: check.__name__)
def test_the_house_keeps_the_rule(check: Rule) -> None:
    broken = [f"{file[0]}:{wrong}" for file in house() for wrong in check(*file)]
    assert not broken, "\n".join([check.__doc__ or "", *broken])


VIOLATIONS: list[tuple[Rule, str, str]] = [
    (outsiders_have_one_door, "takings/payments/refunds.py", "import stripe"),
    (outsiders_have_one_door, "api/tips.py", "from stripe.error import Bad"),
    (outsiders_have_one_door, "takings/money.py", "from fastapi import Query"),
    (the_environment_is_read_in_settings, "api/app.py", "import os\nos.environ['A']"),
    (the_environment_is_read_in_settings, "takings/money.py", "from os import getenv"),
    (
        a_function_is_a_step_or_an_act,
        "tipping/tips.py",
        "def f(session: AsyncSession, database: Database): 1",
    ),
    (
        a_function_is_a_step_or_an_act,
        "tipping/tips.py",
        "async def f(a: int, session: AsyncSession): 1",
    ),
    (a_function_is_a_step_or_an_act, "tipping/tips.py", "async def f(*, database: Database): 1"),
    (a_function_is_a_step_or_an_act, "tipping/tips.py", "def f(tx: AsyncSession): 1"),
    (only_the_database_commits, "tipping/tips.py", "async def f(session): await session.commit()"),
    (only_the_database_commits, "api/tips.py", "async def f(s):\n    async with s.begin(): pass"),
    (names_say_what_a_thing_is, "takings/ledger/journal.py", "class JournalService: pass"),
    (names_say_what_a_thing_is, "takings/utils.py", ""),
    (no_float_touches_money, "takings/money.py", "def f(a: float): pass"),
    (no_float_touches_money, "takings/splits.py", "half = total * 0.5"),
    (no_float_touches_money, "takings/ledger/balances.py", "half = total / 2"),
    (now_is_an_argument, "tipping/tips.py", "import datetime\ndatetime.datetime.now(UTC)"),
    (now_is_an_argument, "takings/ledger/journal.py", "started = time.time()"),
    (now_is_an_argument, "takings/ledger/journal.py", "from time import monotonic"),
    (a_docstring_opens_with_a_promise, "takings/money.py", '"""some money"""'),
    (a_docstring_opens_with_a_promise, "takings/money.py", "import os"),
    (a_docstring_opens_with_a_promise, "tests/test_a.py", '"""One\nsentence over two lines."""'),
    (everything_is_small, "takings/money.py", "def f():\n" + "    a = 1\n" * 50),
    (everything_is_small, "takings/money.py", "a = 1\n" * 251),
    (everything_is_small, "tests/test_a.py", "a = 1\n" * 401),
    (everything_is_small, "api/tips.py", "@router.post('/')\ndef f():\n" + "    a = 1\n" * 11),
    (no_registry_is_named, "Makefile", "pip install --index" + "-url=x"),
    (no_machine_is_described, "docs/why.md", "see /ho" + "me/ada/takings"),
    (nothing_is_left_for_later, "takings/money.py", "# TO" + "DO: round"),
]


@pytest.mark.parametrize(
    ("check", "path", "text"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_violation_is_seen(check: Rule, path: str, text: str) -> None:
    tree = ast.parse(text if path.endswith(".py") else "")
    assert list(check(PurePosixPath(path), tree, text))


def test_every_rule_can_be_broken() -> None:
    assert {check for check, _, _ in VIOLATIONS} == set(RULES)


def test_a_tidy_file_breaks_no_rule() -> None:
    sql = "\n".join(["SELECT 1"] * 300)
    tidy = f'''
        """Tips: sent, settled, undone."""

        import time
        from takings.payments import stripe

        SEND = """
        {textwrap.indent(sql, " " * 8)}
        """
        PATIENCE_S = 2.5

        def divide(total: int) -> int:
            """The smaller half."""
            time.sleep(PATIENCE_S)
            return total // 2

        async def settle(session: AsyncSession, tip: Tip) -> None:
            """The tip is paid."""
            await stripe.find(tip)

        async def send(database: Database, *, now: datetime) -> None:
            """The tip is on its way."""
            await database.run(settle)
    '''
    text = textwrap.dedent(tidy).strip()
    path = PurePosixPath("tipping/tips.py")
    assert [wrong for check in RULES for wrong in check(path, ast.parse(text), text)] == []
