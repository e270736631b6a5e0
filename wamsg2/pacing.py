"""When the next send may start, and how long to wait after a failure. No clock, no I/O: times come as arguments."""

import math
from collections import deque
from random import Random


class TokenBucket:
    """One token, refilled ``interval_seconds`` after it was taken, over all campaigns.

    It starts empty, so that a process that crashes and restarts in a loop never bursts, and a restart never
    shortens the gap to the last send of the process before it.
    """

    def __init__(self, interval_seconds: float, *, now_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self._last_start = now_seconds
        self._ready_at = now_seconds + interval_seconds

    @property
    def ready_at_seconds(self) -> float:
        """The earliest monotonic time at which the next send may start."""
        return self._ready_at

    def take(self, now_seconds: float) -> None:
        """Start a send at `now_seconds`.

        Raises:
            ValueError: the token is not there yet. A caller that did not wait would break the limit.
        """
        if now_seconds < self._ready_at:
            message = f"no token before {self._ready_at:.6f} s, asked at {now_seconds:.6f} s"
            raise ValueError(message)
        self._ready_at = now_seconds + self.interval_seconds

    def note_start(self, started_seconds: float) -> float:
        """The send that took the token started only now: the next one keeps its distance from there.

        Returns:
            Seconds since the start before it; of the first one, since the bucket was made.
        """
        self._ready_at = max(self._ready_at, started_seconds + self.interval_seconds)
        gap_seconds = max(started_seconds - self._last_start, 0.0)
        self._last_start = max(self._last_start, started_seconds)
        return gap_seconds

    def tokens_within(self, now_seconds: float, horizon_seconds: float, most: int) -> int:
        """How many sends could start up to `horizon_seconds` from now, `most` at the most."""
        # From now on, however long the token has lain there: the bucket holds one.
        slack = now_seconds + horizon_seconds - max(self._ready_at, now_seconds)
        if slack < 0:
            return 0
        if self.interval_seconds == 0:
            return most
        return min(most, 1 + math.floor(slack / self.interval_seconds))


def backoff_seconds(failures: int, random: Random, *, base_seconds: float, most_seconds: float) -> float:
    """Exponential back-off with up to 20 % jitter: about base, 2 x base, 4 x base ..., never over `most_seconds`."""
    raw = base_seconds * 2.0 ** min(failures - 1, 30)
    return min(most_seconds, raw * random.uniform(1.0, 1.2))


class FailureRun:
    """Notices when sends go wrong in a row: of so many, at least `count` failed, a `share` of them all.

    Args:
        count: of failures; 0 never notices.
        share: over 0, up to 1. The last ``count / share`` sends are looked at.
    """

    def __init__(self, count: int, share: float) -> None:
        self._count = count
        self._last: deque[bool] = deque(maxlen=max(math.floor(count / share), 1))

    def note(self, *, failed: bool) -> None:
        """One more send has ended."""
        self._last.append(failed)

    def clear(self) -> None:
        """Sends go well again."""
        self._last.clear()

    @property
    def is_on(self) -> bool:
        """Whether it is better to wait than to go on."""
        return 0 < self._count <= sum(self._last)

    def __str__(self) -> str:
        return f"{sum(self._last)} of the last {len(self._last)} sends failed"
