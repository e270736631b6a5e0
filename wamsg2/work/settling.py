"""What became of a message: answers to our requests, receipts, look-ups and people's words end here.

Everything that proves acceptance is one thing, a receipt, whether it came as an answer, an event or a look-up; so
answers and events may arrive in any order.
"""

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from wamsg2 import rules
from wamsg2.model import (
    UNSETTLED,
    WENT_OUT,
    Absent,
    Accepted,
    Claim,
    Deferred,
    Doubt,
    Held,
    LookUp,
    Message,
    MessageStatus,
    Outcome,
    Policy,
    Receipt,
    ReceiptStatus,
    Rejected,
    Sender,
    Step,
    Uncertain,
    Unknown,
    WamsgError,
    Withdrawn,
)
from wamsg2.store import contacts, events, messages
from wamsg2.store.writer import Tx
from wamsg2.work import replying
from wamsg2.work.signals import NO_SIGNALS, Signals


def settle(
    tx: Tx,
    claim: Claim,
    outcome: Outcome,
    *,
    started_at: datetime | None,
    now: datetime,
    policy: Policy,
    signals: Signals = NO_SIGNALS,
) -> MessageStatus | None:
    """Store the outcome of a claim's attempt; the message's status afterwards.

    A receipt may have settled the message before its own answer came: then the answer only adds what it knows.

    Args:
        tx: the open transaction.
        claim: as given by `claiming.claim`.
        outcome: what the request came to.
        started_at: when the request started; None if it never did.
        now: time of this unit.
        policy: for replies that this brings to a decision.
        signals: told of an opt-out that this brings to light.

    Returns:
        None where the claim is not the message's last attempt any more.
    """
    message = messages.by_id(tx, claim.message_id)
    if message is None or message.attempt != claim.attempt:
        return None
    if started_at is not None:
        messages.set_started(tx, message.id, started_at)
        message = replace(message, attempted_at=started_at)
    if isinstance(outcome, Accepted):
        report(tx, message, _as_receipt(message, outcome), now=now, policy=policy, signals=signals)
    elif message.status is MessageStatus.SENDING:  # otherwise a receipt was faster, and knows better
        _settle_unaccepted(tx, message, outcome, now, policy)
    return settled_status(tx, message, policy, now)


def _settle_unaccepted(
    tx: Tx,
    message: Message,
    outcome: Rejected | Withdrawn | Deferred | Held | Uncertain,
    now: datetime,
    policy: Policy,
) -> None:
    match outcome:
        case Rejected(reason):
            messages.set_failed(tx, message.id, reason)
        case Withdrawn(reason):
            messages.release(tx, message.id, MessageStatus.CANCELLED, reason=reason)
        case Deferred(reason, retry_after):
            put_back(tx, message, reason, due_at=now + retry_after if retry_after else None)
        case Held(reason):
            put_back(tx, message, reason)
        case Uncertain(reason):
            doubt(tx, message, reason, now, policy)
        case _:
            assert_never(outcome)


def settled_status(tx: Tx, before: Message, policy: Policy, now: datetime) -> MessageStatus | None:
    """The status now; where a Message 1 has just been settled, the replies that waited for it are decided."""
    after = messages.by_id(tx, before.id)
    if after is None:
        return None
    if before.step is Step.MESSAGE_1 and before.status in UNSETTLED and after.status not in UNSETTLED:
        replying.decide_waiting(tx, after, policy, now)
    return after.status


def _as_receipt(message: Message, accepted: Accepted) -> Receipt:
    chat_ids = (accepted.chat_id,) if accepted.chat_id else ()
    return Receipt(
        accepted.status,
        message.reference,
        accepted.queue_id,
        accepted.wa_id,
        accepted.sent_at,
        accepted.reason,
        Sender(chat_ids, None),
    )


def put_back(tx: Tx, message: Message, reason: str, due_at: datetime | None = None) -> None:
    """The message certainly was not accepted: back in line, or cancelled if nobody wants it any more."""
    status, why = rules.released(contact_opted_out=message.contact_opted_out, campaign_status=message.campaign_status)
    messages.release(tx, message.id, status, reason=why or reason, due_at=due_at)


def doubt(tx: Tx, message: Message, reason: str, now: datetime, policy: Policy) -> None:
    """Nobody knows; the reconciler looks it up."""
    look_up_at = now + rules.next_look_up(0, policy.resend_after)
    messages.set_uncertain(tx, message.id, reason=reason, since=now, look_up_at=look_up_at)


def recover(tx: Tx, now: datetime, policy: Policy) -> int:
    """At start: whatever was `sending` may have been accepted before the process died. How many were.

    What is due later than anything new would be was put off by a process that is gone, or by a clock that was wrong.
    Proofs of absence begin anew, and so do their look-ups: the waits between them had grown in vain.
    """
    messages.bring_forward(tx, now + policy.delay)
    messages.look_up_anew(tx, now + rules.next_look_up(0, policy.resend_after))
    interrupted = messages.sending(tx)
    for message in interrupted:
        doubt(tx, message, "the process ended during the request", now, policy)
    return len(interrupted)


def receive_receipt(
    tx: Tx, receipt: Receipt, *, now: datetime, policy: Policy, signals: Signals = NO_SIGNALS
) -> Message | None:
    """A receipt from the webhook: settle what it names, or keep it until its message is known."""
    message = messages.by_provider_ids(
        tx, reference=receipt.reference, queue_id=receipt.queue_id, wa_id=receipt.wa_id
    )
    if message is None:
        events.keep_receipt(tx, receipt, now)
        return None
    report(tx, message, receipt, now=now, policy=policy, signals=signals)
    settled_status(tx, message, policy, now)
    return message


def report(tx: Tx, message: Message, receipt: Receipt, *, now: datetime, policy: Policy, signals: Signals) -> None:
    """Take in a proof of acceptance, and every kept receipt that its ids bring to light."""
    receipts = [receipt]
    status = message.status
    while receipts:
        next_receipt = receipts.pop(0)
        queue_id, wa_id = messages.learn_ids(tx, message.id, queue_id=next_receipt.queue_id, wa_id=next_receipt.wa_id)
        status = _advance(tx, replace(message, status=status), next_receipt, now)
        # After the status: what was written from an id that is learned here may answer this very message.
        if next_receipt.recipient.chat_ids and (contact := contacts.by_id(tx, message.contact_id)):
            replying.meet(tx, contact, next_receipt.recipient, policy=policy, now=now, signals=signals)
        receipts += events.take_receipts(tx, reference=message.reference, queue_id=queue_id, wa_id=wa_id)


def _advance(tx: Tx, message: Message, receipt: Receipt, now: datetime) -> MessageStatus:
    status = rules.advance(message.status, receipt.status)
    sent_at = rules.provider_sent_time(receipt.status, receipt.occurred_at, message.attempted_at, now)
    if status is MessageStatus.FAILED and status is not message.status:
        messages.set_failed(tx, message.id, receipt.reason or "reported as failed")
        return status
    if status is not message.status or (sent_at and status in WENT_OUT | {MessageStatus.FAILED}):
        ask_at = now + rules.ASK_AFTER if status is MessageStatus.SENT else None
        messages.went_out(tx, message.id, status, provider_sent_at=sent_at, ask_at=ask_at, now=now)
    messages.mark_reported(tx, message.id, receipt.status, min(receipt.occurred_at or now, now), receipt.reason)
    return status


# --- doubt -------------------------------------------------------------------------------------------------


def settle_look_up(
    tx: Tx, looked_up: Doubt, answer: LookUp, *, now: datetime, policy: Policy, signals: Signals = NO_SIGNALS
) -> MessageStatus | None:
    """Store what a look-up told of an uncertain message; its status afterwards (None: settled meanwhile)."""
    message = messages.by_id(tx, looked_up.message_id)
    if message is None or message.status is not MessageStatus.UNCERTAIN or message.attempt != looked_up.attempt:
        return None
    wait = rules.next_look_up(looked_up.look_ups, policy.resend_after)
    is_proved = rules.absence_is_proved(looked_up, now, policy.resend_after)
    match answer:
        case Accepted():
            report(tx, message, _as_receipt(message, answer), now=now, policy=policy, signals=signals)
        case Absent() if is_proved and rules.is_hopeless(message.doubts):
            messages.set_failed(tx, message.id, f"{message.doubts} times proved not accepted")
        case Absent() if is_proved:
            put_back(tx, message, "proved not accepted")
        case Absent():
            messages.looked_up(tx, message.id, absent_since=looked_up.absent_since or now, look_up_at=now + wait)
        case Unknown():
            messages.looked_up(tx, message.id, absent_since=looked_up.absent_since, look_up_at=now + wait)
        case _:
            assert_never(answer)
    return settled_status(tx, message, policy, now)


def resolve(tx: Tx, message_id: int, status: MessageStatus, *, now: datetime, policy: Policy) -> MessageStatus | None:
    """A person settles an uncertain message: it was sent, it failed, or it is to be sent again (`queued`).

    Raises:
        WamsgError: there is no such message, or it is not uncertain.
    """
    message = messages.by_id(tx, message_id)
    if message is None:
        raise WamsgError(f"there is no message {message_id}")
    if message.status is not MessageStatus.UNCERTAIN:
        raise WamsgError(f"message {message_id} is {message.status}: only an uncertain one can be resolved")
    match status:
        case MessageStatus.SENT:
            sent = Receipt(ReceiptStatus.SENT, message.reference, None, None, None)
            report(tx, message, sent, now=now, policy=policy, signals=NO_SIGNALS)
        case MessageStatus.QUEUED:
            put_back(tx, message, "resolved by hand: retry")
        case _:
            messages.set_failed(tx, message.id, "resolved by hand: failed")
    return settled_status(tx, message, policy, now)
