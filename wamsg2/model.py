"""The words of the domain: values that every other room speaks in.

Nothing here knows JSON, SQL or HTTP, nor what the vendor calls a thing. All times are aware UTC datetimes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, IntEnum, StrEnum, auto


class WamsgError(Exception):
    """Base of every error a user may see: its message is one clear line."""


class Step(IntEnum):
    """Which of the two messages of a campaign."""

    MESSAGE_1 = 1
    MESSAGE_2 = 2


class MessageStatus(StrEnum):
    """Where one message stands (contract §6)."""

    QUEUED = "queued"  #: waits for its turn
    SENDING = "sending"  #: claimed: a request may be on the wire
    SENT = "sent"  #: accepted by the provider
    DELIVERED = "delivered"  #: reached the contact's phone
    READ = "read"  #: opened by the contact
    FAILED = "failed"  #: refused for good, or reported as failed
    CANCELLED = "cancelled"  #: will not be sent, and never was
    UNCERTAIN = "uncertain"  #: may have been accepted; nobody resends it without proof


#: A Message 1 in one of these went out and may be replied to.
WENT_OUT = frozenset({MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ})
#: Claimed, and not yet known to have gone out or not.
UNSETTLED = frozenset({MessageStatus.SENDING, MessageStatus.UNCERTAIN})
#: A campaign with a message in one of these is not over.
OPEN = UNSETTLED | {MessageStatus.QUEUED}


class CampaignStatus(StrEnum):
    """Where a campaign stands; ``completed`` is derived from stored times, never stored (contract §1)."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLED = "cancelled"
    COMPLETED = "completed"


class ReplyOutcome(StrEnum):
    """What became of an interaction (contract §1, rule 9)."""

    MESSAGE_2_QUEUED = "message_2_queued"
    MESSAGE_2_EXISTS = "message_2_exists"
    NO_RECENT_MESSAGE_1 = "no_recent_message_1"
    WAITING_FOR_MESSAGE_1 = "waiting_for_message_1"
    NO_MESSAGE_2 = "no_message_2"
    CAMPAIGN_CANCELLED = "campaign_cancelled"
    OPTED_OUT = "opted_out"
    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"
    UNKNOWN_CONTACT = "unknown_contact"
    REACTION = "reaction"
    NOT_A_REPLY = "not_a_reply"
    OPT_OUT_SUSPECTED = "opt_out_suspected"


class Overlap(StrEnum):
    """Which campaigns a reply answers when several are open for the contact."""

    LATEST = "latest"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Policy:
    """The configurable part of the rules."""

    window: timedelta = timedelta(hours=24)  #: how long after Message 1 a reply counts
    delay: timedelta = timedelta(seconds=2)  #: from a reply's arrival to its Message 2
    overlap: Overlap = Overlap.LATEST
    resend_after: timedelta = timedelta(seconds=120)  #: how long look-ups must say "absent"; zero: never resend
    opt_out_words: tuple[str, ...] = ()  #: beside those of `consent_words`, folded


# --- what the webhook tells -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sender:
    """Who is at the other end of a direct chat: any ids the provider gave, and the phone (E.164) if it told."""

    chat_ids: tuple[str, ...]
    phone: str | None


class Reading(Enum):
    """How the words of an inbound message are to be read (contract §1, reply 1)."""

    REPLY = auto()  #: as a reply
    NOT_A_REPLY = auto()  #: for words of consent only: a call, a poll vote, a revoked or empty message, ...
    EDIT = auto()  #: for words of consent only: an edit of an earlier message
    OTHER_DEVICE = auto()  #: for an opt-out only: it was written to another device of the account


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A message that a person wrote to us in a direct chat."""

    message_id: str
    sender: Sender
    type: str
    text: str
    quoted_id: str | None
    written_at: datetime | None
    reading: Reading = Reading.REPLY


@dataclass(frozen=True, slots=True)
class Reaction:
    """A person put an emoji on a message (or took it away); it triggers nothing."""

    message_id: str
    sender: Sender
    emoji: str
    reacted_at: datetime | None


class ReceiptStatus(StrEnum):
    """What the provider reports of one of our messages."""

    SENT = "sent"
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Receipt:
    """A report on a message of ours, known by any of three ids."""

    status: ReceiptStatus
    reference: str | None
    queue_id: str | None
    wa_id: str | None
    occurred_at: datetime | None
    reason: str | None = None
    recipient: Sender = field(default=Sender((), None))
    sent_at: datetime | None = None  #: when the provider says that it sent the message, whatever else it reports
    is_revoked: bool = False  #: it was deleted for everybody after it was sent
    text: str | None = None  #: of a message in a chat: a message of ours without a WhatsApp id is known by it


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """The session of our device went up or down; how it stands now is asked, not read from here."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """An event that calls for nothing; kept all the same."""

    why: str


@dataclass(frozen=True, slots=True)
class Event:
    """One webhook request, understood.

    ``identity`` is equal for two events that say the same thing, whatever their envelopes.
    """

    name: str
    identity: bytes
    body: bytes
    content: InboundMessage | Reaction | Receipt | DeviceChanged | Ignored
    unknown_words: tuple[str, ...] = ()  #: of the provider, for the state of a message


class EventSource(StrEnum):
    """How an event came to us."""

    WEBHOOK = "webhook"
    CATCH_UP = "catch_up"  #: its webhook never came: we asked


class EventResult(StrEnum):
    """What the webhook answers with its 200."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"


# --- what became of a request ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message: it must never be sent again."""

    queue_id: str | None = None
    wa_id: str | None = None
    chat_id: str | None = None
    status: ReceiptStatus = ReceiptStatus.SENT
    sent_at: datetime | None = None
    reason: str | None = None
    created_at: datetime | None = None  #: when it was taken, by the provider's clock
    is_revoked: bool = False  #: deleted for everybody after it was sent


@dataclass(frozen=True, slots=True)
class Rejected:
    """Refused for good: the same request would be refused again."""

    reason: str
    is_about_person: bool = False  #: the number is the reason: it says nothing of other messages


@dataclass(frozen=True, slots=True)
class Deferred:
    """Not possible now, and certainly not accepted: later."""

    reason: str
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """Refused because of our account (key, credit) or device: every other message would be refused too."""

    reason: str
    is_about_device: bool = False  #: no message is to blame
    retry_after: timedelta | None = None  #: until then others are tried
    is_alone: bool = False  #: others went out since this message was refused before


@dataclass(frozen=True, slots=True)
class Uncertain:
    """Nobody can tell whether it was accepted."""

    reason: str


@dataclass(frozen=True, slots=True)
class Start:
    """The start of a request."""

    at: datetime  #: by the time of day
    gap: timedelta  #: since the start of the one before, or of the process, by the clock that never steps


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Never left: between its claim and its turn the contact opted out."""

    reason: str


Outcome = Accepted | Rejected | Deferred | Held | Uncertain | Withdrawn


@dataclass(frozen=True, slots=True)
class Absent:
    """The provider answered, and knows no message with this reference."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The look-up itself failed: it proves nothing."""

    reason: str


LookUp = Accepted | Absent | Unknown


class ConsentSource(StrEnum):
    """How a word of consent came to us."""

    WORD = "word"  #: the contact wrote it
    OTHER_ID = "other_id"  #: it was written under an id of another contact, who may be the same person
    HAND = "hand"  #: a person of the team said so
    MERGE = "merge"  #: another contact turned out to be the same person
    BEFORE = "before"  #: known before the history of consents began


# --- what stands in the tables -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Contact:
    """A person, known by one phone number in whatever spelling it was imported."""

    id: int
    phone: str
    opted_out: bool
    consent_at: datetime | None
    phone_key: str = ""  #: one spelling for all national spellings of `phone`
    forgotten: bool = False  #: on their wish; the row says nothing of them any more
    reference_key: str = ""  #: references of their messages are made with it; never changes


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign as stored; ``status`` is never ``completed`` here."""

    id: int
    name: str
    key: str
    status: CampaignStatus
    message_1: str
    message_2: str | None
    restored_at: datetime | None = None  #: came out of a backup then: what was sent since the backup is unknown
    is_closed: bool = False  #: it is over, and its rows are being removed: nobody joins it any more


class MatchedBy(StrEnum):
    """How the contact behind a sender was found (contract §1, reply 2)."""

    QUOTE = "quote"  #: they quoted a message that went to the contact
    NUMBER = "number"  #: the provider told the contact's number
    CHAT = "chat"  #: by a chat id that is known for the contact
    HISTORY = "history"  #: by a number under which the chat id once came
    PERSON = "person"  #: a person of the team said so


class Ruling(StrEnum):
    """What a person decided about a suspected opt-out."""

    OPT_OUT = "opt_out"
    REPLY = "reply"


@dataclass(frozen=True, slots=True)
class Message2:
    """The Message 2 of a campaign for one contact, as the rules of a reply see it."""

    id: int
    status: MessageStatus
    reply_at: datetime
    is_untouched: bool  #: never claimed: it may be taken back, or put back in line after an opt-out


@dataclass(frozen=True, slots=True)
class Message1:
    """A Message 1 as the rules of a reply see it."""

    id: int
    campaign_id: int
    campaign_status: CampaignStatus
    campaign_has_message_2: bool
    status: MessageStatus
    went_at: datetime | None
    message_2_exists: bool
    campaign_key: str = ""  #: keys the references of the campaign's messages
    went_before: datetime | None = None  #: out of a backup and in doubt: it went out before then, or never
    restored_at: datetime | None = None  #: when its campaign came out of a backup
    message_2: Message2 | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the rules of settling see it."""

    id: int
    contact_id: int
    campaign_id: int
    step: Step
    status: MessageStatus
    attempt: int
    reference: str
    attempted_at: datetime | None
    contact_opted_out: bool
    campaign_status: CampaignStatus
    contact_forgotten: bool
    doubts: int  #: how often it was uncertain
    queue_id: str | None  #: the provider's
    wa_id: str | None
    contact_phone_key: str
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A message that the sender owns until it settles it."""

    message_id: int
    contact_id: int
    campaign: str
    step: Step
    attempt: int
    reference: str
    phone: str
    text: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Claims:
    """What a look at the queue gave: work, rows that could never be sent, and when to look again."""

    claims: Sequence[Claim]
    dropped: Sequence[tuple[int, str]]
    next_due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """An uncertain message, as the reconciler sees it."""

    message_id: int
    attempt: int
    reference: str
    attempted_at: datetime  #: of a message out of a backup: the earliest time that is possible
    uncertain_since: datetime
    absent_since: datetime | None
    look_ups: int
    is_restored: bool = False  #: out of a backup: its request, if there was one, is long past


@dataclass(frozen=True, slots=True)
class Unreported:
    """A message that is `sent`, and of which nothing more was heard for long."""

    message_id: int
    reference: str
    look_ups: int
    sent_at: datetime


@dataclass(frozen=True, slots=True)
class Finding:
    """How something at the provider stands, as far as it told; `ok` is None where it did not."""

    ok: bool | None
    detail: str
    checked_at: datetime


class NotificationState(StrEnum):
    """What a notification says of its kind."""

    RAISED = "raised"  #: it is so from now on
    CLEARED = "cleared"  #: it is over
    HAPPENED = "happened"  #: it has no end


@dataclass(frozen=True, slots=True)
class Notification:
    """What an operator is told."""

    id: int
    key: str  #: random; the receiver's word for it, the same at every try
    kind: str
    subject: str  #: what it is about where one kind can be about several: a campaign's name, a moment
    detail: str
    state: NotificationState
    raised_at: datetime
    created_at: datetime  #: of the news: for `cleared` later than `raised_at`
    attempts: int = 0  #: to deliver it, all in vain


@dataclass(frozen=True, slots=True)
class Decision:
    """What one reply means for one campaign (or for none)."""

    outcome: ReplyOutcome
    campaign_id: int | None = None
    message_1_id: int | None = None
    campaign_key: str = field(default="", compare=False)
    restored_at: datetime | None = field(default=None, compare=False)
