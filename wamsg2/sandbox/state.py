"""What a sandbox remembers: the messages it accepted and the chats they belong to.

Everything is kept for the life of the process, because it is the truth that a test compares its own books with.
"""

import asyncio
import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from wamsg2.sandbox.dice import Dice
from wamsg2.sandbox.faults import Faults
from wamsg2.sandbox.settings import SandboxSettings
from wamsg2.sandbox.tasks import TaskPool

_sequence = itertools.count()


@dataclass(slots=True, kw_only=True)
class AcceptedMessage:
    """One message that ``POST /v1/messages`` accepted, whatever its sender was told about it."""

    id: str  #: of the queue, 24 hex
    wa_id: str  #: of WhatsApp
    phone: str  #: E.164 with ``+``; empty where the target was no phone
    wid: str  #: of the chat it goes to
    subject: str  #: what chance goes by: the same in every run, unlike ids and references
    reference: str | None
    message: str | None
    priority: str
    device: str
    accepted_at: datetime
    monotonic_seconds: float  #: ``time.monotonic()`` at the acceptance
    has_late_wa_id: bool = False  #: whether ``waId`` is hidden while queued
    hides_wa_id: bool = False  #: whether ``waId`` is never told
    copy_of: str | None = None  #: id of the message that the same request became first (``accept_twice``)
    status: str = "queued"  #: queued, sent, delivered, read, failed, or why the queue dropped it
    sent_at: datetime | None = None
    failed_at: datetime | None = None
    failure_reason: str | None = None

    @property
    def shows_wa_id(self) -> bool:
        """Whether ``waId`` can be seen from outside yet."""
        return not (self.hides_wa_id or (self.has_late_wa_id and self.status == "queued"))

    def is_deleted(self, kept: timedelta | None, at: datetime) -> bool:
        """Whether it was processed so long before `at` that it is kept no more; None: all are kept."""
        processed_at = self.sent_at or self.failed_at
        return kept is not None and processed_at is not None and processed_at + kept <= at


@dataclass(slots=True, kw_only=True)
class ChatMessage:
    """One message in a chat, as WhatsApp sees it."""

    wa_id: str
    flow: str  #: ``inbound`` or ``outbound``
    phone: str  #: of the contact, either way
    body: str | None
    at: datetime
    ack: str
    type: str = "text"
    reference: str | None = None
    quoted: "ChatMessage | str | None" = None  #: the message it answers, or just its id when that is not known
    reaction: str | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened, for whoever watches."""

    #: ``accepted``, ``sent``, ``failed``, ``delivered``, ``read``, ``reply``, ``reaction``, ``webhook`` or ``device``
    kind: str
    phone: str
    text: str


#: Is told about everything as it happens.
Watcher = Callable[[Notice], None]


@dataclass(slots=True)
class Ledger:
    """Accepted messages in the order of their arrival, and every chat message.

    What ``accept_twice`` doubled stands here twice: accepted requests are the messages that are no ``copy_of``.
    """

    accepted: list[AcceptedMessage] = field(default_factory=list)
    chat: dict[str, ChatMessage] = field(default_factory=dict)  #: by WhatsApp id
    counts: Counter[str] = field(default_factory=Counter)  #: attempts and arrivals so far, by subject
    _by_id: dict[str, AcceptedMessage] = field(default_factory=dict)

    def accept(self, message: AcceptedMessage) -> None:
        """Record an acceptance: from here on the message goes out."""
        self.accepted.append(message)
        self._by_id[message.id] = message

    def find(self, message_id: str) -> AcceptedMessage | None:
        """The message with this queue id."""
        return self._by_id.get(message_id)

    def count(self, *subject: str) -> int:
        """How often this subject has come up, this time included."""
        key = "/".join(subject)
        self.counts[key] += 1
        return self.counts[key]


@dataclass(slots=True)
class World:
    """What every part of one sandbox shares."""

    settings: SandboxSettings
    faults: Faults
    dice: Dice
    watch: Watcher
    ledger: Ledger = field(default_factory=Ledger)
    tasks: TaskPool = field(default_factory=TaskPool)
    online: asyncio.Event = field(default_factory=asyncio.Event)  #: whether the device has a session

    def __post_init__(self) -> None:
        self.online.set()

    def strikes(self, fault: str, *subject: object) -> bool:
        """Whether the fault of this name strikes this subject."""
        return self.dice.chance(self.faults.rate_of(fault), fault, *subject)


def now() -> datetime:
    """The time of day, aware, in UTC."""
    return datetime.now(UTC)


# Ids are unique across runs on purpose, even with one seed: a sandbox that is restarted beside a daemon that keeps
# its database must not hand out an id that the daemon already knows.


def new_id() -> str:
    """A queue id, 24 hex: the time, chance and a sequence, as in a MongoDB ObjectId."""
    return f"{int(time.time()):08x}{secrets.token_hex(5)}{next(_sequence) % 0x1000000:06x}"


def new_outbound_wa_id() -> str:
    """A WhatsApp id as a linked device gives them."""
    return f"3EB0{secrets.token_hex(8).upper()}"


def new_inbound_wa_id() -> str:
    """A WhatsApp id as a phone gives them."""
    return f"AC{secrets.token_hex(15).upper()}"
