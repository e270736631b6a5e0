"""What goes wrong in a run: how often, and when."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from random import Random

from tests.simulation.timeline import DAY_SECONDS


def spread(random: Random, low: float, high: float) -> float:
    """Between two bounds, every order of magnitude alike."""
    return float(low * (high / low) ** random.random())


@dataclass(slots=True)
class Weather:
    """How likely each fault is, each time that it could happen.

    A fault that is off in one run leaves room for what only the others bring about (swarm testing).
    """

    unconnected: float  #: a request does not reach the provider, and says so
    throttled: float  #: HTTP 429
    lost_request: float  #: a request is lost on its way, and nobody can tell
    lost_answer: float  #: a request is accepted, and nobody can tell
    slow: float  #: a request takes up to half a minute
    late_id: float  #: the answer does not know WhatsApp's id yet
    failed_question: float  #: a look-up, a list or a look at the account fails
    lag: float  #: the provider's search does not find an accepted message for a while
    stale: float  #: a look-up shows an older state
    repeated: float  #: a webhook comes several times
    delayed: float  #: a webhook comes up to a day and two hours late
    lost_event: float  #: a webhook is never tried
    lost_200: float  #: the answer to a webhook is lost: it comes again
    crash_before: float  #: the process dies just before a commit
    crash_after: float  #: ... just after one
    crash_between: float  #: ... or while a request is on its way
    disk_error: float  #: a commit is refused
    cut: float  #: a command dies between two of its units
    blank: float  #: a message is told without its words first
    elsewhere: float  #: somebody writes to another device of the account
    colleague: float  #: somebody else of the team sends our words from another device
    queued_long: float  #: the provider's queue keeps a message for hours
    failed_first: float  #: a message is reported as failed, and is sent after all

    @classmethod
    def drawn(cls, random: Random) -> "Weather":
        """The weather of a run."""
        return cls(
            **{name: most * random.random() if random.random() < 0.75 else 0.0 for name, most in _MOST.items()}
        )

    def calm_down(self) -> None:
        """Nothing goes wrong any more."""
        for each in fields(self):
            setattr(self, each.name, 0.0)


_MOST = {
    "unconnected": 0.05,
    "throttled": 0.03,
    "lost_request": 0.08,
    "lost_answer": 0.2,
    "slow": 0.3,
    "late_id": 0.5,
    "failed_question": 0.4,
    "lag": 0.8,
    "stale": 0.4,
    "repeated": 0.3,
    "delayed": 0.15,
    "lost_event": 0.06,
    "lost_200": 0.1,
    "crash_before": 0.01,
    "crash_after": 0.01,
    "crash_between": 0.04,
    "disk_error": 0.01,
    "cut": 0.2,
    "blank": 0.3,
    "elsewhere": 0.15,
    "colleague": 0.1,
    "queued_long": 0.1,
    "failed_first": 0.1,
}


@dataclass(frozen=True, slots=True)
class Outages:
    """When something does not work, as seconds from the beginning."""

    spans: tuple[tuple[float, float], ...]

    @classmethod
    def drawn(cls, random: Random, *, days: float, a_day: float, shortest: float, longest: float) -> "Outages":
        """About so many a day (in some runs none), all over when the days are."""
        if random.random() < 0.3:
            return cls(())
        return cls(tuple(cls._spans(random, days * DAY_SECONDS, a_day, shortest, longest)))

    @staticmethod
    def _spans(
        random: Random, seconds: float, a_day: float, shortest: float, longest: float
    ) -> Iterator[tuple[float, float]]:
        is_early = random.random() < 0.4  # at the beginning, when most is sent
        start = spread(random, 5.0, 3600.0) if is_early else random.expovariate(a_day / DAY_SECONDS)
        while start < seconds:
            end = min(start + spread(random, shortest, longest), seconds)
            yield start, end
            start = end + random.expovariate(a_day / DAY_SECONDS)

    def end(self, seconds: float) -> float | None:
        """When the outage that is on ends, if one is."""
        return next((end for start, end in self.spans if start <= seconds < end), None)


def moments(random: Random, *, days: float, a_day: float) -> list[float]:
    """About so many moments a day, in some runs none; and often one more at the beginning, when most is sent."""
    found: list[float] = []
    if random.random() < 0.75:
        if random.random() < 0.5:
            found.append(spread(random, 5.0, 3600.0))
        at_seconds = random.expovariate(a_day / DAY_SECONDS)
        while at_seconds < days * DAY_SECONDS:
            found.append(at_seconds)
            at_seconds += random.expovariate(a_day / DAY_SECONDS)
    return found
