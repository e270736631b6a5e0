"""What a contact's words lead to: decided by the rules, done in the transaction that stores them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, assert_never

from wamsg2 import consent_words, rules
from wamsg2.model import (
    WENT_OUT,
    ConsentSource,
    Contact,
    Decision,
    Message,
    Overlap,
    Policy,
    ReplyOutcome,
    Sender,
    Step,
    WamsgError,
)
from wamsg2.store import contacts, interactions, messages
from wamsg2.store.interactions import Interaction
from wamsg2.store.writer import Tx
from wamsg2.work import people
from wamsg2.work.consent import opt_out
from wamsg2.work.signals import NO_SIGNALS, Signals


@dataclass(frozen=True, slots=True)
class Reply:
    """What somebody wrote, as far as it decides anything."""

    text: str
    quoted_id: str | None
    reply_at: datetime
    written_at: datetime  #: as `reply_at`, but by the provider's clock alone: for words of consent
    received_at: datetime


def answer(
    tx: Tx, contact: Contact, reply: Reply, *, policy: Policy, now: datetime, signals: Signals
) -> Sequence[Decision]:
    """Decide a reply and do what follows; the decisions as they stand, at least one."""
    quoted = messages.message_1_id(tx, contact.id, reply.quoted_id) if reply.quoted_id else None
    message_1s = messages.message_1s_of(tx, contact.id, reply.reply_at, policy.window)
    decisions = rules.decide_reply(reply.reply_at, quoted, message_1s, policy)
    consent = consent_words.read(reply.text, policy.opt_out_words)
    if consent is not None and consent is not rules.Consent.OPT_OUT_SUSPECTED:
        outcome = _change_consent(tx, contact, consent, written_at=reply.written_at, now=now, signals=signals)
        decisions = rules.with_outcome(decisions, outcome)
    elif contact.opted_out:
        decisions = rules.with_outcome(decisions, ReplyOutcome.OPTED_OUT)
    return [apply(tx, decision, contact, reply, policy=policy, now=now) for decision in decisions]


def _change_consent(
    tx: Tx,
    contact: Contact,
    consent: Literal[rules.Consent.OPT_OUT, rules.Consent.OPT_IN],
    *,
    written_at: datetime,
    now: datetime,
    signals: Signals,
) -> ReplyOutcome:
    applies = rules.consent_applies(written_at, contact.consent_at, consent)
    match consent:
        case rules.Consent.OPT_OUT:
            if applies:
                opt_out(tx, contact.id, source=ConsentSource.WORD, written_at=written_at, now=now)
                # Before the commit, for no request may start behind it. Where it is refused, what was withdrawn goes
                # back in line.
                signals.withdraw(contact.id)
            return ReplyOutcome.OPT_OUT
        case rules.Consent.OPT_IN:
            if applies:
                contacts.set_consent(
                    tx, contact.id, opted_out=False, source=ConsentSource.WORD, written_at=written_at, now=now
                )
            return ReplyOutcome.OPT_IN
        case _:
            assert_never(consent)


def apply(tx: Tx, decision: Decision, contact: Contact, reply: Reply, *, policy: Policy, now: datetime) -> Decision:
    """Do what a decision says; the decision as it stands once the unique index has judged."""
    if decision.outcome is ReplyOutcome.WAITING_FOR_MESSAGE_1 and decision.message_1_id is not None:
        messages.look_up_soon(tx, decision.message_1_id, now)
    if decision.outcome is not ReplyOutcome.MESSAGE_2_QUEUED or decision.campaign_id is None:
        return decision
    status, reason = rules.first_status(restored_at=decision.restored_at, reply_at=reply.reply_at)
    created = messages.add_message_2(
        tx,
        contact_id=contact.id,
        campaign_id=decision.campaign_id,
        reference=rules.reference(decision.campaign_key, contact.reference_key, Step.MESSAGE_2),
        reply_at=reply.reply_at,
        window=policy.window,
        due_at=reply.received_at + policy.delay,
        now=now,
        status=status,
        reason=reason,
    )
    return decision if created else replace(decision, outcome=ReplyOutcome.MESSAGE_2_EXISTS)


def decide_waiting(tx: Tx, message_1: Message, policy: Policy, now: datetime) -> None:
    """Decide the replies that overtook this Message 1, now that it is known whether it went out [reply 5]."""
    replies = interactions.waiting_for(tx, message_1.id)
    if message_1.attempt == 0 and message_1.status in WENT_OUT:
        # Sent before a restore, and known of only now: replies that came before were answers to nothing.
        replies += interactions.unanswered(tx, message_1.contact_id)
    for waiting in replies:
        if (contact := contacts.by_id(tx, message_1.contact_id)) is None:
            return
        reply = Reply("", waiting.quoted_id, waiting.reply_at, waiting.reply_at, waiting.received_at)
        quoted = messages.message_1_id(tx, contact.id, reply.quoted_id) if reply.quoted_id else None
        message_1s = messages.message_1s_of(tx, contact.id, reply.reply_at, policy.window)
        decisions = rules.decide_reply(reply.reply_at, quoted, message_1s, policy)
        # Where every open campaign is answered, the others have decided about this reply on their own.
        own = [d for d in decisions if d.message_1_id == message_1.id]
        if own or policy.overlap is Overlap.ALL:
            decision = own[0] if own else Decision(ReplyOutcome.NO_RECENT_MESSAGE_1)
        else:
            decision = decisions[0]
        if contact.opted_out:
            decision = replace(decision, outcome=ReplyOutcome.OPTED_OUT)
        decision = apply(tx, decision, contact, reply, policy=policy, now=now)
        interactions.set_decision(tx, waiting.id, contact.id, decision, now)


def assign(
    tx: Tx, interaction_id: int, phone_key: str, *, policy: Policy, now: datetime
) -> Mapping[int, ReplyOutcome]:
    """A person says whose an unmatched interaction is: from now on it is as if that had been known.

    An id that hides the number is learned for the contact, and whatever else came from it is decided too.

    Returns:
        What became of the interaction, and of each other one that this brought to its decision.

    Raises:
        WamsgError: there is no such interaction or contact, or whose it is was known.
    """
    outcome = interactions.outcome_of(tx, interaction_id)
    if outcome is None:
        raise WamsgError(f"there is no interaction {interaction_id}")
    if (unmatched := interactions.unmatched_by_id(tx, interaction_id)) is None:
        raise WamsgError(f"interaction {interaction_id} is {outcome}: only an unmatched one can be assigned")
    if (contact := contacts.by_phone_key(tx, phone_key)) is None:
        raise WamsgError("there is no contact with this number")
    chat_id = unmatched.sender_chat
    # An id with another number in it stays that number's: who has it may become a contact of their own.
    hidden = (chat_id,) if chat_id and people.phone_of_chat(chat_id) is None else ()
    decided = [interaction_id, *(i for c in hidden for i, _ in interactions.unmatched_from(tx, c))]
    contact = meet(tx, contact, Sender(hidden, None), policy=policy, now=now, signals=NO_SIGNALS)
    if interactions.outcome_of(tx, interaction_id) is ReplyOutcome.UNKNOWN_CONTACT:
        _decide_unmatched(tx, contact, interaction_id, unmatched, policy=policy, now=now, signals=NO_SIGNALS)
    return {i: outcome for i in decided if (outcome := interactions.outcome_of(tx, i))}


def meet(tx: Tx, contact: Contact, sender: Sender, *, policy: Policy, now: datetime, signals: Signals) -> Contact:
    """Learn a contact's chat ids; what somebody unknown wrote from one of them was this contact's, and is decided.

    Returns:
        The contact as it stands then: one of those words may have been a STOP.
    """
    learned = people.learn(tx, contact.id, contact.phone_key, sender)
    return decide_unmatched(tx, contact, learned, policy=policy, now=now, signals=signals)


def decide_unmatched(
    tx: Tx, contact: Contact, chat_ids: Iterable[str], *, policy: Policy, now: datetime, signals: Signals
) -> Contact:
    """Decide what somebody unknown wrote from these chat ids, which are the contact's.

    Returns:
        The contact as it stands then.
    """
    for chat_id in chat_ids:
        for interaction_id, unmatched in interactions.unmatched_from(tx, chat_id, people.phone_of_chat(chat_id)):
            _decide_unmatched(tx, contact, interaction_id, unmatched, policy=policy, now=now, signals=signals)
            contact = contacts.by_id(tx, contact.id) or contact
    return contact


def _decide_unmatched(
    tx: Tx,
    contact: Contact,
    interaction_id: int,
    unmatched: Interaction,
    *,
    policy: Policy,
    now: datetime,
    signals: Signals,
) -> None:
    reply = Reply(
        unmatched.text, unmatched.quoted_id, unmatched.reply_at, unmatched.written_at, unmatched.received_at
    )
    first, *others = answer(tx, contact, reply, policy=policy, now=now, signals=signals)
    interactions.set_decision(tx, interaction_id, contact.id, first, now)
    for decision in others:
        interactions.add(tx, replace(unmatched, contact_id=contact.id), decision)
    tx.after_commit(signals.wake)
