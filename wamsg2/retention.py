"""Once a day, whatever is older than it is to be kept goes, so slowly that nobody notices."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from wamsg2 import rules
from wamsg2.clock import Clock
from wamsg2.model import Policy
from wamsg2.store import erasure, notifications
from wamsg2.store import retention as rows
from wamsg2.store.database import Store
from wamsg2.store.writer import StoreUnavailableError, Tx, Work, WriterStoppedError
from wamsg2.work import pruning

T = TypeVar("T")

log = structlog.get_logger()

_FIRST_SECONDS, _INTERVAL_SECONDS = 60.0, 24 * 3600.0
#: So many are looked for at once, and so many removed in one transaction: a few milliseconds each.
_LOOK_ROWS, _UNIT_ROWS = 500, 50
#: After each transaction, for webhooks to go first.
_PAUSE_SECONDS = 0.05

Find = Callable[[datetime, int], Awaitable[list[int]]]
Remove = Callable[[Tx, list[int]], None]


@dataclass(frozen=True, slots=True)
class Kept:
    """How long each kind of data is kept; None: for ever."""

    raw_events: timedelta
    message_texts: timedelta | None = None
    interactions: timedelta | None = None
    finished_campaigns: timedelta | None = None


class Retention:
    """Removes what is too old.

    Args:
        store: the database.
        clock: for what is too old.
        policy: how long the windows of campaigns are.
        kept: see there.
        pause_seconds: after each transaction.
    """

    def __init__(
        self, *, store: Store, clock: Clock, policy: Policy, kept: Kept, pause_seconds: float = _PAUSE_SECONDS
    ) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self._kept = kept
        self._pause_seconds = pause_seconds

    async def run(self) -> None:
        """Prune for ever, every day and shortly after the start."""
        await asyncio.sleep(_FIRST_SECONDS)
        while True:
            await self.step()
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def step(self) -> None:
        """One round; what the disk refuses is left for the next.

        Raises:
            WriterStoppedError: nothing can be stored any more.
        """
        try:
            removed = await self._prune()
        except WriterStoppedError:
            raise
        except StoreUnavailableError as error:
            log.warning("retention.postponed", reason=str(error))
            return
        if any(removed.values()):
            log.info("retention.pruned", **removed)

    async def _prune(self) -> dict[str, int]:
        """How many went of each kind."""
        now, reader, kept = self._clock.now(), self._store.reader, self._kept
        # Raw events before all that may go with them.
        events_before = rules.expire_before(kept.raw_events, now)
        removed = {
            "events": await self._each(partial(rows.old_events, reader), rows.delete_events, events_before),
            "receipts": await self._each(partial(rows.old_receipts, reader), rows.delete_receipts, events_before),
            "notifications": await self._notifications(events_before),
        }
        if kept.message_texts:
            old = partial(rows.old_texts, reader)
            removed["message_texts"] = await self._each(old, rows.drop_texts, now - kept.message_texts)
        if kept.interactions:
            old = partial(rows.old_interactions, reader)
            removed["interactions"] = await self._each(old, erasure.empty_words, now - kept.interactions)
        ended_before = min(now - kept.finished_campaigns, events_before) if kept.finished_campaigns else None
        removed["campaigns"] = await self._campaigns(ended_before, events_before, now)
        if kept.finished_campaigns:
            removed["contacts"] = await self._idle_contacts(events_before)
        return removed

    async def _each(self, find: Find, remove: Remove, before: datetime) -> int:
        """Remove all that is found, and is found no more then."""
        total, last = 0, list[int]()
        while (ids := await find(before, _LOOK_ROWS)) and ids != last:
            for start in range(0, len(ids), _UNIT_ROWS):
                await self._write(_unit(remove, ids[start : start + _UNIT_ROWS]))
            total, last = total + len(ids), ids
        return total

    async def _notifications(self, before: datetime) -> int:
        total = 0
        while n := await self._write(partial(notifications.prune, before=before, most=_UNIT_ROWS)):
            total += n
        return total

    async def _campaigns(self, ended_before: datetime | None, events_before: datetime, now: datetime) -> int:
        """Campaigns that are long over."""
        total = 0
        for campaign_id in await rows.created_before(self._store.reader, ended_before):
            unit = partial(
                pruning.remove_some,
                campaign_id=campaign_id,
                ended_before=ended_before,
                events_before=events_before,
                policy=self._policy,
                now=now,
                most=_UNIT_ROWS,
            )
            while (progress := await self._write(unit)) is pruning.Progress.SOME:
                pass
            total += progress is pruning.Progress.ALL
        return total

    async def _idle_contacts(self, events_before: datetime) -> int:
        """Whoever is in no campaign any more."""

        def delete(tx: Tx, contact_ids: list[int]) -> None:
            rows.delete_contacts(tx, contact_ids, events_before)

        return await self._each(partial(rows.idle_contacts, self._store.reader), delete, events_before)

    async def _write(self, work: Work[T]) -> T:
        result = await self._store.write(work)
        await asyncio.sleep(self._pause_seconds)
        return result


def _unit(remove: Remove, ids: list[int]) -> Work[None]:
    return lambda tx: remove(tx, ids)
