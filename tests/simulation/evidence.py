"""What the judges look at, what they find, and what the truth leaves open."""

import math
import sqlite3
from collections import defaultdict
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

from tests.simulation.ledger import Meaning, Message, Person, Word
from tests.simulation.reader import Reader
from tests.simulation.timeline import HOUR_SECONDS, Moment, whole_seconds
from tests.simulation.world import World

T = TypeVar("T")

#: Where the daemon removes what is over, so much is there for sure: words go after 40 hours, raw events after 54.
_KEPT_SECONDS = 36 * HOUR_SECONDS

#: A claim is so much older than its request at the most, and a command's opt-out overlooks one that is made.
CLAIM = timedelta(seconds=0.2)


@dataclass(frozen=True, slots=True)
class Breach:
    """A promise that was broken, and where to look in the trace."""

    promise: str
    what: str
    person: Person | None = None
    reference: str | None = None
    at: Moment | None = None

    @property
    def about(self) -> list[tuple[str, Any]]:
        """The facts of the trace's lines that tell of it."""
        facts: list[tuple[str, Any]] = []
        if self.person:
            facts.append(("phone", self.person.written))
        if self.reference:
            facts.append(("reference", self.reference))
        return facts

    def __str__(self) -> str:
        who = f" ({self.person.written})" if self.person else ""
        return f"{self.promise}: {self.what}{who}"


@dataclass(slots=True)
class Evidence:
    """What the judges look at."""

    world: World
    connection: sqlite3.Connection
    identities: dict[bytes, bytes] = field(default_factory=dict)  #: body -> identity, of what was looked at before

    @property
    def since_seconds(self) -> float:
        """From when on nothing may have been removed yet."""
        timeline = self.world.timeline
        return timeline.seconds - _KEPT_SECONDS if self.world.habits.kept else -math.inf

    @property
    def reader(self) -> Any:
        """For queries of the product's own."""
        return Reader(self.connection)

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """From the database, as it is committed."""
        return self.connection.execute(sql, parameters).fetchall()


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stopped:
        result: T = stopped.value
        return result
    raise AssertionError("it waits")


def words_of(world: World) -> dict[int, list[Word]]:
    """What each human wrote from any of their numbers, in order."""
    words: dict[int, list[Word]] = defaultdict(list)
    for word in world.ledger.words.values():
        words[word.person.human].append(word)
    return words


def is_reply(word: Word) -> bool:
    """Whether words may bring about a Message 2: START is a reply, from whoever never opted out."""
    return word.meaning is not Meaning.STOP and not word.to_other_device


def went_between(world: World, message_1: Message, word: Word) -> tuple[datetime, datetime]:
    """Within which times the daemon may believe that a Message 1 went out, when it decides about a reply.

    Exactly when the provider said, if it had been told and no clock was ever wrong.
    """
    if message_1.told and word.taken and message_1.told < word.taken:
        return _as_told(world, message_1)
    behind = timedelta(seconds=world.timeline.behind_seconds)
    started_at, sent_at = message_1.attempt.server_at, message_1.sent_at
    if sent_at is None:
        return started_at - CLAIM - behind, started_at
    return min(started_at - CLAIM, whole_seconds(sent_at)) - behind, max(started_at, sent_at)


def went_in_the_end(world: World, message_1: Message, word: Word) -> tuple[datetime, datetime]:
    """The same once everything is known: whenever the provider's word came, replies are decided by it."""
    return _as_told(world, message_1) if message_1.told else went_between(world, message_1, word)


def _as_told(world: World, message_1: Message) -> tuple[datetime, datetime]:
    assert message_1.sent_at is not None
    earliest = whole_seconds(message_1.sent_at)  # an acknowledgement tells it in whole seconds
    return earliest - timedelta(seconds=world.timeline.behind_seconds), message_1.sent_at
