"""Bugs planted on purpose: a simulation that finds none of them would prove nothing."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from unittest.mock import patch

from tests.simulation.daemon import CrashError, Daemon, ProcessWriter
from wamsg2 import consent_words, pacing, rules
from wamsg2.model import Contact, Message, Policy
from wamsg2.store import messages, schema, writer
from wamsg2.store.interactions import Interaction
from wamsg2.store.writer import CommitHook, Tx, Work
from wamsg2.work import replying, settling

T = TypeVar("T")

_ONCE = "ON CONFLICT (contact_id, campaign_id, step) DO NOTHING"


@contextmanager
def _without_the_unique_index() -> Iterator[None]:
    """Rows are inserted as they come: neither the index nor the unique reference says that one is there."""

    def migrations() -> list[tuple[int, schema.Migration]]:
        return [(n, m if callable(m) else _permissive(m)) for n, m in original_migrations()]

    def trust(tx: Tx, connection: sqlite3.Connection) -> None:
        original_init(tx, connection)
        tx.execute = lambda sql, *p: connection.execute(sql.replace(_ONCE, ""), *p)
        tx.executemany = lambda sql, *p: connection.executemany(sql.replace(_ONCE, ""), *p)

    original_migrations, original_init = schema.migrations, Tx.__init__
    with patch.object(schema, "migrations", migrations), patch.object(writer.Tx, "__init__", trust):
        yield


def _permissive(script: str) -> str:
    lax = script.replace("CREATE UNIQUE INDEX messages_once", "CREATE INDEX messages_once")
    return lax.replace("reference         TEXT NOT NULL UNIQUE", "reference         TEXT NOT NULL")


class _HastyWriter(ProcessWriter):
    """Tells its callers at once, and commits a moment later."""

    _LATER_SECONDS = 0.05

    def __init__(self, connection: sqlite3.Connection, hook: CommitHook) -> None:
        super().__init__(connection, hook)
        self._works: list[Work[Any]] = []

    def submit(self, work: Work[T]) -> "asyncio.Future[T]":
        """Run the unit now."""
        if self.is_dead:
            raise CrashError
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if not self._works:
            self._connection.execute("BEGIN IMMEDIATE")
            loop.call_later(self._LATER_SECONDS, self._commit)
        self._works.append(work)
        tx = Tx(self._connection)
        future.set_result(work(tx))
        for callback in tx.take_callbacks():
            callback()
        return future

    def _commit(self) -> None:
        if self.is_dead:
            return
        works, self._works = self._works, []
        assert self._hook is not None
        try:
            self._hook("before", works)
        except sqlite3.OperationalError:
            self._connection.execute("ROLLBACK")
            return
        self._connection.execute("COMMIT")
        self._hook("after", works)


def _put_back_at_once(tx: Tx, message: Message, reason: str, now: datetime, policy: Policy) -> None:
    del policy
    settling.put_back(tx, message, reason, now)


class _FullBucket(pacing.TokenBucket):
    def __init__(self, interval_seconds: float, *, now_seconds: float) -> None:
        super().__init__(interval_seconds, now_seconds=now_seconds - interval_seconds)


def _by_reference_alone(
    find: Callable[..., Message | None], tx: Tx, *, reference: str | None, queue_id: str | None, wa_id: str | None
) -> Message | None:
    del queue_id, wa_id
    return find(tx, reference=reference, queue_id=None, wa_id=None)


def _by_arrival(record: Callable[..., Any], tx: Tx, contact: Contact, interaction: Interaction, **others: Any) -> Any:
    if consent_words.read(interaction.text) in (None, rules.Consent.OPT_OUT_SUSPECTED):
        interaction = replace(interaction, reply_at=interaction.received_at)
    return record(tx, contact, interaction, **others)


_PATCHES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no-unique-index": _without_the_unique_index,
    "acknowledge-before-commit": lambda: patch.object(Daemon, "writer", _HastyWriter),
    "resend-uncertain": lambda: patch.object(settling, "doubt", _put_back_at_once),
    "full-bucket": lambda: patch("wamsg2.sender.TokenBucket", _FullBucket),
    "forget-opt-out": lambda: patch.object(replying, "opt_out", lambda *_: 0),
    "window-by-arrival": lambda: patch.object(replying, "record", partial(_by_arrival, replying.record)),
    "one-id-only": lambda: patch.object(
        messages, "by_provider_ids", partial(_by_reference_alone, messages.by_provider_ids)
    ),
}

NAMES = tuple(_PATCHES)


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """The product with one bug in it, or as it is."""
    with ExitStack() as stack:
        if name is not None:
            stack.enter_context(_PATCHES[name]())
        yield
