"""The house stands as it is drawn: who may import whom, and where SQL, the vendor's words and the clock live."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import wamsg2

PACKAGE = Path(wamsg2.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

#: The rooms from the ground up. A module imports from lower floors and from its own package, nothing else.
FLOORS = (
    {"__init__", "model", "characters"},
    {"numbering"},
    {"rules", "phone", "pacing", "clock", "template", "masking", "alerts", "notify", "bell", "slips"},
    {"traces", "consent_words", "arrivals"},
    {"store"},
    {"wassenger", "standard_webhook", "contact_file"},
    {"work"},
    {"provider_retention"},
    {"inbox", "sender", "reconciler", "campaigns", "watch", "provider_watch", "notifier", "delivery", "status"}
    | {"backup", "privacy", "retention"},
    {"catch_up"},
    {"web", "config", "logs"},
    {"app"},
    {"demo"},
    {"cli"},
    {"__main__"},
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
#: The stand-in for Wassenger stands beside the house: it knows only the wire, and only these know it.
BESIDE = "sandbox"
KNOW_THE_SANDBOX = {"demo", "cli"}
#: Lower floors that a room leaves alone all the same.
APART = {
    "wassenger": {"store"},  # the vendor's words end where rows begin
    "contact_file": {"store", "phone"},  # knows columns and cells, not who they are about
    "standard_webhook": {"store"},  # knows one message and one address
    "work": {"wassenger", "clock", "pacing"},  # speaks the model; time comes as an argument
    "status": {"wassenger", "work"},  # reads
    "web": {"rules", "work", "phone", "template"},  # decides nothing
}
PURE = {
    "model",
    "characters",
    "rules",
    "consent_words",
    "numbering",
    "phone",
    "pacing",
    "template",
    "slips",
    "masking",
    "traces",
    "alerts",
}

#: Libraries with one place each (beside the sandbox).
LIBRARIES = {
    "sqlite3": {"store"},
    "aiosqlite": {"store"},
    "phonenumbers": {"phone", "config"},  # config: is this a country?
    "aiohttp": {"wassenger", "standard_webhook", "web", "app", "cli"},
    "standardwebhooks": {"standard_webhook"},
    "prometheus_client": {"web"},
    "pydantic": {"config"},
    "pydantic_settings": {"config"},
    "structlog": {
        "inbox",
        "sender",
        "reconciler",
        "watch",
        "retention",
        "notifier",
        "delivery",
        "provider_watch",
        "catch_up",
        "web",
        "logs",
        "app",
        "cli",
    },  # below, nobody logs
    "logging": {"logs"},
    "openpyxl": {"contact_file"},
    "click": {"cli"},
    "rich": {"cli"},
    "uvloop": {"cli"},
    "time": {"clock"},
}

SQL = re.compile(
    r"\b(SELECT\b.+\bFROM|INSERT\b.*\bINTO|REPLACE\s+INTO|UPDATE\b.+\bSET|DELETE\s+FROM|CREATE\s+(TABLE|INDEX)|PRAGMA)\b",
    re.DOTALL,
)
VENDOR_WORDS = re.compile(
    r"message:(in|out|update|reaction)|number:session|X-W(assenger|ebhook)|@?c\.us|@lid|@g\.us|s\.whatsapp|@newsletter"
    r"|(from|to)Number|waId|deliveryStatus|sentAt|failureReason|errorCode"
)
#: What stands elsewhere, and why; an entry that is not needed any more fails too.
SQL_ELSEWHERE: dict[str, str] = {}
VENDOR_WORDS_ELSEWHERE = {
    ("demo.py", "message:in"): "reads the ledger of the sandbox, which keeps what it sent under the wire's names",
    (
        "work/people.py",
        "c.us",
    ): "which chat ids hold a number: an id is `digits@c.us` for everyone who speaks of contacts",
}
_CLOCKS = {"now", "utcnow", "today"}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


def room(module: str) -> str:
    """`store` for `store/times.py`, `rules` for `rules.py`."""
    return module.removesuffix(".py").partition("/")[0]


def imports(module: str) -> Iterator[str]:
    """The dotted names that a module imports, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(module: str) -> set[str]:
    """The rooms that a module imports from; `__init__` for the version."""
    parts = (name.split(".") for name in imports(module))
    found = {p[1] if len(p) > 1 else "__init__" for p in parts if p[0] == "wamsg2"}
    return {r if r in FLOOR or r == BESIDE else "__init__" for r in found}


def strings(module: str) -> Iterator[str]:
    """Every string that is not documentation, also the fixed parts of f-strings."""
    documentation = {
        id(node.value)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def test_every_module_has_a_floor() -> None:
    assert len(MODULES) > 40
    assert {room(module) for module in MODULES} == FLOOR.keys() | {BESIDE}


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) != BESIDE])
def test_imports_go_downwards(module: str) -> None:
    here = room(module)
    others = rooms_imported(module) - ({here} if "/" in module else set())
    if here in KNOW_THE_SANDBOX:
        others.discard(BESIDE)
    assert BESIDE not in others
    upwards = {other for other in others if FLOOR[other] >= FLOOR[here]}
    assert not upwards, f"{here} imports from its own floor or above"
    assert not others & APART.get(here, set())


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) == BESIDE])
def test_the_sandbox_knows_only_the_wire(module: str) -> None:
    assert rooms_imported(module) <= {BESIDE}


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) != BESIDE])
def test_libraries_have_their_places(module: str) -> None:
    top_levels = {name.partition(".")[0] for name in imports(module)}
    misplaced = {name for name in top_levels if room(module) not in LIBRARIES.get(name, {room(module)})}
    assert not misplaced


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in PURE | {"work", "status"}])
def test_decisions_wait_for_nothing(module: str) -> None:
    """Pure rules and units of work are plain functions (the status report is read, and awaits that)."""
    assert not {"random", "secrets", "threading"} & set(imports(module))
    if room(module) != "status":
        assert "asyncio" not in set(imports(module))
        asynchronous = (ast.AsyncFunctionDef, ast.Await, ast.AsyncFor, ast.AsyncWith)
        assert not [node.lineno for node in ast.walk(tree(module)) if isinstance(node, asynchronous)]


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) not in {"store", BESIDE}])
def test_sql_is_in_the_store(module: str) -> None:
    found = [text for text in strings(module) if SQL.search(text)]
    assert bool(found) is (module in SQL_ELSEWHERE), found


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) not in {"wassenger", BESIDE}])
def test_the_vendors_words_are_in_the_vendors_room(module: str) -> None:
    found = {(module, match[0]) for text in strings(module) for match in VENDOR_WORDS.finditer(text)}
    assert found == {known for known in VENDOR_WORDS_ELSEWHERE if known[0] == module}


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) not in {"clock", BESIDE}])
def test_nobody_but_the_clock_asks_for_the_time(module: str) -> None:
    asked = [
        ast.unparse(node)
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Attribute)
        and (
            (
                node.attr in _CLOCKS
                and ast.unparse(node.value) in {"datetime", "date", "datetime.datetime", "datetime.date"}
            )
            or (node.attr == "time" and "loop" in ast.unparse(node.value))
            or (isinstance(node.value, ast.Name) and node.value.id == "time")
        )
    ]
    assert not asked


@pytest.mark.parametrize(
    ("text", "is_sql"),
    [
        ("SELECT id FROM messages", True),
        ("INSERT OR IGNORE INTO x VALUES (?)", True),
        ("UPDATE totals\n SET value = 1", True),
        ("DELETE FROM x", True),
        ("Select a campaign from the list", False),
        ("UPDATE", False),
    ],
)
def test_sql_is_recognised(text: str, is_sql: bool) -> None:  # noqa: FBT001 - a column
    assert bool(SQL.search(text)) is is_sql
