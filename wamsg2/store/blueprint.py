"""What the migrations make of an empty file: the measure of the schema, and of the rows in it."""

import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from wamsg2.store.schema import in_memory

#: What SQLite keeps for itself (also where somebody ran ANALYZE) is nobody's to compare, nor are Litestream's tables.
OBJECTS = """SELECT type, name, sql FROM sqlite_master
             WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE '\\_litestream\\_%' ESCAPE '\\'"""
_COMMENT = re.compile(r"--[^\n]*")
_MOST_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A schema version.

    Attributes:
        objects: normalised SQL by type and name, such as ``("index", "messages_once")``.
        checks: a query for each CHECK, for the rows that break it.
        references: a query for each foreign key, for the rows that point to nothing.
    """

    objects: Mapping[tuple[str, str], str]
    checks: tuple[str, ...]
    references: tuple[str, ...]

    def differences(self, found: Mapping[tuple[str, str], str]) -> Iterator[str]:
        """In words, what of these objects is not as it should be."""
        for kind, name in sorted(self.objects.keys() | found.keys()):
            mine, theirs = self.objects.get((kind, name)), found.get((kind, name))
            if theirs is None:
                yield f"{kind} {name} is missing"
            elif mine is None:
                yield f"{kind} {name} is none of ours"
            elif mine != theirs:
                yield f"{kind} {name} is another"


def of_version(version: int) -> Blueprint:
    """The blueprint of a schema version."""
    with closing(in_memory(version)) as fresh:
        objects = normalised(fresh.execute(OBJECTS).fetchall())
        tables = {name: sql for (kind, name), sql in objects.items() if kind == "table"}
        return Blueprint(
            objects,
            tuple(query for name, sql in tables.items() for query in _check_queries(fresh, name, sql)),
            tuple(query for name in tables for query in _reference_queries(fresh, name)),
        )


def normalised(rows: Sequence[tuple[str, str, str | None]]) -> dict[tuple[str, str], str]:
    """SQL by type and name, without comments and line breaks: they may change without a migration."""
    return {(kind, name): " ".join(_COMMENT.sub("", sql or "").split()) for kind, name, sql in rows}


def _row_name(fresh: sqlite3.Connection, table: str) -> str:
    """An SQL expression: ``messages 5``."""
    columns = fresh.execute("SELECT name FROM pragma_table_info(?) WHERE pk > 0 ORDER BY pk", (table,)).fetchall()
    return f"'{table} ' || " + " || '/' || ".join(name for (name,) in columns)


def _check_queries(fresh: sqlite3.Connection, table: str, sql: str) -> Iterator[str]:
    for check in _checks(sql):
        shown = check if len(check) <= _MOST_SHOWN_CHARACTERS else f"{check[:_MOST_SHOWN_CHARACTERS]}…"
        quoted = shown.replace("'", "''")
        yield f"SELECT {_row_name(fresh, table)} || ': CHECK ({quoted})' FROM {table} WHERE NOT ({check})"  # noqa: S608 - from our migrations


def _checks(sql: str) -> Iterator[str]:
    """The expressions inside ``CHECK (…)``; no string in them holds a parenthesis."""
    for match in re.finditer(r"\bCHECK \(", sql):
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(sql[end], 0)
            end += 1
        yield sql[match.end() : end - 1]


def _reference_queries(fresh: sqlite3.Connection, table: str) -> Iterator[str]:
    keys = fresh.execute('SELECT "from", "table", "to" FROM pragma_foreign_key_list(?)', (table,)).fetchall()
    for column, parent, parent_column in keys:
        yield (
            f"SELECT {_row_name(fresh, table)} || ': {column} ' || {column} FROM {table} "  # noqa: S608 - see above
            f"WHERE NOT EXISTS (SELECT 1 FROM {parent} p WHERE p.{parent_column} = {table}.{column}) "
            f"AND {column} IS NOT NULL"
        )
