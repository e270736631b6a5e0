"""What an operator has to know: facts in; conditions, occurrences and the words for them out. No clock, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from wamsg2.model import Finding, Notification, NotificationState

#: What nobody took for so long is given up.
GIVE_UP_AFTER = timedelta(days=3)
#: So many notifications may wait for their receiver; of more, the oldest are given up.
MOST_WAITING = 1000
#: Seconds between two tries to deliver: the first time, and at the most.
FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 5.0, 3600.0
#: The disk is well again with so much more than the least: a figure that swings around it is told once.
_DISK_WELL = 1.25
_MIB = 1024 * 1024


class Kind(StrEnum):
    """What can be told."""

    # Conditions: raised, and some day cleared.
    HELD = "held"  #: nothing is sent, for longer than a back-off takes
    DEVICE_LOST = "device_lost"  #: the device cannot send
    WEBHOOK_WRONG = "webhook_wrong"  #: the provider does not tell us what we need, and we could not put it right
    WEBHOOK_REFUSED = "webhook_refused"  #: requests are refused for secret or signature, and none is accepted
    WEBHOOKS_LOST = "webhooks_lost"  #: catch-up finds what webhooks should have brought
    SUSPECTED = "suspected"  #: words that may be an opt-out wait for a person
    UNCERTAIN = "uncertain"  #: messages are in doubt, and only a person can settle them
    RESTORE_WAITING = "restore_waiting"  #: messages out of a backup wait for the list of inbound messages
    DISK_LOW = "disk_low"  #: the database's file system is nearly full
    BACKUP_FAILED = "backup_failed"  #: the last backup was not made
    BACKUP_OLD = "backup_old"  #: the last good backup was made long ago
    # Occurrences.
    WEBHOOK_DISABLED = "webhook_disabled"  #: the provider had stopped telling us
    DATABASE_FAILED = "database_failed"  #: the disk refused writes; told when it takes them again
    CAMPAIGN_COMPLETED = "campaign_completed"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The configurable part."""

    held: timedelta = timedelta(seconds=60)  #: sending must be held, or not, for so long to be told
    disk_bytes: int = 256 * _MIB  #: less is low; 0: never
    backup_age: timedelta = timedelta(hours=50)  #: older is old; 0: never


@dataclass(frozen=True, slots=True)
class Completed:
    """A campaign that is over, in figures."""

    name: str
    contacts: int
    replied: int


@dataclass(frozen=True, slots=True)
class Facts:
    """How things stand at one moment."""

    held: str | None = None  #: why nothing is sent
    device: Finding | None = None
    webhook: Finding | None = None
    webhook_refused: Finding | None = None
    webhooks_lost: Finding | None = None
    webhook_disabled_at: datetime | None = None  #: when it was last found so
    suspected: int = 0  #: opt-outs that nobody has decided
    doubts: int = 0  #: uncertain messages, once they need a person
    restore_waiting: str | None = None  #: why messages out of a backup still wait
    failing: str | None = None  #: why the disk refuses writes
    free_bytes: int | None = None  #: None: nobody knows
    completed: tuple[Completed, ...] = ()
    backup_age: timedelta | None = None  #: since the last good one; None: there is none yet
    backup_failed_at: datetime | None = None  #: the one after it that was not made


@dataclass(frozen=True, slots=True)
class Failure:
    """The disk refused writes from then on."""

    since: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened; `kind` and `subject` together happen once."""

    kind: Kind
    subject: str
    detail: str


Conditions = Mapping[Kind, str | None]


def conditions(facts: Facts, *, unchanged: timedelta, thresholds: Thresholds) -> Conditions:
    """Which conditions are on, with details, and which are off (None). Of what is left out nobody can tell.

    Args:
        facts: how things stand.
        unchanged: for how long sending has been held by now, or has not been.
        thresholds: what is worth telling.
    """
    found: dict[Kind, str | None] = {}
    for kind, finding in (
        (Kind.DEVICE_LOST, facts.device),
        (Kind.WEBHOOK_WRONG, facts.webhook),
        (Kind.WEBHOOK_REFUSED, facts.webhook_refused),
        (Kind.WEBHOOKS_LOST, facts.webhooks_lost),
    ):
        if finding is not None and finding.ok is not None:
            found[kind] = None if finding.ok else finding.detail
    # Why they are lost is told already.
    if found.get(Kind.WEBHOOK_WRONG) or found.get(Kind.WEBHOOK_REFUSED):
        found.pop(Kind.WEBHOOKS_LOST, None)
    # While the device is lost everything is held for that, which is told already.
    if unchanged >= thresholds.held and not found.get(Kind.DEVICE_LOST):
        found[Kind.HELD] = facts.held
    found[Kind.SUSPECTED] = (
        f"{_count(facts.suspected, 'message')} may ask for no more messages: wamsg2 interaction list --suspected"
        if facts.suspected
        else None
    )
    found[Kind.UNCERTAIN] = f"{_count(facts.doubts, 'message')} in doubt for long" if facts.doubts else None
    found[Kind.RESTORE_WAITING] = facts.restore_waiting
    if facts.free_bytes is not None:
        if facts.free_bytes < thresholds.disk_bytes:
            found[Kind.DISK_LOW] = f"{facts.free_bytes // _MIB} MiB free"
        elif facts.free_bytes >= thresholds.disk_bytes * _DISK_WELL:
            found[Kind.DISK_LOW] = None
    found[Kind.BACKUP_FAILED] = (
        f"no backup was made at {iso(facts.backup_failed_at)}; `wamsg2 backup` says why"
        if facts.backup_failed_at
        else None
    )
    is_old = thresholds.backup_age and facts.backup_age is not None and facts.backup_age > thresholds.backup_age
    found[Kind.BACKUP_OLD] = (
        f"the last good backup was made {facts.backup_age // timedelta(hours=1)} hours ago"
        if is_old and facts.backup_age
        else None
    )
    return found


def occurrences(facts: Facts, failure: Failure | None) -> tuple[Occurrence, ...]:
    """What has happened, as far as it is known; the same again as long as it is."""
    found = [
        Occurrence(
            Kind.CAMPAIGN_COMPLETED, each.name, f"{_count(each.contacts, 'contact')}, {each.replied} of them replied"
        )
        for each in facts.completed
    ]
    if facts.webhook_disabled_at:
        detail = "the provider had disabled the webhook; it was asked to enable it again"
        found.append(Occurrence(Kind.WEBHOOK_DISABLED, iso(facts.webhook_disabled_at), detail))
    if failure:
        found.append(Occurrence(Kind.DATABASE_FAILED, iso(failure.since), failure.reason))
    return tuple(found)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def seconds_until(next_at: datetime, now: datetime) -> float:
    """Until the next try; none where it is further away than any is planned, since then somebody set the clock."""
    seconds = (next_at - now).total_seconds()
    return seconds if 0 < seconds <= LAST_RETRY_SECONDS else 0.0


def payload(notification: Notification) -> dict[str, object]:
    """The JSON that a receiver gets: type, time and data, as Standard Webhooks recommends; the same at every try."""
    is_over = notification.state is NotificationState.CLEARED
    return {
        "type": f"wamsg2.{notification.kind}{'.cleared' if is_over else ''}",
        "timestamp": iso(notification.created_at),
        "data": {
            "kind": notification.kind,
            "state": notification.state.value,
            "subject": notification.subject,
            "detail": notification.detail,
            "raised_at": iso(notification.raised_at),
            "cleared_at": iso(notification.created_at) if is_over else None,
        },
    }


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC, with milliseconds and Z."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
