"""Settles uncertain messages by asking the provider for their reference; one question at a time."""

import asyncio
import math
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import structlog

from wamsg2 import rules
from wamsg2.clock import Clock
from wamsg2.model import Absent, Doubt, LookUp, MessageStatus, Policy
from wamsg2.provider_retention import ProviderRetention
from wamsg2.store import messages
from wamsg2.store.database import Store
from wamsg2.store.writer import StoreUnavailableError, WriterStoppedError
from wamsg2.wassenger.client import Client
from wamsg2.work import settling
from wamsg2.work.signals import Signals

log = structlog.get_logger()

_STORE_RETRY_SECONDS = 5.0


class Reconciler:
    """Looks uncertain messages up until they are settled.

    Args:
        store: the database.
        client: the provider.
        clock: wall time for when to look, monotonic time for how long a message has been absent.
        policy: when absence is proved, and for replies that wait.
        gap_seconds: between two look-ups.
        idle_seconds: with nothing in doubt, how soon to look again; doubts also arise without anyone waking us (a
            person's `retry`).
        retention: for how long the provider keeps messages: what it may have deleted is not proved absent.
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
        retention: ProviderRetention,
        signals: Signals,
        idle_seconds: float = 5.0,
    ) -> None:
        self._store = store
        self._client = client
        self._clock = clock
        self._policy = policy
        self._gap_seconds = gap_seconds
        self._idle_seconds = idle_seconds
        self._retention = retention
        self._signals = signals
        self._absent_since_seconds: dict[tuple[int, int], float] = {}  # (message, attempt) -> monotonic time

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
                if next_at is None:
                    self._absent_since_seconds.clear()
                until_next = (next_at - now).total_seconds() if next_at else math.inf
                return max(min(until_next, self._idle_seconds), 0.001)
            answer = await self._client.find(doubt.reference)
            is_absent = isinstance(answer, Absent)
            retention = await self._retention.shortest_since(doubt.attempted_at) if is_absent else None
            status = await self._settle(doubt, answer, retention)
        except StoreUnavailableError as error:
            log.warning("look_up.postponed", reason=str(error))
            return _STORE_RETRY_SECONDS
        log.info(
            "message.looked_up", message_id=doubt.message_id, answer=type(answer).__name__.lower(), status=status
        )
        if status is not MessageStatus.UNCERTAIN:
            self._absent_since_seconds.pop((doubt.message_id, doubt.attempt), None)
            if status is not None:
                self._signals.wake()
        return self._gap_seconds

    async def _settle(self, doubt: Doubt, answer: LookUp, retention: timedelta | None) -> MessageStatus | None:
        answered_at = self._clock.now()
        unit = partial(
            settling.settle_look_up,
            looked_up=self._as_seen_here(doubt, answer, answered_at),
            answer=answer,
            retention=retention,
            now=answered_at,
            policy=self._policy,
            signals=self._signals,
        )
        try:
            return await self._store.write(unit)
        except (StoreUnavailableError, WriterStoppedError):
            raise
        except Exception as error:
            # Whatever is the matter with this one: the others are not to wait for ever.
            log.exception("look_up.broken", message_id=doubt.message_id)
            reason = f"internal error ({type(error).__name__})"
            later = answered_at + rules.next_look_up_without_proof(doubt.look_ups)
            await self._store.write(
                partial(
                    messages.looked_up,
                    message_id=doubt.message_id,
                    absent_since=None,
                    look_up_at=later,
                    now=answered_at,
                    reason=reason,
                )
            )
            return MessageStatus.UNCERTAIN

    def _as_seen_here(self, doubt: Doubt, answer: LookUp, now: datetime) -> Doubt:
        """The doubt with its absence as long as this process has seen it, by the clock that never steps.

        A time of day that jumps an hour ahead proves nothing; after a restart the proof begins anew.
        """
        key, seconds = (doubt.message_id, doubt.attempt), self._clock.monotonic()
        since_seconds = self._absent_since_seconds.get(key)
        if isinstance(answer, Absent):
            self._absent_since_seconds.setdefault(key, seconds)
        since = None if since_seconds is None else now - timedelta(seconds=seconds - since_seconds)
        return replace(doubt, absent_since=since)
