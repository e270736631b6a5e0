"""Taking messages from the queue: one at a time is chosen, rendered and marked `sending` before anything leaves."""

from datetime import datetime

from wamsg2.model import Claim, Claims, MessageStatus
from wamsg2.store import messages
from wamsg2.store.writer import Tx
from wamsg2.template import TemplateError, render


def claim(tx: Tx, *, now: datetime, due_before: datetime, most: int) -> Claims:
    """Claim up to `most` messages that are due, in the order in which they are to be sent.

    A message that can never be sent (its text does not render) fails here and blocks nobody.
    """
    claims: list[Claim] = []
    dropped: list[tuple[int, str]] = []
    while len(claims) < most:
        message_id = messages.next_in_line(tx, due_before)
        message = None if message_id is None else messages.by_id(tx, message_id)
        if message is None:
            return Claims(claims, dropped, messages.next_due_at(tx) if not claims else None)
        if message.contact_opted_out:  # imported or queued by some way that did not look
            messages.release(tx, message.id, MessageStatus.CANCELLED, reason="contact opted out")
            dropped.append((message.id, "contact opted out"))
            continue
        try:
            campaign, template, values, phone, due_at = messages.rendering(tx, message.id)
            text = render(template, values)
        except (ValueError, TypeError) as error:  # the row is broken: nobody waits for it
            reason = str(error) if isinstance(error, TemplateError) else f"unreadable row ({type(error).__name__})"
            messages.set_failed(tx, message.id, reason)
            dropped.append((message.id, reason))
            continue
        messages.claim(tx, message, text, now)
        claims.append(
            Claim(
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
        )
    return Claims(claims, dropped, None)
