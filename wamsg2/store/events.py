"""Raw webhook events, each stored once, and receipts that match nothing yet."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from wamsg2.model import EventResult, EventSource, Receipt, ReceiptStatus, Sender
from wamsg2.store import bodies
from wamsg2.store.times import from_ms, to_ms
from wamsg2.store.writer import Tx


def add(
    tx: Tx,
    *,
    identity: bytes,
    name: str,
    result: EventResult,
    source: EventSource,
    body: bytes,
    received_at: datetime,
) -> int | None:
    """Store an event; its id, or None where one that says the same is stored already."""
    packing, packed = bodies.pack(body)
    row = tx.execute(
        """INSERT INTO events (identity, name, result, source, body, packing, received_at)
           VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (identity) DO NOTHING RETURNING id""",
        (identity, name, result.value, source.value, packed, packing, to_ms(received_at)),
    ).fetchone()
    if row is not None:
        return int(row[0])
    if source is EventSource.WEBHOOK:
        tx.execute("UPDATE totals SET value = value + 1 WHERE name = 'webhooks_duplicates'")
    return None


def keep_receipt(tx: Tx, receipt: Receipt, received_at: datetime, *, candidate: str | None = None) -> None:
    """Keep a receipt that matches no message yet; `candidate`: reference of the message that it may be about."""
    tx.execute(
        """INSERT INTO waiting_receipts
               (status, reference, queue_id, wa_id, occurred_at, reason, chat_ids, received_at, sent_at, is_revoked,
                candidate)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)""",
        (
            receipt.status.value,
            receipt.reference,
            receipt.queue_id,
            receipt.wa_id,
            to_ms(receipt.occurred_at),
            receipt.reason,
            " ".join(receipt.recipient.chat_ids),
            to_ms(received_at),
            to_ms(receipt.sent_at),
            receipt.is_revoked,
            candidate,
        ),
    )


def take_receipts(tx: Tx, *, reference: str, queue_id: str | None, wa_id: str | None) -> list[Receipt]:
    """Remove and return the kept receipts that name any of a message's ids, oldest first."""
    rows = tx.execute(
        """SELECT id, status, reference, queue_id, wa_id, occurred_at, reason, chat_ids, sent_at, is_revoked
           FROM waiting_receipts
           WHERE reference = ?1 OR queue_id IN (?2, ?3) OR wa_id IN (?2, ?3) ORDER BY id""",
        (reference, queue_id, wa_id),
    ).fetchall()
    for row in rows:
        tx.execute("DELETE FROM waiting_receipts WHERE id = ?", (row[0],))
    return [_receipt(row[1:]) for row in rows]


def candidate_wa_id(tx: Tx, reference: str) -> str | None:
    """The WhatsApp id of the kept receipts that may be about a message, where they all have the same."""
    rows = tx.execute("SELECT DISTINCT wa_id FROM waiting_receipts WHERE candidate = ?", (reference,)).fetchall()
    return str(rows[0][0]) if len(rows) == 1 else None


def _receipt(row: Sequence[Any]) -> Receipt:
    status, reference, queue_id, wa_id, occurred_at, reason, chat_ids, sent_at, is_revoked = row
    return Receipt(
        status=ReceiptStatus(status),
        reference=reference,
        queue_id=queue_id,
        wa_id=wa_id,
        occurred_at=from_ms(occurred_at),
        reason=reason,
        recipient=Sender(tuple(chat_ids.split()), None),
        sent_at=from_ms(sent_at),
        is_revoked=bool(is_revoked),
    )
