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
    ended_before: datetime | None,
    events_before: datetime,
    policy: Policy,
    now: datetime,
    most: int,
) -> Progress:
    """Close a campaign that ended before then, remove some of it with each further call, and in the end the campaign.

    Whoever is imported into a closed campaign is refused: a contact whose Message 1 is gone would get another.
    What is closed is removed to the end, whatever is configured by then.

    Args:
        tx: the open transaction.
        campaign_id: the campaign.
        ended_before: None: only what is closed goes.
        events_before: up to when raw events have been removed; an interaction never goes before its own.
        policy: how long a window is.
        now: time of this unit.
        most: contacts.
    """
    course = retention.course(tx, campaign_id)
    if course is None or course.open_messages:
        return Progress.NONE
    if not course.is_closed:
        if not _ended(course, ended_before, policy, now):
            return Progress.NONE
        retention.close(tx, campaign_id, now)
        return Progress.SOME
    contact_ids = retention.removable_recipients(tx, campaign_id, events_before, most)
    if contact_ids:
        retention.delete_recipients(tx, campaign_id, contact_ids, events_before)
        return Progress.SOME
    return Progress.ALL if retention.delete_if_empty(tx, campaign_id) else Progress.NONE


def _ended(course: retention.Course, before: datetime | None, policy: Policy, now: datetime) -> bool:
    ended_at = rules.ended_at(
        course.status,
        open_messages=course.open_messages,
        window_closes_at=course.last_sent_at + policy.window if course.last_sent_at else None,
        began_at=course.began_at,
        now=now,
    )
    return ended_at is not None and before is not None and ended_at < before
