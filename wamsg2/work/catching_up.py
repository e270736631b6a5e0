"""How far the provider's list of inbound messages has been read."""

from datetime import datetime

from wamsg2 import rules
from wamsg2.store import campaigns, marks
from wamsg2.store.writer import Tx

_MARK = "inbound_listed"


def list_since(tx: Tx, now: datetime, *, thoroughly: bool = False) -> datetime | None:
    """From when on to ask for inbound messages; None as long as nobody can have replied to anything.

    Thoroughly: also for what may have come late, behind messages that are listed already.
    """
    if newest_listed := marks.get(tx, _MARK):
        return rules.list_since(newest_listed, now, thoroughly=thoroughly)
    launched_at = campaigns.first_launched_at(tx)
    return rules.list_since(launched_at - rules.LAUNCH_DOUBT, now) if launched_at else None


def listed(tx: Tx, newest_at: datetime, now: datetime) -> None:
    """A list has been read to its end: the next one need not reach back behind its newest message.

    By the provider's clock, since a server whose own is wrong must not skip anything.
    """
    before = marks.get(tx, _MARK)
    newest_at = min(newest_at, now)
    if before is None or newest_at > before:
        marks.put(tx, _MARK, newest_at)
