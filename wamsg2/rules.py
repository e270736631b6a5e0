"""Every business decision, as functions of values: no clock, no I/O, no logging.

Numbers in brackets point into the contract: [reply 4] is rule 4 of a reply, [send 7] rule 7 of a send.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from functools import partial
from typing import assert_never

from wamsg2.model import (
    UNSETTLED,
    WENT_OUT,
    CampaignStatus,
    Decision,
    Doubt,
    Message1,
    MessageStatus,
    Overlap,
    Policy,
    ReceiptStatus,
    ReplyOutcome,
    Step,
)

#: WhatsApp's times are whole seconds, and two clocks never agree to the second [reply 4].
TOLERANCE = timedelta(seconds=5)
#: On resume, a Message 2 whose reply is older than this is not sent any more.
REPLY_STALE_AFTER = timedelta(hours=24)

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Suspected:
    """A suspected opt-out that nobody has decided."""

    written_at: datetime
    reply_at: datetime


# --- replies -----------------------------------------------------------------------------------------------


def reply_time(written_at: datetime | None, arrived_at: datetime) -> datetime:
    """The message's own time, never later than its arrival; without one, the arrival [reply 3]."""
    return arrived_at if written_at is None else min(written_at, arrived_at)


def window_opens(went_at: datetime) -> datetime:
    """From when on replies count for a Message 1 that went out then."""
    # A message of the year one is not a reason to fail.
    return max(went_at, datetime.min.replace(tzinfo=UTC) + TOLERANCE) - TOLERANCE


def in_window(went_at: datetime, reply_at: datetime, window: timedelta) -> bool:
    """Whether a reply counts for a Message 1 that went out at `went_at`; both ends belong to it [reply 4]."""
    return window_opens(went_at) <= reply_at <= went_at + window


def _is_candidate(message: Message1, reply_at: datetime, window: timedelta) -> bool:
    if message.status in UNSETTLED and message.went_before is not None:
        return reply_at <= message.went_before + window
    may_have_gone = message.status in WENT_OUT or message.status in UNSETTLED
    return may_have_gone and message.went_at is not None and in_window(message.went_at, reply_at, window)


def _outcome_for(message: Message1) -> ReplyOutcome:
    if message.campaign_status is CampaignStatus.CANCELLED:
        return ReplyOutcome.CAMPAIGN_CANCELLED
    if message.message_2_exists:
        return ReplyOutcome.MESSAGE_2_EXISTS
    if not message.campaign_has_message_2:
        return ReplyOutcome.NO_MESSAGE_2
    if message.status in UNSETTLED:
        return ReplyOutcome.WAITING_FOR_MESSAGE_1
    return ReplyOutcome.MESSAGE_2_QUEUED


def decide_reply(
    reply_at: datetime,
    quoted_message_1_id: int | None,
    message_1s: Sequence[Message1],
    policy: Policy,
    *,
    quotes_unknown: bool = False,
) -> tuple[Decision, ...]:
    """Which campaigns a reply answers, and what follows for each [reply 4-7].

    Args:
        reply_at: when the contact wrote.
        quoted_message_1_id: the Message 1 that the reply quotes, if it quotes one.
        message_1s: every Message 1 of the contact whose fate is open, or that went out at most the window before
            the reply; more of them do no harm.
        policy: window and overlap.
        quotes_unknown: it quotes a message that is not known: maybe a Message 1 whose fate is open.

    Returns:
        At least one decision. More than one only where the policy answers every open campaign.
    """
    candidates = [m for m in message_1s if _is_candidate(m, reply_at, policy.window)]
    if policy.overlap is Overlap.ALL:
        chosen = [m for m in candidates if m.campaign_status is not CampaignStatus.CANCELLED] or candidates[:1]
    elif quoted_message_1_id is not None:
        chosen = [m for m in candidates if m.id == quoted_message_1_id]
    else:
        chosen = sorted(candidates, key=partial(_preference, quotes_unknown=quotes_unknown))[-1:]
    if not chosen:
        return (Decision(ReplyOutcome.NO_RECENT_MESSAGE_1),)
    return tuple(Decision(_outcome_for(m), m.campaign_id, m.id, m.campaign_key, m.restored_at) for m in chosen)


def _preference(message: Message1, *, quotes_unknown: bool) -> tuple[bool, bool, datetime, int]:
    """Open campaigns, then Message 1s that certainly went out, then the latest [reply 5, 6].

    Of a reply that quotes a message that is not known, Message 1s in doubt come first: it may quote one of them.
    """
    at = message.went_before or message.went_at
    assert at is not None  # noqa: S101 - candidates have a time, by _is_candidate
    is_certain = message.status in WENT_OUT
    return message.campaign_status is not CampaignStatus.CANCELLED, is_certain != quotes_unknown, at, message.id


def hold(
    decision: Decision,
    reply_written_at: datetime,
    message_1: Message1,
    suspected: Sequence[Suspected],
    window: timedelta,
) -> Decision:
    """A reply behind a suspected opt-out of the same window waits with it for a person [reply 8]."""
    is_held = any(
        s.written_at <= reply_written_at and _is_candidate(message_1, s.reply_at, window) for s in suspected
    )
    return replace(decision, outcome=ReplyOutcome.OPT_OUT_SUSPECTED) if is_held else decision


def is_ruled_in_time(ruled_at: datetime, message_1: Message1, window: timedelta) -> bool:
    """Whether a person decided that a suspected opt-out is a reply before the window of its Message 1 was over."""
    return _is_candidate(message_1, ruled_at, window) or message_1.status in UNSETTLED


def with_outcome(decisions: Sequence[Decision], outcome: ReplyOutcome) -> tuple[Decision, ...]:
    """The first campaign that the words belong to, with an outcome that outranks the reply [reply 8]."""
    first = decisions[0]
    return (Decision(outcome, first.campaign_id, first.message_1_id),)


class Consent(Enum):
    """What a message says about consent (`consent_words`)."""

    OPT_OUT = auto()
    OPT_OUT_SUSPECTED = auto()  #: a person must decide
    OPT_IN = auto()


def consent_time(written_at: datetime | None, arrived_at: datetime) -> datetime:
    """When a word of consent was written, to be compared with other such words.

    By the provider's clock even where that is ahead of ours: our arrivals would put a STOP before the START that
    it takes back. A time over a day ahead is nobody's clock.
    """
    if written_at is None or written_at - arrived_at > timedelta(days=1):
        return arrived_at
    return written_at


@dataclass(frozen=True, slots=True)
class ConsentEvent:
    """From then on a contact wants no messages, or wants them again."""

    written_at: datetime
    opted_out: bool


@dataclass(frozen=True, slots=True)
class Consents:
    """All events of one contact's consent, in the order of writing.

    `opt_ins` are the times of those words that opted in: whoever is not opted out only replies with START.
    """

    events: tuple[ConsentEvent, ...] = ()
    opt_ins: frozenset[datetime] = frozenset()

    @property
    def newest(self) -> ConsentEvent | None:
        """The one that holds now."""
        return self.events[-1] if self.events else None

    def opted_out_at(self, written_at: datetime, *, inclusive: bool) -> bool:
        """Whether the contact was opted out at that time; `inclusive`: after the events of that very moment."""
        before = [e for e in self.events if e.written_at < written_at or (inclusive and e.written_at == written_at)]
        return bool(before) and before[-1].opted_out

    def opted_out_since(self, written_at: datetime) -> bool:
        """Whether the contact opted out then or later, taken back or not."""
        return any(e.opted_out and e.written_at >= written_at for e in self.events)


def read_consents(words: Sequence[tuple[datetime, Consent]], known: Sequence[ConsentEvent]) -> Consents:
    """What words of consent come to, in whatever order they arrived [reply 8, 10].

    Args:
        words: of a contact, with the times of writing.
        known: events of the same contact that come from elsewhere, or from older words.
    """
    told: list[tuple[datetime, bool, Consent | None]] = [(at, word is Consent.OPT_OUT, word) for at, word in words]
    told += [(e.written_at, e.opted_out, None) for e in known]
    events, opt_ins = list[ConsentEvent](), set[datetime]()
    # Of two words of one moment the opt-out holds.
    for at, opted_out, word in sorted(told, key=lambda t: t[:2]):
        if word is Consent.OPT_IN:
            if not (events and events[-1].opted_out):
                continue
            opt_ins.add(at)
        events.append(ConsentEvent(at, opted_out))
    return Consents(tuple(events), frozenset(opt_ins))


def by_hand_at(last_consent_at: datetime | None, newest_written_at: datetime | None, now: datetime) -> datetime:
    """When a person's decision about consent counts from: the newest moment known by the provider's clock.

    Not from our own clock: it may be ahead, and the next STOP would seem to be older. Where nothing newer is known,
    it counts from a day ago, since no clock that counts is off by more (`consent_time`).
    """
    known = [now - _DAY, *(at for at in (last_consent_at, newest_written_at) if at is not None)]
    return max(known) + timedelta(milliseconds=1)


def consent_applies(written_at: datetime, last_written_at: datetime | None, consent: Consent) -> bool:
    """Whether a word changes anything: the latest written one holds, in a tie the opt-out."""
    if last_written_at is None or written_at > last_written_at:
        return True
    return written_at == last_written_at and consent is Consent.OPT_OUT


# --- messages ----------------------------------------------------------------------------------------------

# One chain makes the end independent of the order in which receipts arrive: whatever comes, the highest stays.
# A failure outranks `sent` (accepted, then failed) and loses to `delivered` (it did arrive) [send 7].
_RANK = {
    MessageStatus.SENT: 1,
    MessageStatus.FAILED: 2,
    MessageStatus.DELIVERED: 3,
    MessageStatus.READ: 4,
}


def advance(status: MessageStatus, receipt: ReceiptStatus) -> MessageStatus:
    """The status after a receipt; never down the chain sent < failed < delivered < read."""
    reported = MessageStatus(receipt.value)
    return reported if _RANK[reported] > _RANK.get(status, 0) else status


#: Why nothing goes to somebody who wants nothing.
OPTED_OUT = "contact opted out"
#: Why a message out of a backup is in doubt.
RESTORED = "restored from a backup: may have been sent since"


def first_status(
    *, contact_opted_out: bool = False, restored_at: datetime | None, reply_at: datetime | None = None
) -> tuple[MessageStatus, str | None]:
    """Where a new message starts: in line, unless it may have gone out already or its contact wants none.

    A database out of a backup does not know what was sent between the backup and its restore. So a Message 1 of a
    campaign in it may have been sent by the daemon of then, and so may the answer to a reply of that time.
    """
    if restored_at is not None and (reply_at is None or reply_at <= restored_at + TOLERANCE):
        return MessageStatus.UNCERTAIN, RESTORED
    if contact_opted_out:
        return MessageStatus.CANCELLED, OPTED_OUT
    return MessageStatus.QUEUED, None


#: Why nothing more goes to somebody, and all that is told of what became of what did: providers repeat our words.
FORGOTTEN = "contact was forgotten"


#: Why a Message 2 is not sent whose reply was over `REPLY_STALE_AFTER` old when its campaign was resumed.
REPLY_TOO_OLD = "reply_too_old"


def released(
    *, contact_opted_out: bool, campaign_status: CampaignStatus, reply_too_old: bool = False
) -> tuple[MessageStatus, str | None]:
    """Where a claimed message goes that certainly was not accepted: back in line, unless nobody wants it now."""
    if contact_opted_out:
        return MessageStatus.CANCELLED, OPTED_OUT
    if campaign_status is CampaignStatus.CANCELLED:
        return MessageStatus.CANCELLED, "campaign cancelled"
    if reply_too_old:
        return MessageStatus.CANCELLED, REPLY_TOO_OLD
    return MessageStatus.QUEUED, None


def provider_sent_time(told_at: datetime | None, attempted_at: datetime | None, now: datetime) -> datetime | None:
    """When the provider says that it sent the message, if it says so believably.

    Its word beats our clock, since replies are stamped by the provider's clock too: a server whose clock is an
    hour off judges the window right all the same. A time over a day before our request is nobody's clock.
    """
    if told_at is None:
        return None
    if attempted_at is not None and told_at < attempted_at - timedelta(days=1):
        return None
    return min(told_at, now)


#: First look-up after this long: the provider's search may lag behind its own answers.
_FIRST_LOOK_UP = timedelta(seconds=5)
_LAST_LOOK_UP = timedelta(minutes=10)


def next_look_up_without_proof(look_ups: int) -> timedelta:
    """How long to wait where absence proves nothing any more, and only an acceptance can show up: up to a day."""
    return min(_DAY, _LAST_LOOK_UP * 2.0 ** min(look_ups, 20))


def next_look_up(look_ups: int, resend_after: timedelta, *, is_restored: bool = False) -> timedelta:
    """How long to wait before looking for an uncertain message again: doubling, from 5 s to 10 min.

    A short proof time (staging) shortens the steps, so that the proof still rests on several look-ups. Of a message
    out of a backup the search does not lag any more, and there may be very many: the two of the proof are enough.
    """
    if is_restored:
        return resend_after or next_look_up_without_proof(look_ups)
    first = min(_FIRST_LOOK_UP, resend_after / 4) if resend_after else _FIRST_LOOK_UP
    return min(_LAST_LOOK_UP, first * 2.0 ** min(look_ups, 20))


#: A message that nobody reports on for this long is asked about: its webhook may have been lost.
ASK_AFTER = timedelta(minutes=10)


def next_question(look_ups: int, sent_at: datetime, now: datetime, window: timedelta) -> datetime | None:
    """When to ask about a `sent` message again: after twice the time as before, and not once its window is over."""
    at = now + ASK_AFTER * 2.0 ** min(look_ups, 20)
    return at if at <= sent_at + window else None


#: Lists of the provider may lag behind, and messages come with the times of other clocks.
_LIST_OVERLAP = timedelta(hours=1)
#: A phone that was offline brings what was written meanwhile, with its old times, behind what is listed already.
_THOROUGH_LIST_OVERLAP = timedelta(hours=26)
#: An event that is older may not be known any more, and would be taken in a second time.
_LIST_AT_MOST = timedelta(days=7)
#: So often the list is read thoroughly.
LIST_THOROUGHLY_EVERY = timedelta(hours=6)


#: At the first launch only our own clock can say how far back to ask, and it may be wrong by hours.
LAUNCH_DOUBT = timedelta(days=1)


def list_since(newest_listed: datetime, now: datetime, *, thoroughly: bool = False) -> datetime:
    """From when on to ask for inbound messages, where earlier lists reached up to `newest_listed`."""
    overlap = _THOROUGH_LIST_OVERLAP if thoroughly else _LIST_OVERLAP
    # In this order: a message of the year one is not a reason to fail.
    return max(newest_listed, now - _LIST_AT_MOST + overlap) - overlap


def oldest_listed(now: datetime) -> datetime:
    """The time of the oldest message that is taken in from a list, however long ago the list began."""
    return now - _LIST_AT_MOST


def expire_before(kept: timedelta, now: datetime) -> datetime:
    """Raw events of before then may go: also a message at the end of a list is known, by whatever clock, as come."""
    return now - max(kept, _LIST_AT_MOST + _DAY)


#: The longest that the provider's policies can name.
LONGEST_RETENTION = timedelta(days=10)
#: Policies of the provider, each from when it was first seen; None where it was one that nobody knows.
Retentions = Sequence[tuple[datetime, timedelta | None]]


def retentions_since(seen: Retentions, since: datetime) -> Retentions:
    """Those that were in force at or after `since`, as far as was seen; `seen` is in order of time."""
    first = max((n for n, (at, _) in enumerate(seen) if at <= since), default=0)
    return seen[first:]


def shortest_retention(seen: Retentions, since: datetime) -> timedelta | None:
    """The shortest policy in force since then; None where one of them is unknown, or none was seen."""
    kept = [each for _, each in retentions_since(seen, since)]
    known = [each for each in kept if each is not None]
    return min(known) if known and len(known) == len(kept) else None


class Absence(Enum):
    """What it means that the provider does not know a message."""

    PROVED = auto()  #: it was never accepted
    NOT_YET_PROVED = auto()  #: its search may lag: look again
    RETENTION_UNKNOWN = auto()  #: nobody knows how long it keeps messages: it may have deleted this one
    MAY_BE_DELETED = auto()  #: it would not know it any more, accepted or not


def judge_absence(doubt: Doubt, looked_at: datetime, resend_after: timedelta, retention: timedelta | None) -> Absence:
    """Whether look-ups have said "absent" for long enough, and early enough, to send again [send 5].

    Args:
        doubt: as before this look-up, which said "absent" too: at least two are needed, `resend_after` apart.
        looked_at: when it was answered.
        resend_after: how long look-ups must agree; zero: nothing is ever proved.
        retention: the shortest time, since the attempt, for which the provider keeps what it has processed; None
            where that is unknown. All look-ups of a proof lie within it when the last one does.
    """
    if retention is None:
        return Absence.RETENTION_UNKNOWN
    age = looked_at - doubt.attempted_at
    if not retention or age >= retention:
        return Absence.MAY_BE_DELETED
    if age < timedelta(0):
        return Absence.NOT_YET_PROVED  # the clock was set back: nobody knows how long ago the attempt was
    if not resend_after or doubt.absent_since is None or looked_at - doubt.absent_since < resend_after:
        return Absence.NOT_YET_PROVED
    return Absence.PROVED


def why_unproved(absence: Absence, retention: timedelta | None) -> str | None:
    """What a person is told of a message whose absence proves nothing; None where look-ups go on as usual."""
    match absence:
        case Absence.PROVED | Absence.NOT_YET_PROVED:
            return None
        case Absence.RETENTION_UNKNOWN:
            return "no proof that it never arrived: nobody knows how long the provider keeps messages"
        case Absence.MAY_BE_DELETED:
            kept = f"messages for {_in_words(retention)} only" if retention else "no messages"
            return f"no proof that it never arrived: the provider keeps {kept}"
        case _:
            assert_never(absence)


def _in_words(duration: timedelta) -> str:
    for unit, name in ((_DAY, "d"), (timedelta(hours=1), "h")):
        if duration % unit == timedelta(0):
            return f"{duration // unit} {name}"
    return f"{duration // timedelta(minutes=1)} min"


#: A message that is refused so often for the account's sake, while others go out, is refused for its own.
MOST_REFUSALS = 3

#: A message that so many requests did not bring to the provider would not be brought there by one more.
_MOST_DOUBTS = 8


def is_hopeless(doubts: int) -> bool:
    """Whether a message that was proved not accepted is given up: every campaign ends (P6)."""
    return doubts >= _MOST_DOUBTS


def reference(campaign_key: str, contact_key: str, step: Step) -> str:
    """Our id of a message at the provider: the same for every attempt, and after a restore from a backup.

    It is a keyed hash of what makes the message unique, so it tells nobody the number.
    """
    digest = hashlib.blake2b(f"{contact_key}/{step}".encode(), key=campaign_key.encode(), digest_size=15)
    return f"w2-{digest.hexdigest()}"


# --- campaigns ---------------------------------------------------------------------------------------------


def campaign_status(
    stored: CampaignStatus, *, open_messages: int, window_closes_at: datetime | None, now: datetime
) -> CampaignStatus:
    """The status to show: a running campaign is completed once nothing is open and the last window is over."""
    if stored is not CampaignStatus.RUNNING or open_messages:
        return stored
    if window_closes_at is not None and now <= window_closes_at:
        return stored
    return CampaignStatus.COMPLETED


def ended_at(
    stored: CampaignStatus,
    *,
    open_messages: int,
    window_closes_at: datetime | None,
    began_at: datetime,
    now: datetime,
) -> datetime | None:
    """Since when a campaign is over for good: its last window, or its beginning where nothing went out; or None."""
    shown = campaign_status(stored, open_messages=open_messages, window_closes_at=window_closes_at, now=now)
    if open_messages or shown not in (CampaignStatus.COMPLETED, CampaignStatus.CANCELLED):
        return None
    return window_closes_at or began_at


#: Which stored status each action may start from; anything else is refused with a clear line.
ALLOWED_FROM = {
    "launch": frozenset({CampaignStatus.DRAFT}),
    "pause": frozenset({CampaignStatus.RUNNING}),
    "resume": frozenset({CampaignStatus.PAUSED}),
    # Again where it was cancelled: a cancellation that was cut off leaves queued messages, which never leave.
    "cancel": frozenset(CampaignStatus),
    "import": frozenset({CampaignStatus.DRAFT, CampaignStatus.RUNNING, CampaignStatus.PAUSED}),
}
