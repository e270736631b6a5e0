"""Migrations, each applied once in one transaction, counted in ``PRAGMA user_version``.

They are numbered ``.sql`` files, and Python functions where stored values must be computed.
"""

import sqlite3
from collections.abc import Callable
from importlib import resources

from wamsg2 import rules
from wamsg2.model import Step, WamsgError
from wamsg2.store.renumbering import renumber

#: SQL, or a function that works in the transaction which is open on the connection.
Migration = str | Callable[[sqlite3.Connection], None]

_MINIMUM_SQLITE = (3, 38, 0)
_FUNCTIONS: tuple[tuple[int, Migration], ...] = ((3, renumber),)


class SchemaError(WamsgError):
    """The database cannot be used by this version of the program."""


def migrations() -> list[tuple[int, Migration]]:
    """Every migration with its number, in order."""
    files = [f for f in resources.files("wamsg2.store").joinpath("migrations").iterdir() if f.name.endswith(".sql")]
    scripts = [(int(f.name.split("_", 1)[0]), f.read_text(encoding="utf-8")) for f in files]
    return sorted([*scripts, *_FUNCTIONS], key=lambda numbered: numbered[0])


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, safe while another process does the same; the connection gets what its SQL calls.

    Raises:
        SchemaError: the database is a newer version's or another program's, or SQLite is too old.
    """
    if sqlite3.sqlite_version_info < _MINIMUM_SQLITE:
        raise SchemaError(f"SQLite {sqlite3.sqlite_version} is too old: 3.38 or newer is needed")
    known = migrations()
    newest = known[-1][0]
    if _version(connection) < newest:
        _refuse_strangers(connection)
        for number, migration in known:
            _apply(connection, number, migration)
    _refuse_newer(connection, newest)
    connection.create_function("message_reference", 3, _reference, deterministic=True)


def _reference(campaign_key: str, contact_key: str, step: int) -> str:
    return rules.reference(campaign_key, contact_key, Step(step))


def require_ours(connection: sqlite3.Connection) -> None:
    """Accept what a version of this program made, up to this one.

    Raises:
        SchemaError: the database is a newer version's, another program's, or empty.
    """
    if _version(connection) == 0:
        raise SchemaError("the file is no database of wamsg2")
    _refuse_newer(connection, migrations()[-1][0])


def in_memory(version: int) -> sqlite3.Connection:
    """An empty database as the migrations up to this version make it."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    for number, migration in migrations():
        if number <= version:
            _apply(connection, number, migration)
    return connection


def _refuse_newer(connection: sqlite3.Connection, newest: int) -> None:
    if (found := _version(connection)) > newest:
        raise SchemaError(
            f"the database has schema version {found}, newer than this program knows ({newest}): update wamsg2"
        )


def _refuse_strangers(connection: sqlite3.Connection) -> None:
    # Tables first: where another process migrates meanwhile, tables without a version are never seen in this order.
    has_tables = connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
    if has_tables and _version(connection) == 0:
        raise SchemaError("the file is another program's database")


def _apply(connection: sqlite3.Connection, number: int, migration: Migration) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again under the write lock: another process may have migrated meanwhile.
        if _version(connection) == number - 1:
            if callable(migration):
                migration(connection)
            else:
                for statement in _statements(migration):
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> list[str]:
    """Split at statement ends as SQLite sees them; ``executescript`` would commit on its own."""
    statements, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending)
            pending = ""
    return statements
