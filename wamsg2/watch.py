"""Once a second: has a command changed the database, do loop and writer still answer, is the disk back?"""

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from wamsg2.clock import Clock
from wamsg2.store import marks
from wamsg2.store.database import Store
from wamsg2.store.writer import StoreUnavailableError, WriterStoppedError
from wamsg2.work.signals import Signals

log = structlog.get_logger()

_INTERVAL_SECONDS = 1.0


class Watch:
    """Wakes the sender when another process wrote, and reports every round through the writer as a sign of life."""

    def __init__(self, *, store: Store, clock: Clock, signals: Signals, alive: Callable[[], None]) -> None:
        self._store = store
        self._clock = clock
        self._signals = signals
        self._alive = alive
        self._was_failing = False

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await self.step()
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def step(self) -> None:
        """One round.

        Raises:
            WriterStoppedError: nothing can be stored any more.
        """
        try:
            if self._store.failing:  # nobody may be writing, and so nobody would find out that it is over
                await self._store.write(partial(marks.put, name="disk_back", at=self._clock.now()))
            if await self._store.changed_elsewhere():
                self._signals.wake()
        except WriterStoppedError:
            raise  # the process must end: its supervisor starts it anew
        except StoreUnavailableError:
            pass  # the store remembers why
        self._note(self._store.failing)
        self._alive()

    def _note(self, failing: str | None) -> None:
        if failing and not self._was_failing:
            log.error("database.refused", reason=failing)
        elif self._was_failing and not failing:
            log.info("database.back")
        self._was_failing = failing is not None
