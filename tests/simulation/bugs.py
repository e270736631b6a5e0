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
from wamsg2 import backup, consent_words, pacing, rules, sender
from wamsg2.model import UNSETTLED, Campaign, Contact, Message, Policy, Sender
from wamsg2.store import campaigns, interactions, messages, schema, writer
from wamsg2.store.contacts import Match
from wamsg2.store.interactions import Interaction
from wamsg2.store.verify import Violation
from wamsg2.store.writer import CommitHook, Tx, Work
from wamsg2.wassenger import events
from wamsg2.work import people, replying, settling

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


def _by_hidden_id_first(identify: Callable[..., Match | None], tx: Tx, sender: Sender, quoted_id: str | None) -> Any:
    hidden = Sender(tuple(sorted(people.hidden_ids(sender))), None)
    return identify(tx, hidden, None) or identify(tx, sender, quoted_id)


@contextmanager
def _matching_by_hidden_id_alone() -> Iterator[None]:
    """Words are of the contact whose ``@lid`` it once was, whichever number comes with it."""
    with (
        patch.object(people, "identify", partial(_by_hidden_id_first, people.identify)),
        patch.object(people, "everyone", lambda *_: []),
    ):
        yield


def _what_waits(change: Callable[..., None], tx: Tx, before: Message, after: Message, **others: Any) -> None:
    if before.status in UNSETTLED and interactions.first_waiting_for(tx, after.id) is not None:
        change(tx, before, after, **others)


_BY_CLOCKS = """SELECT 'message ' || m.id FROM consents o JOIN messages m ON m.contact_id = o.contact_id
                WHERE o.opted_out = 1 AND m.attempted_at > o.recorded_at
                AND NOT EXISTS (SELECT 1 FROM consents i WHERE i.contact_id = o.contact_id AND i.opted_out = 0
                                AND i.recorded_at BETWEEN o.recorded_at AND m.attempted_at)"""


async def _and_by_clocks(look: Callable[..., Any], reader: Any, *args: Any) -> Any:
    """One check more, which compares what two clocks said."""
    rows = [str(row[0]) for row in await reader.execute_fetchall(_BY_CLOCKS)]
    more = [Violation("database", "a request after an opt-out", tuple(rows))] if rows else []
    return [*await look(reader, *args), *more]


def _as_if_open(find: Callable[[Tx, str], Campaign | None], tx: Tx, name: str) -> Campaign | None:
    campaign = find(tx, name)
    return campaign and replace(campaign, is_closed=False)


_PATCHES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no-unique-index": _without_the_unique_index,
    "acknowledge-before-commit": lambda: patch.object(Daemon, "writer", _HastyWriter),
    "resend-uncertain": lambda: patch.object(settling, "doubt", _put_back_at_once),
    "full-bucket": lambda: patch("wamsg2.sender.TokenBucket", _FullBucket),
    "forget-opt-out": lambda: patch.object(replying, "opt_out", lambda *_, **__: 0),
    "window-by-arrival": lambda: patch.object(replying, "record", partial(_by_arrival, replying.record)),
    "one-id-only": lambda: patch.object(
        messages, "by_provider_ids", partial(_by_reference_alone, messages.by_provider_ids)
    ),
    "count-other-devices": lambda: patch.object(events, "is_of_another_device", lambda *_: False),
    "match-by-hidden-id": _matching_by_hidden_id_alone,
    "decide-once": lambda: patch.object(
        replying, "message_1_changed", partial(_what_waits, replying.message_1_changed)
    ),
    "try-refused-for-ever": lambda: patch.object(sender.Sender, "_put_behind", lambda _, __, refused, *___: refused),
    "refuse-backup-by-clocks": lambda: patch.object(
        backup, "_violations", partial(_and_by_clocks, backup._violations)
    ),
    "import-during-removal": lambda: patch.object(campaigns, "by_name", partial(_as_if_open, campaigns.by_name)),
}

NAMES = tuple(_PATCHES)


@contextmanager
def planted(name: str | None) -> Iterator[None]:
    """The product with one bug in it, or as it is."""
    with ExitStack() as stack:
        if name is not None:
            stack.enter_context(_PATCHES[name]())
        yield
