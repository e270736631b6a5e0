"""How far the provider's list of inbound messages has been read."""

from datetime import datetime

from wamsg2 import rules
from wamsg2.store import campaigns, marks
from wamsg2.store.writer import Tx

_MARK = "inbound_listed"
_OWED = "inbound_owed"


def list_since(tx: Tx, now: datetime, *, thoroughly: bool = False) -> datetime | None:
    """From when on to ask for inbound messages; None as long as nobody can have replied to anything.

    Thoroughly: also for what may have come late, behind messages that are listed already.
    """
    if newest_listed := marks.get(tx, _MARK):
        return rules.list_since(newest_listed, now, thoroughly=thoroughly)
    launched_at = campaigns.first_launched_at(tx)
    return rules.list_since(launched_at - rules.LAUNCH_DOUBT, now) if launched_at else None


def listed(tx: Tx, newest_at: datetime | None, now: datetime) -> None:
    """A list has been read to its end: the next one need not reach back behind its newest message, if it had any.

    By the provider's clock, since a server whose own is wrong must not skip anything.
    """
    marks.remove(tx, _OWED)
    if newest_at is None:
        return
    before = marks.get(tx, _MARK)
    newest_at = min(newest_at, now)
    if before is None or newest_at > before:
        marks.put(tx, _MARK, newest_at)


def owe(tx: Tx, now: datetime) -> None:
    """Out of a backup: what was written since may hold opt-outs, and until a list is read nothing is sent blindly.

    A draft may have been launched since: where nothing was ever listed, the list reaches back to the first campaign.
    """
    marks.put(tx, _OWED, now)
    first_at = campaigns.first_created_at(tx)
    if marks.get(tx, _MARK) is None and first_at is not None:
        marks.put(tx, _MARK, first_at)


def is_owed(tx: Tx) -> bool:
    """Whether no list has been read to its end since the database came out of a backup."""
    return marks.get(tx, _OWED) is not None
