"""What everybody in a run shares."""

from dataclasses import dataclass
from datetime import timedelta
from random import Random

from tests.simulation.ledger import Ledger
from tests.simulation.timeline import DAY_SECONDS, Timeline
from tests.simulation.trace import Trace
from tests.simulation.weather import Weather
from wamsg2.model import Overlap, Policy


@dataclass(frozen=True, slots=True)
class Habits:
    """What is set once, by whoever set the daemon up."""

    policy: Policy
    rate_limit_seconds: float
    catch_up_seconds: float  #: 0: lost webhooks stay lost

    @classmethod
    def drawn(cls, random: Random) -> "Habits":
        """Those of a run."""
        resend_after = timedelta(0) if random.random() < 0.1 else Policy().resend_after
        return cls(
            Policy(overlap=random.choice(list(Overlap)), resend_after=resend_after),
            rate_limit_seconds=random.choice((1.0, 1.0, 0.5, 3.0)),
            catch_up_seconds=random.choice((0.0, 900.0, 3600.0)),
        )


@dataclass(frozen=True, slots=True)
class World:
    """One run: its time, its chance, its weather, and its account of the truth."""

    seed: int
    days: int
    timeline: Timeline
    trace: Trace
    weather: Weather
    habits: Habits
    ledger: Ledger

    @classmethod
    def drawn(cls, seed: int, days: int) -> "World":
        """The world of a seed; inside its event loop."""
        timeline = Timeline()
        return cls(
            seed,
            days,
            timeline,
            Trace(timeline),
            Weather.drawn(stream(seed, "weather")),
            Habits.drawn(stream(seed, "habits")),
            Ledger(),
        )

    def chance(self, name: str) -> Random:
        """A stream of chance for one part, which does not depend on how much the others draw."""
        return stream(self.seed, name)

    @property
    def end_seconds(self) -> float:
        """When the days are over."""
        return self.days * DAY_SECONDS


def stream(seed: int, name: str) -> Random:
    """All chance is one of these."""
    return Random(f"{seed}/{name}")
