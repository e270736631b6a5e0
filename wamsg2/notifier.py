"""Looks at how things stand, and tells the operator once what has changed: in the log, in the status, by POST."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

import structlog

from wamsg2 import alerts
from wamsg2.alerts import Conditions, Facts, Failure, Occurrence, Thresholds
from wamsg2.clock import Clock
from wamsg2.model import Notification, NotificationState
from wamsg2.store.database import Store
from wamsg2.store.writer import StoreUnavailableError
from wamsg2.work import notifying

log = structlog.get_logger()

_INTERVAL_SECONDS = 10.0


class Notifier:
    """Stores and logs what begins, what is over and what happens.

    Args:
        store: the database.
        facts: gives how things stand now.
        clock: for the times of what is told, and for how long things have stood so.
        thresholds: what is worth telling.
        deliver: called when something new waits for the receiver; None: there is no receiver.
    """

    def __init__(
        self,
        *,
        store: Store,
        facts: Callable[[], Awaitable[Facts]],
        clock: Clock,
        thresholds: Thresholds,
        deliver: Callable[[], None] | None,
    ) -> None:
        self._store = store
        self._facts = facts
        self._clock = clock
        self._thresholds = thresholds
        self._deliver = deliver
        self._held: bool | None = None
        self._held_since_seconds = 0.0  # monotonic: since when it has been so
        self._failure: Failure | None = None
        self._failing = False
        self._known: object = None  # what the last look found, in short

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self.step()
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def step(self) -> None:
        """One look; what cannot be stored now is found again by the next."""
        try:
            facts = await self._facts()
        except Exception:
            log.exception("notifications.blind")  # nobody's sending must end for this
            return
        conditions, occurrences = self._judge(facts)
        found = _in_short(conditions, occurrences)
        if found == self._known:  # details change all the time
            return
        unit = partial(
            notifying.tell,
            conditions=conditions,
            occurrences=occurrences,
            now=self._clock.now(),
            post=self._deliver is not None,
        )
        try:
            told = await self._store.write(unit)
        except StoreUnavailableError:
            return  # which the watch logs
        self._known = found
        for notification in told.new:
            _log(notification)
        if told.given_up:
            log.error("notification.given_up", count=told.given_up, reason="too many wait")
        if told.new and self._deliver:
            self._deliver()

    def _judge(self, facts: Facts) -> tuple[Conditions, Sequence[Occurrence]]:
        now_seconds = self._clock.monotonic()
        is_held = facts.held is not None
        if is_held is not self._held:
            self._held, self._held_since_seconds = is_held, now_seconds
        if facts.failing and not self._failing:
            self._failure = Failure(self._clock.now(), facts.failing)
        self._failing = facts.failing is not None
        unchanged = timedelta(seconds=now_seconds - self._held_since_seconds)
        return (
            alerts.conditions(facts, unchanged=unchanged, thresholds=self._thresholds),
            alerts.occurrences(facts, self._failure),
        )


def _in_short(conditions: Conditions, occurrences: Sequence[Occurrence]) -> object:
    return (
        {kind: detail is not None for kind, detail in conditions.items()},
        {(each.kind, each.subject) for each in occurrences},
    )


def _log(notification: Notification) -> None:
    write = log.warning if notification.state is NotificationState.RAISED else log.info
    write(
        f"notification.{notification.state}",
        notification_id=notification.id,
        kind=notification.kind,
        subject=notification.subject,
        detail=notification.detail,
    )
