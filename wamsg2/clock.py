"""The one clock. Nobody else asks the machine for the time."""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is stored, monotonic time for what is paced."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never steps, so pacing survives a changed time of day."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()


#: Less is an adjustment, not a step.
_STEP = timedelta(seconds=1)


class ForwardClock:
    """Another clock, but the time of day is never set back: it then goes on as if nothing had happened.

    Set back by an hour, the clock would make every queued message an hour early, and every reply one that was
    written before its Message 1.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen = clock.now()
        self._seen_seconds = clock.monotonic()

    def now(self) -> datetime:
        """The time of day, aware, in UTC."""
        told, seconds = self._clock.now(), self._clock.monotonic()
        carried = self._seen + timedelta(seconds=seconds - self._seen_seconds)
        if told < carried - _STEP:
            return carried
        self._seen, self._seen_seconds = told, seconds
        return told

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return self._clock.monotonic()
