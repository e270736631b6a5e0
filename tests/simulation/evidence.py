"""What the judges look at, what they find, and what the truth leaves open."""

import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.simulation.ledger import Message, Person, Word
from tests.simulation.timeline import Moment
from tests.simulation.world import World

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

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """From the database, as it is committed."""
        return self.connection.execute(sql, parameters).fetchall()


def words_of(world: World) -> dict[int, list[Word]]:
    """What each person wrote, in order."""
    words: dict[int, list[Word]] = defaultdict(list)
    for word in world.ledger.words.values():
        words[word.person.index].append(word)
    return words


def went_between(world: World, message_1: Message, word: Word) -> tuple[datetime, datetime]:
    """Within which times the daemon may believe that a Message 1 went out, when it decides about a reply.

    Exactly when the provider said, if it had been told and no clock was ever wrong.
    """
    behind, started_at, sent_at = (
        timedelta(seconds=world.timeline.behind_seconds),
        message_1.attempt.server_at,
        message_1.sent_at,
    )
    if sent_at is None:
        return started_at - CLAIM - behind, started_at
    if message_1.told and word.taken and message_1.told < word.taken:
        return sent_at - behind, sent_at
    return min(started_at - CLAIM, sent_at) - behind, max(started_at, sent_at)
