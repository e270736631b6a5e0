"""What happened to a message off the ordinary way, for the person who asks why."""

from datetime import datetime

from wamsg2.store.times import to_ms
from wamsg2.store.writer import Tx


def add(tx: Tx, message_id: int, at: datetime, what: str) -> None:
    """Note that this happened to the message then; `what` is a line in our words, maybe with a provider's reason.

    The same again is counted: look-ups that settle nothing go on for weeks.
    """
    is_again = tx.execute(
        """UPDATE message_notes SET times = times + 1, last_at = max(ifnull(last_at, at), ?1)
           WHERE id = (SELECT id FROM message_notes WHERE message_id = ?2 AND what = ?3)""",
        (to_ms(at), message_id, what),
    ).rowcount
    if is_again:
        return
    tx.execute("INSERT INTO message_notes (message_id, at, what) VALUES (?, ?, ?)", (message_id, to_ms(at), what))
