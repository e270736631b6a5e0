"""Units of work of notifications: tell what is new against what was told before, and once."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from wamsg2.alerts import GIVE_UP_AFTER, MOST_WAITING, Conditions, Occurrence
from wamsg2.masking import mask_text
from wamsg2.model import Notification, NotificationState
from wamsg2.store import notifications
from wamsg2.store.writer import Tx

_MOST_DETAIL_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class Told:
    """What was new, and how many older ones were given up for it."""

    new: tuple[Notification, ...]
    given_up: int


def tell(tx: Tx, conditions: Conditions, occurrences: Iterable[Occurrence], *, now: datetime, post: bool) -> Told:
    """Store what has begun, what is over and what has happened; what was told is not told again.

    Args:
        tx: the transaction.
        conditions: see `alerts.conditions`; those left out stay as they are.
        occurrences: also such as were told before.
        now: the time.
        post: whether there is a receiver.
    """
    is_open = notifications.open_conditions(tx)
    new: list[Notification | None] = []
    for kind, detail in conditions.items():
        known = is_open.get(kind)
        if known and detail is None:
            new.append(notifications.clear(tx, known, now=now, post=post))
        elif not known and detail is not None:
            state = NotificationState.RAISED
            new.append(notifications.add(tx, kind=kind, detail=_fit(detail), state=state, now=now, post=post))
    for each in occurrences:
        state, detail = NotificationState.HAPPENED, _fit(each.detail)
        new.append(
            notifications.add(
                tx, kind=each.kind, subject=each.subject, detail=detail, state=state, now=now, post=post
            )
        )
    return Told(tuple(filter(None, new)), notifications.give_up_beyond(tx, MOST_WAITING, now))


def _fit(detail: str) -> str:
    """The provider's words may be in it: they go out of the house without anybody's number."""
    return mask_text(detail)[:_MOST_DETAIL_CHARACTERS]


@dataclass(frozen=True, slots=True)
class Line:
    """The head of the line, when to try it, and how many were given up for their age."""

    head: Notification | None
    next_at: datetime
    given_up: int


def line(tx: Tx, now: datetime) -> Line:
    """What to deliver next: always the oldest, so that everything arrives in the order in which it happened."""
    given_up = notifications.give_up_older(tx, now - GIVE_UP_AFTER, now)
    head, next_at = notifications.next_in_line(tx) or (None, now)
    return Line(head, next_at, given_up)
