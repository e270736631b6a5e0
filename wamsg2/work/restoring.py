"""A database that has come out of a backup: what was sent since is unknown to it, and is found out before anything
is sent.
"""

from collections.abc import Sequence
from datetime import datetime

from wamsg2 import rules
from wamsg2.model import Campaign
from wamsg2.store import campaigns, copies, marks, messages
from wamsg2.store.writer import Tx
from wamsg2.work import catching_up
from wamsg2.work.campaigning import CHUNK_ROWS


def begin(tx: Tx, now: datetime) -> Sequence[Campaign]:
    """Mark every campaign as restored, and owe a look at what people wrote since; the campaigns."""
    catching_up.owe(tx, now)
    _remember_newest(tx)
    return campaigns.set_restored(tx, now)


def _remember_newest(tx: Tx) -> None:
    """What may have been sent since the backup was sent after its newest entry.

    Where messages of an earlier restore are still in doubt, they may have been sent after that one's.
    """
    newest_at = copies.newest_entry(tx)
    if newest_at is not None and not (
        marks.get(tx, messages.BACKUP_NEWEST) and messages.is_any_restored_in_doubt(tx)
    ):
        marks.put(tx, messages.BACKUP_NEWEST, newest_at)


def doubt(tx: Tx, after_message_id: int, now: datetime) -> tuple[int | None, int]:
    """Put the next open messages in doubt.

    Returns:
        The last one's id, or None when all are done; and how many they were.
    """
    return messages.doubt_open(tx, after=after_message_id, most=CHUNK_ROWS, reason=rules.RESTORED, now=now)
