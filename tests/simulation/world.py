"""What everybody in a run shares."""

import math
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from random import Random

from tests.simulation.ledger import Ledger
from tests.simulation.timeline import DAY_SECONDS, Timeline
from tests.simulation.trace import Trace
from tests.simulation.weather import Weather
from wamsg2.model import Overlap, Policy
from wamsg2.retention import Kept

#: Raw events and what is over with them are kept for as long as anything may come again.
_KEPT = Kept(
    timedelta(0),
    message_texts=timedelta(hours=1),
    interactions=timedelta(hours=40),
    finished_campaigns=timedelta(hours=1),
)


@dataclass(frozen=True, slots=True)
class Habits:
    """What is set once, by whoever set the daemon up."""

    policy: Policy
    rate_limit_seconds: float
    catch_up_seconds: float  #: 0: lost webhooks stay lost
    kept: Kept | None  #: how long the daemon keeps what is over; None: for longer than a run
    hand_clock_seconds: float  #: how far the clock of whoever types commands is ahead of the daemon's

    @classmethod
    def drawn(cls, random: Random) -> "Habits":
        """Those of a run."""
        resend_after = timedelta(0) if random.random() < 0.1 else Policy().resend_after
        return cls(
            Policy(overlap=random.choice(list(Overlap)), resend_after=resend_after),
            rate_limit_seconds=random.choice((1.0, 1.0, 0.5, 3.0)),
            catch_up_seconds=random.choice((0.0, 1800.0, 7200.0)),
            kept=_KEPT if random.random() < 0.5 else None,
            hand_clock_seconds=random.choice((0.0, 0.0, random.uniform(-600.0, 600.0))),
        )


class Plan(Enum):
    """Which events the plan of the account has."""

    ALL = auto()
    BUSINESS = auto()  #: our messages are told as chat messages, without our reference
    PROFESSIONAL = auto()  #: ... and nothing more is told of them

    @property
    def has_acks(self) -> bool:
        """Whether it is told how far our messages got, and of reactions."""
        return self is not Plan.PROFESSIONAL


@dataclass(frozen=True, slots=True)
class Account:
    """What the provider does for this account, all the time."""

    plan: Plan
    tells_in_rows: bool  #: several reports of its queue are one webhook: a JSON array
    keeps_seconds: float  #: how long it finds a message once that is processed
    most_a_page: int  #: messages of a list, whatever is asked for
    broken_webhook: str  #: the status of a webhook that it has given up
    tells_events: bool  #: its list of webhooks says which events they are for

    @classmethod
    def drawn(cls, random: Random) -> "Account":
        """That of a run."""
        return cls(
            plan=random.choice(list(Plan)),
            tells_in_rows=random.random() < 0.8,
            keeps_seconds=random.choice((math.inf, math.inf, 0.0, 300.0)),
            most_a_page=random.choice((50, 50, 1)),
            broken_webhook=random.choice(("disabled", "failed", "error")),
            tells_events=random.random() < 0.7,
        )

    @property
    def retention_policy(self) -> str:
        """How long it keeps messages, in its own words."""
        return {math.inf: "plan_defaults", 0.0: "never"}.get(self.keeps_seconds, f"{self.keeps_seconds / 60:.0f}m")


@dataclass(frozen=True, slots=True)
class World:
    """One run: its time, its chance, its weather, and its account of the truth."""

    seed: int
    days: int
    timeline: Timeline
    trace: Trace
    weather: Weather
    habits: Habits
    account: Account
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
            Account.drawn(stream(seed, "account")),
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
