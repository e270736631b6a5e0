"""What really happened, as nobody but the simulation knows it: the promises are judged by this."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto

from tests.simulation.timeline import Moment
from wamsg2 import model


@dataclass(eq=False, slots=True)
class Person:
    """A number, and whoever has it; who changes their number is two of these, with one ``@lid``."""

    index: int
    name: str
    written: str  #: as the team writes the number
    number: str  #: as WhatsApp spells it
    human: int  #: the same for all numbers of one human
    on_whatsapp: bool = True  #: otherwise what is sent to them is refused
    works: bool = True  #: otherwise it is accepted, and fails later
    is_forbidden: bool = False  #: the account may not write to them (HTTP 403), but to everybody else
    from_seconds: float = 0.0  #: since when the number is theirs
    until_seconds: float = math.inf
    contact_since: Moment | None = None
    lid_told: Moment | None = None  #: when the daemon was told, beyond doubt, whose id the ``@lid`` is

    @property
    def chat_id(self) -> str:
        """The chat id that has the number in it."""
        return f"{self.number[1:]}@c.us"

    @property
    def lid(self) -> str:
        """The chat id that hides the number."""
        return f"77{self.human:013}@lid"

    def has_number(self, seconds: float) -> bool:
        """Whether the number is theirs at this time."""
        return self.from_seconds <= seconds < self.until_seconds


@dataclass(eq=False, slots=True)
class Campaign:
    """A campaign, as the team sees it."""

    name: str
    answers: bool  #: has a Message 2
    cancelled: bool = False
    is_in_order: bool = True  #: no command on it has been cut off
    pauses: list[tuple[float, float]] = field(default_factory=list)

    def text(self, person: Person, step: int) -> str:
        """What the person must get, to the letter."""
        return f"{step} of {self.name}: {person.name}, {self.name}-{person.index}"


@dataclass(eq=False, slots=True)
class Attempt:
    """A request that started."""

    reference: str
    person: Person
    campaign: Campaign
    step: int
    started: Moment
    server_at: datetime  #: what the process's clock said
    refused: bool = False  #: the daemon was told that it certainly was not accepted
    is_forbidden: bool = False  #: ... by an HTTP 403 that is about this message alone


class Stage(Enum):
    """How far a message got."""

    QUEUED = auto()
    SENT = auto()
    FAILED = auto()
    DELIVERED = auto()
    READ = auto()


@dataclass(eq=False, slots=True)
class Message:
    """A message that the provider accepted."""

    attempt: Attempt
    text: str
    queue_id: str
    wa_id: str
    accepted: Moment
    visible_seconds: float  #: from then on look-ups find it
    sent_at: datetime | None = None  #: the provider's word
    told: Moment | None = None  #: when the daemon was told `sent_at`, beyond doubt
    stage: Stage = Stage.QUEUED
    processed_seconds: float | None = None  #: when it left the provider's queue; its retention counts from then
    failed_first: bool = False  #: it was reported as failed, and was sent after all


class Meaning(Enum):
    """What somebody's words mean."""

    REPLY = auto()
    STOP = auto()
    START = auto()
    SUSPECTED = auto()  #: a reply that begins or ends like an opt-out: a person must judge it


class Shown(Enum):
    """By what a webhook names its sender."""

    ALL = auto()
    NUMBER = auto()
    LID = auto()


@dataclass(eq=False, slots=True)
class Word:
    """Something that somebody wrote to us."""

    wa_id: str
    person: Person
    text: str
    meaning: Meaning
    wrote: Moment
    written_at: datetime  #: whole seconds, by the provider's clock
    quotes: Message | None
    shown: Shown
    to_other_device: bool = False  #: to another number of the account: it answers nothing, but a STOP counts
    listed_seconds: float = 0.0  #: from then on the provider lists it
    taken: Moment | None = None  #: when the daemon had it on disk


@dataclass(eq=False, slots=True)
class Report:
    """A webhook on a message of ours."""

    message: Message
    status: model.ReceiptStatus
    shows_lid: bool = False
    names_all: bool = False  #: our reference, the queue's id and WhatsApp's


@dataclass(eq=False, slots=True)
class Touch:
    """A reaction."""

    wa_id: str


@dataclass(eq=False, slots=True)
class Blank:
    """A message of somebody whose words are not there yet ("waiting for this message")."""

    word: Word


News = Word | Report | Touch | Blank


@dataclass(slots=True)
class Ledger:
    """The account of one run."""

    people: list[Person] = field(default_factory=list)
    campaigns: dict[str, Campaign] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)
    attempts_of: dict[str, list[Attempt]] = field(default_factory=lambda: defaultdict(list))
    messages: list[Message] = field(default_factory=list)
    messages_of: dict[str, list[Message]] = field(default_factory=lambda: defaultdict(list))
    words: dict[str, Word] = field(default_factory=dict)
    #: Seconds of each look-up of a reference that said "absent".
    absences: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    #: When a person said that a reference may be sent again.
    retried: dict[str, list[Moment]] = field(default_factory=lambda: defaultdict(list))
    #: Whom (person, campaign) a person said no more of a campaign will reach.
    given_up: set[tuple[int, str]] = field(default_factory=set)
    #: When a person opted somebody out by hand, and when they took it back.
    opted_out_by_hand: dict[int, list[Moment]] = field(default_factory=lambda: defaultdict(list))
    opted_in_by_hand: dict[int, list[Moment]] = field(default_factory=lambda: defaultdict(list))
    #: Every event that was answered with 200: what it tells, and its body.
    acknowledged: list[tuple[Moment, News, bytes]] = field(default_factory=list)
    #: What must not happen in a process that nobody ends.
    accidents: list[str] = field(default_factory=list)

    def person(self, number: str) -> Person:
        """Whose number this is, in either spelling."""
        return next(p for p in self.people if number in (p.written, p.number))

    def numbers_of(self, human: int) -> list[Person]:
        """All numbers that somebody has had."""
        return [person for person in self.people if person.human == human]

    def acknowledge(self, moment: Moment, news: News, body: bytes) -> None:
        """The daemon has answered an event with 200."""
        self.acknowledged.append((moment, news, body))
        if isinstance(news, Word) and news.to_other_device:
            self.took_word(news, moment)  # what it made of it is its own affair

    def took(self, event: model.Event, moment: Moment) -> None:
        """The daemon has an event on disk."""
        match event.content:
            case model.InboundMessage(message_id=wa_id, text=text) if text:
                self.took_word(self.words[wa_id], moment)
            case model.Receipt(status=model.ReceiptStatus.SENT, reference=str(reference), occurred_at=datetime()):
                for message in self.messages_of[reference]:
                    message.told = message.told or moment
            case _:
                pass

    def took_word(self, word: Word, moment: Moment) -> None:
        """The daemon has somebody's words on disk."""
        if word.taken:
            return  # said again, it changes nothing
        word.taken = moment
        person = word.person
        if word.meaning is Meaning.STOP and word.shown is not Shown.LID:
            person.contact_since = person.contact_since or moment
        if word.shown is Shown.ALL and not word.to_other_device and person.contact_since:
            person.lid_told = person.lid_told or moment
