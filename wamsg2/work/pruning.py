"""Removing a campaign that is long over, a few contacts at a time: what is left of it is in order at every commit."""

from datetime import datetime
from enum import Enum, auto

from wamsg2 import rules
from wamsg2.model import Policy
from wamsg2.store import retention
from wamsg2.store.writer import Tx


class Progress(Enum):
    """How far the removal of a campaign has come."""

    NONE = auto()  #: it is not to go, or what is left must stay for now
    SOME = auto()
    ALL = auto()


def remove_some(
    tx: Tx,
    campaign_id: int,
    *,
    ended_before: datetime,
    events_before: datetime,
    policy: Policy,
    now: datetime,
    most: int,
) -> Progress:
    """Remove some of a campaign that ended before then, and in the end the campaign; judged anew each time.

    `events_before` is up to when raw events have been removed: an interaction never goes before its own.
    """
    course = retention.course(tx, campaign_id)
    if course is None:
        return Progress.NONE
    ended_at = rules.ended_at(
        course.status,
        open_messages=course.open_messages,
        window_closes_at=course.last_sent_at + policy.window if course.last_sent_at else None,
        began_at=course.began_at,
        now=now,
    )
    if ended_at is None or ended_at >= ended_before:
        return Progress.NONE
    contact_ids = retention.removable_recipients(tx, campaign_id, events_before, most)
    if contact_ids:
        retention.delete_recipients(tx, campaign_id, contact_ids, events_before)
        return Progress.SOME
    return Progress.ALL if retention.delete_if_empty(tx, campaign_id) else Progress.NONE
