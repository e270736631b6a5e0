"""Taking messages from the queue: one at a time is chosen, rendered and marked `sending` before anything leaves."""

from datetime import datetime, timedelta

from wamsg2 import rules
from wamsg2.model import Claim, Claims, MessageStatus
from wamsg2.store import messages, notes
from wamsg2.store.writer import Tx, is_of_the_disk
from wamsg2.template import TemplateError, render


def claim(tx: Tx, *, now: datetime, due_before: datetime, most: int, limit: timedelta | None = None) -> Claims:
    """Claim up to `most` messages that are due, in the order in which they are to be sent.

    A message that can never be sent (its text does not render, its row cannot be read) fails here and blocks nobody.
    `limit` is what the caller keeps between the starts of two sends, stored with each claim.
    """
    claims: list[Claim] = []
    dropped: list[tuple[int, str]] = []
    while len(claims) < most:
        if (message_id := messages.next_in_line(tx, due_before)) is None:
            return Claims(claims, dropped, messages.next_due_at(tx) if not claims else None)
        try:
            claimed = _claim_one(tx, message_id, now, limit)
        except Exception as error:
            if is_of_the_disk(error):
                raise
            # Whatever is the matter with this row: the ones behind it are not to wait for ever.
            claimed = str(error) if isinstance(error, TemplateError) else f"unreadable row ({type(error).__name__})"
            messages.set_failed(tx, message_id, claimed)
            notes.add(tx, message_id, now, f"failed: {claimed}")
        if isinstance(claimed, Claim):
            claims.append(claimed)
        else:
            dropped.append((message_id, claimed))
    return Claims(claims, dropped, None)


def _claim_one(tx: Tx, message_id: int, now: datetime, limit: timedelta | None) -> Claim | str:
    """The claim, or why the message was cancelled instead.

    Raises:
        TemplateError: its text does not render.
    """
    message = messages.by_id(tx, message_id)
    if message is None:
        raise LookupError("the row has no contact or no campaign")
    if message.contact_opted_out:  # imported or queued by some way that did not look
        why = rules.OPTED_OUT
        messages.release(tx, message.id, MessageStatus.CANCELLED, reason=why)
        notes.add(tx, message.id, now, f"cancelled: {why}")
        return why
    campaign, template, values, phone, due_at = messages.rendering(tx, message.id)
    text = render(template, values)
    messages.claim(tx, message, text, now, limit)
    return Claim(
        message.id,
        message.contact_id,
        campaign,
        message.step,
        message.attempt + 1,
        message.reference,
        phone,
        text,
        due_at,
    )
