"""What became of a message: answers to our requests, receipts, look-ups and people's words end here.

Everything that proves acceptance is one thing, a receipt, whether it came as an answer, an event or a look-up; so
answers and events may arrive in any order.
"""

from dataclasses import replace
from datetime import datetime, timedelta
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
    Start,
    Step,
    Uncertain,
    Unknown,
    WamsgError,
    Withdrawn,
)
from wamsg2.store import contacts, events, messages, notes
from wamsg2.store.writer import Tx
from wamsg2.work import catching_up, forgetting, people, replying
from wamsg2.work.signals import NO_SIGNALS, Signals


def settle(
    tx: Tx,
    claim: Claim,
    outcome: Outcome,
    *,
    start: Start | None,
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
        start: of the request; None if it never started.
        now: time of this unit.
        policy: for replies that this brings to a decision.
        signals: told of an opt-out that this brings to light.

    Returns:
        None where the claim is not the message's last attempt any more.
    """
    before = message = messages.by_id(tx, claim.message_id)
    if before is None or message is None or message.attempt != claim.attempt:
        return None
    if message.contact_forgotten:  # while the request was under way; the provider's words may repeat theirs
        outcome = replace(outcome, reason=rules.FORGOTTEN)
    if start is not None:
        messages.set_started(tx, message.id, start.at, gap=start.gap)
        message = replace(message, attempted_at=start.at)
    else:
        messages.set_unstarted(tx, message.id)
    if isinstance(outcome, Accepted):
        report(tx, message, _as_receipt(message, outcome), now=now, policy=policy, signals=signals)
    elif message.status is MessageStatus.SENDING:  # otherwise a receipt was faster, and knows better
        _settle_unaccepted(tx, message, outcome, now, policy)
    return finish(tx, before, policy=policy, now=now, signals=signals)


def _settle_unaccepted(
    tx: Tx,
    message: Message,
    outcome: Rejected | Withdrawn | Deferred | Held | Uncertain,
    now: datetime,
    policy: Policy,
) -> None:
    _note_attempt(tx, message)
    match outcome:
        case Rejected(reason):
            messages.set_failed(tx, message.id, reason)
            notes.add(tx, message.id, now, f"failed: {reason}")
        case Withdrawn() if not message.contact_opted_out:
            put_back(tx, message, "withdrawn for an opt-out that does not stand", now)
        case Withdrawn(reason):
            messages.release(tx, message.id, MessageStatus.CANCELLED, reason=reason)
            notes.add(tx, message.id, now, f"withdrawn: {reason}")
        case Deferred(reason, retry_after):
            put_back(tx, message, reason, now, due_at=now + retry_after if retry_after else None)
        case Held():
            _settle_held(tx, message, outcome, now)
        case Uncertain(reason):
            doubt(tx, message, reason, now, policy)
        case _:
            assert_never(outcome)


def _settle_held(tx: Tx, message: Message, held: Held, now: datetime) -> None:
    """It keeps its place behind those that are tried first, unless it alone is refused again and again [send 4]."""
    if held.is_alone and messages.note_refusal(tx, message.id) >= rules.MOST_REFUSALS:
        why = f"refused {rules.MOST_REFUSALS} times while others went out: {held.reason}"
        messages.set_failed(tx, message.id, why)
        notes.add(tx, message.id, now, f"failed: {why}")
        return
    put_back(tx, message, held.reason, now, due_at=now + held.retry_after if held.retry_after else None)


def _note_attempt(tx: Tx, message: Message) -> None:
    """The row keeps the start of the last attempt only: of one that is not the last, a note does."""
    if message.attempted_at is not None:
        notes.add(tx, message.id, message.attempted_at, f"attempt {message.attempt}")


def finish(tx: Tx, before: Message, *, policy: Policy, now: datetime, signals: Signals) -> MessageStatus | None:
    """Decide the replies that what is known of a Message 1 now brings to a decision; the message's status now."""
    after = messages.by_id(tx, before.id)
    if after is None:
        return None
    if before.step is Step.MESSAGE_1 and _matters_to_replies(before) != _matters_to_replies(after):
        replying.message_1_changed(tx, before, after, policy=policy, now=now, signals=signals)
    return after.status


def _matters_to_replies(message: Message) -> tuple[object, ...]:
    return (
        message.status in WENT_OUT,
        message.status in UNSETTLED,
        message.sent_at or message.attempted_at,
        message.wa_id,
        message.queue_id,
    )


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
        sent_at=None if accepted.status is ReceiptStatus.FAILED else accepted.sent_at,
        is_revoked=accepted.is_revoked,
    )


def put_back(tx: Tx, message: Message, reason: str, now: datetime, due_at: datetime | None = None) -> None:
    """The message certainly was not accepted: back in line, or cancelled if nobody wants it any more."""
    status, why = rules.released(
        contact_opted_out=message.contact_opted_out,
        campaign_status=message.campaign_status,
        reply_too_old=messages.was_too_old_at_resume(tx, message.id, rules.REPLY_STALE_AFTER),
    )
    messages.release(tx, message.id, status, reason=why or reason, due_at=due_at)
    notes.add(tx, message.id, now, f"{status}: {why} ({reason})" if why else f"back in line: {reason}")


def doubt(tx: Tx, message: Message, reason: str, now: datetime, policy: Policy) -> None:
    """Nobody knows; the reconciler looks it up."""
    look_up_at = now + rules.next_look_up(0, policy.resend_after)
    messages.set_uncertain(tx, message.id, reason=reason, since=now, look_up_at=look_up_at)
    notes.add(tx, message.id, now, f"doubted: {reason}")


def doubt_unsettled(tx: Tx, claim: Claim, reason: str, *, now: datetime, policy: Policy) -> MessageStatus | None:
    """The outcome of a claim's attempt could not be stored: look-ups find out what it was. The status afterwards."""
    message = messages.by_id(tx, claim.message_id)
    if message is None or message.attempt != claim.attempt or message.status is not MessageStatus.SENDING:
        return None
    _note_attempt(tx, message)
    doubt(tx, message, reason, now, policy)
    return MessageStatus.UNCERTAIN


def recover(tx: Tx, now: datetime, policy: Policy) -> int:
    """At start: whatever was `sending` may have been accepted before the process died. How many were.

    What is due later than anything new would be was put off by a process that is gone, or by a clock that was wrong.
    Proofs of absence begin anew, and so do their look-ups: the waits between them had grown in vain.
    """
    messages.bring_forward(tx, now + policy.delay)
    messages.look_up_anew(tx, now + rules.next_look_up(0, policy.resend_after))
    interrupted = messages.sending(tx)
    for message in interrupted:
        _note_attempt(tx, message)
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
        candidate = _by_words(tx, receipt, now)
        if candidate is None or candidate.status in UNSETTLED:  # words alone prove no acceptance
            events.keep_receipt(tx, receipt, now, candidate=candidate.reference if candidate else None)
            return None
        message = candidate
    _withdraw_claim(message, signals)
    report(tx, message, receipt, now=now, policy=policy, signals=signals)
    finish(tx, message, policy=policy, now=now, signals=signals)
    return message


def _by_words(tx: Tx, receipt: Receipt, now: datetime) -> Message | None:
    """The one message without a WhatsApp id that went to the recipient with these words.

    What WhatsApp tells of a message has its own id and no reference. Where it may be about several messages, none is
    taken: a look-up will tell.
    """
    if receipt.reference or receipt.queue_id or not (receipt.wa_id and receipt.text):
        return None
    match = people.identify(tx, receipt.recipient, None)
    open_messages = messages.without_wa_id(tx, match.contact.id) if match else []
    found = [message_id for message_id, text in open_messages if text.strip() == receipt.text]
    message = messages.by_id(tx, found[0]) if len(found) == 1 else None
    if message is None or receipt.sent_at is None:
        return message
    is_believable = rules.provider_sent_time(receipt.sent_at, message.attempted_at, now) is not None
    return message if is_believable else None


def _withdraw_claim(message: Message, signals: Signals) -> None:
    """An earlier attempt was accepted: a claim that came after it, and has not left yet, is not to leave."""
    if message.status is MessageStatus.SENDING:
        signals.withdraw(message.contact_id)


def report(tx: Tx, message: Message, receipt: Receipt, *, now: datetime, policy: Policy, signals: Signals) -> None:
    """Take in a proof of acceptance, and every kept receipt that its ids bring to light."""
    receipts = [receipt]
    while receipts:
        next_receipt = receipts.pop(0)
        if message.contact_forgotten:
            next_receipt = forgetting.take_person_out(tx, message.contact_id, next_receipt, now)
        ids = (message.queue_id or next_receipt.queue_id, message.wa_id or next_receipt.wa_id)
        is_news = ids != (message.queue_id, message.wa_id) or message.status not in WENT_OUT
        if is_news and ids[1] is None and next_receipt.status is not ReceiptStatus.FAILED:
            ids = (ids[0], events.candidate_wa_id(tx, message.reference))
        if is_news:
            messages.learn_ids(tx, message.id, queue_id=ids[0], wa_id=ids[1])
        status = _advance(tx, message, next_receipt, now)
        # After the status: what was written from an id that is learned here may answer this very message.
        learned = people.learn(tx, message.contact_id, message.contact_phone_key, next_receipt.recipient)
        if learned and (contact := contacts.by_id(tx, message.contact_id)):
            replying.decide_unmatched(tx, contact, learned, policy=policy, now=now, signals=signals)
        if is_news:  # whatever was kept can name it only by what was not known of it before
            receipts += events.take_receipts(tx, reference=message.reference, queue_id=ids[0], wa_id=ids[1])
        message = replace(message, status=status, queue_id=ids[0], wa_id=ids[1])


def _advance(tx: Tx, message: Message, receipt: Receipt, now: datetime) -> MessageStatus:
    status = rules.advance(message.status, receipt.status)
    sent_at = rules.provider_sent_time(_sent_at(receipt), message.attempted_at, now)
    at = _occurred(receipt, now)
    if receipt.is_revoked:
        notes.add(tx, message.id, now, "revoked: deleted for everybody")
    if status is MessageStatus.FAILED and status is not message.status:
        reason = receipt.reason or "reported as failed"
        messages.set_failed(tx, message.id, reason)
        notes.add(tx, message.id, at, f"failed: {reason}")
        return status
    if (message.status not in WENT_OUT and status is not message.status) or sent_at is not None:
        ask_at = now + rules.ASK_AFTER if status is MessageStatus.SENT else None
        messages.went_out(tx, message.id, status, provider_sent_at=sent_at, ask_at=ask_at, now=now)
    match receipt.status:
        case ReceiptStatus.SENT:
            pass
        case ReceiptStatus.DELIVERED:
            messages.got_further(tx, message.id, status, delivered_at=at)
        case ReceiptStatus.READ:
            messages.got_further(tx, message.id, status, read_at=at)
        case ReceiptStatus.FAILED:
            messages.note_failure(tx, message.id, receipt.reason)
            if status is not MessageStatus.FAILED:
                too_late = f"reported as failed, too late to count: {receipt.reason or 'no reason given'}"
                notes.add(tx, message.id, at, too_late)
        case _:
            assert_never(receipt.status)
    return status


def _sent_at(receipt: Receipt) -> datetime | None:
    """When the provider says that it sent the message: a report of delivery tells it too."""
    if receipt.sent_at is None and receipt.status is ReceiptStatus.SENT:
        return receipt.occurred_at
    return receipt.sent_at


def _occurred(receipt: Receipt, now: datetime) -> datetime:
    return min(receipt.occurred_at or now, now)


# --- doubt -------------------------------------------------------------------------------------------------


def settle_look_up(
    tx: Tx,
    looked_up: Doubt,
    answer: LookUp,
    *,
    retention: timedelta | None,
    now: datetime,
    policy: Policy,
    signals: Signals = NO_SIGNALS,
) -> MessageStatus | None:
    """Store what a look-up told of an uncertain message; its status afterwards.

    None: it was settled meanwhile. Even then an acceptance counts, since all attempts have one reference: a message
    that a person put back in line is not sent again.

    `retention` is the shortest time, since the attempt, for which the provider keeps messages; None: unknown.
    """
    before = message = messages.by_id(tx, looked_up.message_id)
    if before is None or message is None or not _counts(answer, message, looked_up):
        return None
    if message.contact_forgotten and isinstance(answer, Unknown):
        answer = Unknown(rules.FORGOTTEN)
    if not isinstance(answer, Accepted) and (kept := _take_kept(tx, message)):
        for receipt in kept:
            report(tx, messages.by_id(tx, message.id) or message, receipt, now=now, policy=policy, signals=signals)
        return finish(tx, before, policy=policy, now=now, signals=signals)
    match answer:
        case Accepted():
            _withdraw_claim(message, signals)
            notes.add(tx, message.id, now, "looked up: accepted")
            _accept_found(tx, message, answer, now=now, policy=policy, signals=signals)
        case Absent():
            notes.add(tx, message.id, now, "looked up: absent")
            _settle_absent(tx, message, looked_up, retention=retention, now=now, policy=policy)
        case Unknown(reason):
            notes.add(tx, message.id, now, f"looked up: no answer ({reason})")
            wait = rules.next_look_up(looked_up.look_ups, policy.resend_after, is_restored=looked_up.is_restored)
            messages.looked_up(
                tx,
                message.id,
                absent_since=looked_up.absent_since,
                look_up_at=now + wait,
                now=now,
                reason=None,
            )
        case _:
            assert_never(answer)
    return finish(tx, before, policy=policy, now=now, signals=signals)


def _settle_absent(
    tx: Tx, message: Message, looked_up: Doubt, *, retention: timedelta | None, now: datetime, policy: Policy
) -> None:
    """The provider does not know the message: it is sent again if that proves that it never arrived."""
    absence = rules.judge_absence(looked_up, now, policy.resend_after, retention)
    is_blind = looked_up.is_restored and catching_up.is_owed(tx)  # it may have a STOP of which we do not know
    if absence is rules.Absence.PROVED and not is_blind:
        if rules.is_hopeless(message.doubts):
            messages.set_failed(tx, message.id, f"{message.doubts} times proved not accepted")
        else:
            put_back(tx, message, "proved not accepted", now)
        return
    wait = rules.next_look_up(looked_up.look_ups, policy.resend_after, is_restored=looked_up.is_restored)
    absent_since: datetime | None = looked_up.absent_since or now
    if absence is rules.Absence.MAY_BE_DELETED:
        wait, absent_since = rules.next_look_up_without_proof(looked_up.look_ups), None
    why = None if message.contact_forgotten else rules.why_unproved(absence, retention)
    messages.looked_up(tx, message.id, absent_since=absent_since, look_up_at=now + wait, now=now, reason=why)


def _counts(answer: LookUp, message: Message, looked_up: Doubt) -> bool:
    is_in_doubt = message.status is MessageStatus.UNCERTAIN and message.attempt == looked_up.attempt
    return is_in_doubt or isinstance(answer, Accepted)


def _take_kept(tx: Tx, message: Message) -> list[Receipt]:
    """What was reported of a message before it had a row, as may be after a restore: proof that it was accepted."""
    return events.take_receipts(tx, reference=message.reference, queue_id=None, wa_id=None)


def _accept_found(
    tx: Tx, message: Message, found: Accepted, *, now: datetime, policy: Policy, signals: Signals
) -> None:
    """A look-up tells how far a message got, and when it was sent: each is a proof of its own."""
    if message.attempted_at is None and found.created_at:  # of a request after the backup that was restored
        messages.set_started(tx, message.id, found.created_at, gap=None)
        message = replace(message, attempted_at=found.created_at)
    if found.sent_at and found.status is not ReceiptStatus.SENT:
        sent = replace(found, status=ReceiptStatus.SENT, reason=None)
        report(tx, message, _as_receipt(message, sent), now=now, policy=policy, signals=signals)
        message, found = messages.by_id(tx, message.id) or message, replace(found, sent_at=None)
    report(tx, message, _as_receipt(message, found), now=now, policy=policy, signals=signals)
    if message.contact_forgotten or message.attempt > 0 or not found.chat_id:
        return
    if contact := contacts.by_id(tx, message.contact_id):
        # Sent before a restore: until their number was imported again, this person was nobody we knew.
        replying.decide_unmatched(tx, contact, [found.chat_id], policy=policy, now=now, signals=signals)


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
            notes.add(tx, message.id, now, "resolved by hand: sent")
            report(tx, message, sent, now=now, policy=policy, signals=NO_SIGNALS)
        case MessageStatus.QUEUED:
            put_back(tx, message, "resolved by hand: retry", now)
        case _:
            messages.set_failed(tx, message.id, "resolved by hand: failed")
            notes.add(tx, message.id, now, "resolved by hand: failed")
    return finish(tx, message, policy=policy, now=now, signals=NO_SIGNALS)
