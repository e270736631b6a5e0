"""Virtual time: the provider's clock, the server's clock, and the order of what happens at one moment."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple, ParamSpec

from tests.support import START, VirtualClock

P = ParamSpec("P")

HOUR_SECONDS = 3600.0
DAY_SECONDS = 24 * HOUR_SECONDS


class Moment(NamedTuple):
    """When something happened; of two things at one virtual time, the one with the lower order came first."""

    seconds: float
    order: int


class Timeline:
    """The time of one run, from its beginning; make it on the loop that it is the time of."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._start_seconds = self._loop.time()
        self._order = 0
        self._server_is_ahead_seconds = 0.0
        self.provider = VirtualClock()  #: never stepped: it is the truth
        self.server = VirtualClock()
        self.ahead_seconds = 0.0  #: the most that the server's clock has been ahead of the provider's
        self.behind_seconds = 0.0

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._loop.time() - self._start_seconds

    def moment(self) -> Moment:
        """Now, behind everything that happened so far."""
        self._order += 1
        return Moment(self.seconds, self._order)

    def after(self, seconds: float, do: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Have something happen so many seconds from now."""
        self._loop.call_later(seconds, lambda: do(*args, **kwargs))

    def step_server(self, seconds: float) -> None:
        """Somebody sets the server's clock."""
        self.server.step_wall(seconds)
        self._server_is_ahead_seconds += seconds
        self.ahead_seconds = max(self.ahead_seconds, self._server_is_ahead_seconds)
        self.behind_seconds = max(self.behind_seconds, -self._server_is_ahead_seconds)


def at(seconds: float) -> datetime:
    """The true time of day so many seconds from the beginning."""
    return START + timedelta(seconds=seconds)


def since_start(moment: datetime) -> float:
    """Seconds from the beginning to a true time of day."""
    return (moment - START).total_seconds()


def whole_seconds(moment: datetime) -> datetime:
    """As WhatsApp stamps messages."""
    return moment.replace(microsecond=0)
