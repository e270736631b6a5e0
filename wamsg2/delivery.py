"""Delivers notifications to their receiver: one at a time, oldest first, until it has them or they are too old.

A 2xx is stored before the next request leaves, so nothing is posted again that the receiver said to have. Where
nobody can tell (no answer in time, a crash before the answer was stored), it is posted again under the same id.
"""

import asyncio
import math
from datetime import timedelta
from functools import partial
from random import Random

import structlog

from wamsg2 import alerts
from wamsg2.bell import Bell
from wamsg2.clock import Clock
from wamsg2.model import Notification
from wamsg2.pacing import backoff_seconds
from wamsg2.standard_webhook import Receiver
from wamsg2.store import notifications
from wamsg2.store.database import Store
from wamsg2.store.writer import StoreUnavailableError, Work
from wamsg2.work import notifying

log = structlog.get_logger()

_STORE_RETRY_SECONDS = 1.0


class Delivery:
    """The line of notifications that wait.

    Args:
        store: the database.
        receiver: who gets them.
        clock: for what is due.
        random: jitter of back-offs.
    """

    def __init__(self, *, store: Store, receiver: Receiver, clock: Clock, random: Random) -> None:
        self._store = store
        self._receiver = receiver
        self._clock = clock
        self._random = random
        self._bell = Bell()
        self._stopping = False

    def wake(self) -> None:
        """Look at the line again: something was added."""
        self._bell.ring()

    def stop(self) -> None:
        """Post nothing more; `run` returns once what became of the request under way is stored."""
        self._stopping = True
        self._bell.ring()

    async def run(self) -> None:
        """Deliver until `stop`."""
        # A start is a person's way to say "now": maybe they have put the address right.
        await self._write(partial(notifications.hurry, now=self._clock.now()))
        while not self._stopping:
            if delay_seconds := await self.step():
                await self._bell.wait(delay_seconds)

    async def step(self) -> float:
        """Try the head of the line if it is due; seconds until the next try (0: at once, inf: when woken)."""
        now = self._clock.now()
        try:
            line = await self._store.write(partial(notifying.line, now=now))
        except StoreUnavailableError:
            return _STORE_RETRY_SECONDS
        if line.given_up:
            log.error("notification.given_up", count=line.given_up, reason="too old")
        if line.head is None:
            return math.inf
        if (wait_seconds := alerts.seconds_until(line.next_at, now)) > 0:
            return wait_seconds
        await self._post(line.head)
        return 0

    async def _post(self, notification: Notification) -> None:
        message_id = f"msg_{notification.key}"
        try:
            problem = await self._receiver.post(message_id, alerts.payload(notification))
        except Exception as error:
            log.exception("notification.broken", delivery_id=message_id)
            problem = f"internal error ({type(error).__name__})"
        tries = notification.attempts + 1
        now = self._clock.now()
        facts = {"delivery_id": message_id, "kind": notification.kind, "attempt": tries}
        if problem is None:
            await self._write(partial(notifications.delivered, notification_id=notification.id, at=now))
            log.info("notification.delivered", **facts)
            return
        seconds = backoff_seconds(
            tries, self._random, base_seconds=alerts.FIRST_RETRY_SECONDS, most_seconds=alerts.LAST_RETRY_SECONDS
        )
        next_at = now + timedelta(seconds=seconds)
        await self._write(partial(notifications.postpone, notification_id=notification.id, next_at=next_at))
        log.warning("notification.postponed", reason=problem, next_try_seconds=round(seconds, 1), **facts)

    async def _write(self, unit: Work[None]) -> None:
        """Store it, however long the disk refuses: what is forgotten would be posted a second time."""
        while True:
            try:
                return await self._store.write(unit)
            except StoreUnavailableError:
                if self._stopping:
                    return None
                await asyncio.sleep(_STORE_RETRY_SECONDS)
