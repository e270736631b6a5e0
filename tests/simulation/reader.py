"""The database as those see it who only read."""

import sqlite3
from collections.abc import Callable
from typing import Any


class Reader:
    """As `aiosqlite` gives it, but without a thread, which would know another time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute(self, sql: str, parameters: Any = ()) -> None:
        """Run a statement."""
        self._connection.execute(sql, parameters)

    async def execute_fetchall(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        return self._connection.execute(sql, parameters).fetchall()

    async def create_function(self, name: str, count: int, do: Callable[..., Any], *, deterministic: bool) -> None:
        """Have a function that statements can call."""
        self._connection.create_function(name, count, do, deterministic=deterministic)
