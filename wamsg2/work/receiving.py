"""One webhook event: stored once, decided, and all its effects in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, assert_never

from wamsg2 import phone, rules
from wamsg2.model import (
    Contact,
    Decision,
    Event,
    EventResult,
    Ignored,
    InboundMessage,
    Policy,
    Reaction,
    Receipt,
    ReplyOutcome,
    Sender,
)
from wamsg2.store import contacts, events, interactions, messages
from wamsg2.store.interactions import Interaction
from wamsg2.store.writer import Tx
from wamsg2.work import people, settling
from wamsg2.work.consent import opt_out


class Signals(Protocol):
    """Who is told, on the event loop, once an event is on disk and before it is acknowledged."""

    def wake(self) -> None:
        """There may be something to send."""

    def withdraw(self, contact_id: int) -> None:
        """Nothing more may leave for this contact, even if it is claimed already."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One interaction as stored, for the log: no words, no number."""

    interaction_id: int
    type: str
    decision: Decision
    contact_id: int | None
    late_seconds: float


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an event."""

    result: EventResult
    interactions: Sequence[Recorded] = ()
    message_id: int | None = None


def receive(tx: Tx, event: Event, *, arrived_at: datetime, policy: Policy, signals: Signals) -> Received:
    """Take in one event. One that says the same as an earlier one changes nothing."""
    content = event.content
    result = EventResult.IGNORED if isinstance(content, Ignored) else EventResult.ACCEPTED
    event_id = events.add(
        tx, identity=event.identity, name=event.name, result=result, body=event.body, received_at=arrived_at
    )
    if event_id is None:
        return Received(EventResult.DUPLICATE)
    tx.after_commit(signals.wake)
    match content:
        case InboundMessage():
            recorded = _receive_message(tx, content, event_id, arrived_at=arrived_at, policy=policy, signals=signals)
            return Received(result, recorded)
        case Reaction():
            return Received(result, [_receive_reaction(tx, content, event_id, arrived_at)])
        case Receipt():
            message = settling.receive_receipt(tx, content, now=arrived_at, policy=policy)
            return Received(result, message_id=message.id if message else None)
        case Ignored():
            return Received(result)
        case _:
            assert_never(content)


def _receive_message(
    tx: Tx, inbound: InboundMessage, event_id: int, *, arrived_at: datetime, policy: Policy, signals: Signals
) -> Sequence[Recorded]:
    reply_at = rules.reply_time(inbound.written_at, arrived_at)
    consent = rules.consent_word(inbound.text)
    contact = people.identify(tx, inbound.sender, inbound.quoted_id)
    if contact is None and consent is rules.Consent.OPT_OUT:
        contact = _stranger(tx, inbound.sender, arrived_at)
    interaction = Interaction(
        event_id,
        contact.id if contact else None,
        inbound.type,
        inbound.text,
        inbound.message_id,
        inbound.quoted_id,
        people.phone_of(inbound.sender),
        next(iter(inbound.sender.chat_ids), None),
        reply_at,
        arrived_at,
    )
    if contact is None:
        return [_record(tx, interaction, Decision(ReplyOutcome.UNKNOWN_CONTACT))]
    people.learn(tx, contact, inbound.sender)
    quoted = messages.message_1_id(tx, contact.id, inbound.quoted_id) if inbound.quoted_id else None
    decisions = rules.decide_reply(reply_at, quoted, messages.message_1s_of(tx, contact.id), policy)
    if consent is not None:
        outcome = _change_consent(tx, contact, consent, reply_at, signals)
        decisions = rules.with_outcome(decisions, outcome)
    elif contact.opted_out:
        decisions = rules.with_outcome(decisions, ReplyOutcome.OPTED_OUT)
    return [
        _record(
            tx,
            interaction,
            settling.apply(
                tx, decision, contact.id, reply_at=reply_at, received_at=arrived_at, policy=policy, now=arrived_at
            ),
        )
        for decision in decisions
    ]


def _stranger(tx: Tx, sender: Sender, now: datetime) -> Contact | None:
    """A STOP from a number that we do not hold yet must outlive its import: the number becomes a contact."""
    number = people.phone_of(sender)
    return contacts.by_id(tx, contacts.add(tx, number, phone.key(number), now)) if number else None


def _change_consent(
    tx: Tx, contact: Contact, consent: rules.Consent, written_at: datetime, signals: Signals
) -> ReplyOutcome:
    applies = rules.consent_applies(written_at, contact.consent_at, consent)
    match consent:
        case rules.Consent.OPT_OUT:
            if applies:
                opt_out(tx, contact.id, written_at)
                tx.after_commit(lambda: signals.withdraw(contact.id))
            return ReplyOutcome.OPT_OUT
        case rules.Consent.OPT_IN:
            if applies:
                contacts.set_consent(tx, contact.id, opted_out=False, written_at=written_at)
            return ReplyOutcome.OPT_IN
        case _:
            assert_never(consent)


def _receive_reaction(tx: Tx, reaction: Reaction, event_id: int, arrived_at: datetime) -> Recorded:
    contact = people.identify(tx, reaction.sender, reaction.message_id)
    interaction = Interaction(
        event_id,
        contact.id if contact else None,
        "reaction",
        reaction.emoji,
        reaction.message_id,
        reaction.message_id,
        people.phone_of(reaction.sender),
        next(iter(reaction.sender.chat_ids), None),
        rules.reply_time(reaction.reacted_at, arrived_at),
        arrived_at,
    )
    message = messages.by_provider_ids(tx, reference=None, queue_id=None, wa_id=reaction.message_id)
    campaign_id = message.campaign_id if message else None
    return _record(tx, interaction, Decision(ReplyOutcome.REACTION, campaign_id, message.id if message else None))


def _record(tx: Tx, interaction: Interaction, decision: Decision) -> Recorded:
    interaction_id = interactions.add(tx, interaction, decision)
    late = (interaction.received_at - interaction.reply_at).total_seconds()
    return Recorded(interaction_id, interaction.type, decision, interaction.contact_id, round(late, 3))
