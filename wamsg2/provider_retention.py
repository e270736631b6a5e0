"""How long the provider keeps the messages that it has processed, as far as this process has seen."""

import math
from datetime import datetime, timedelta

from wamsg2 import rules
from wamsg2.clock import Clock
from wamsg2.model import Unknown
from wamsg2.wassenger.account import Account

#: A policy that was read earlier than this may have been changed since: it is read again before anything is proved.
_FRESH_SECONDS = 120.0
#: Between two questions that were not answered.
_ASK_AGAIN_SECONDS = 30.0


class ProviderRetention:
    """Remembers the policies of the device, and asks for the one in force if none was noted lately.

    Args:
        account: the provider.
        clock: wall time for when a policy was seen, monotonic time for how old it is.
    """

    def __init__(self, *, account: Account, clock: Clock) -> None:
        self._account = account
        self._clock = clock
        self._seen: list[tuple[datetime, timedelta | None]] = []
        self._noted_seconds = self._unanswered_seconds = -math.inf

    def note(self, kept: timedelta | None) -> None:
        """Note how long the device keeps messages now; None: it has a policy that is not known."""
        now = self._clock.now()
        self._noted_seconds = self._clock.monotonic()
        if self._seen and self._seen[-1][1] == kept:
            return
        self._seen = [*rules.retentions_since(self._seen, now - rules.LONGEST_RETENTION), (now, kept)]

    async def shortest_since(self, since: datetime) -> timedelta | None:
        """The shortest policy in force since then; None where it cannot be known."""
        now_seconds = self._clock.monotonic()
        if now_seconds - self._noted_seconds > _FRESH_SECONDS:
            if now_seconds - self._unanswered_seconds < _ASK_AGAIN_SECONDS:
                return None
            state = await self._account.device()
            if isinstance(state, Unknown):
                self._unanswered_seconds = now_seconds
                return None
            self.note(state.retention)
        return rules.shortest_retention(self._seen, since)
