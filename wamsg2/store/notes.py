"""What happened to a message off the ordinary way, for the person who asks why."""

from datetime import datetime

from wamsg2.store.times import to_ms
from wamsg2.store.writer import Tx


def add(tx: Tx, message_id: int, at: datetime, what: str) -> None:
    """Note that this happened to the message then; `what` is a line in our words, maybe with a provider's reason."""
    tx.execute("INSERT INTO message_notes (message_id, at, what) VALUES (?, ?, ?)", (message_id, to_ms(at), what))
