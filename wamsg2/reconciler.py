"""Settles uncertain messages by asking the provider for their reference; one question at a time."""

import asyncio
import math
from functools import partial

import structlog

from wamsg2.clock import Clock
from wamsg2.model import MessageStatus, Policy
from wamsg2.store import messages
from wamsg2.store.database import Store
from wamsg2.store.writer import StoreUnavailableError
from wamsg2.wassenger.client import Client
from wamsg2.work import settling
from wamsg2.work.signals import Signals

log = structlog.get_logger()

_STORE_RETRY_SECONDS = 5.0
#: With nothing in doubt, how soon to look again; doubts also arise without anyone waking us (a person's `retry`).
_IDLE_SECONDS = 5.0


class Reconciler:
    """Looks uncertain messages up until they are settled.

    Args:
        store: the database.
        client: the provider.
        clock: wall time.
        policy: when absence is proved, and for replies that wait.
        gap_seconds: between two look-ups.
        signals: woken when a message goes back in line.
    """

    def __init__(
        self,
        *,
        store: Store,
        client: Client,
        clock: Clock,
        policy: Policy,
        gap_seconds: float,
        signals: Signals,
    ) -> None:
        self._store = store
        self._client = client
        self._clock = clock
        self._policy = policy
        self._gap_seconds = gap_seconds
        self._signals = signals

    async def run(self) -> None:
        """Look up for ever."""
        while True:  # noqa: ASYNC110 - what it waits for is time
            await asyncio.sleep(await self.step())

    async def step(self) -> float:
        """Look up the message that has been due longest, if any; seconds until the next step."""
        now = self._clock.now()
        try:
            doubt, next_at = await self._store.write(partial(messages.next_doubt, now=now))
            if doubt is None:
                until_next = (next_at - now).total_seconds() if next_at else math.inf
                return max(min(until_next, _IDLE_SECONDS), 0.001)
            answer = await self._client.find(doubt.reference)
            unit = partial(
                settling.settle_look_up,
                looked_up=doubt,
                answer=answer,
                now=self._clock.now(),
                policy=self._policy,
                signals=self._signals,
            )
            status = await self._store.write(unit)
        except StoreUnavailableError as error:
            log.warning("look_up.postponed", reason=str(error))
            return _STORE_RETRY_SECONDS
        log.info(
            "message.looked_up", message_id=doubt.message_id, answer=type(answer).__name__.lower(), status=status
        )
        if status is not None and status is not MessageStatus.UNCERTAIN:
            self._signals.wake()
        return self._gap_seconds
