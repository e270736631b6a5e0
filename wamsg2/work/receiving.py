"""One webhook event: stored once, decided, and all its effects in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from wamsg2 import consent_words, phone, rules
from wamsg2.model import (
    Contact,
    Decision,
    DeviceChanged,
    Event,
    EventResult,
    EventSource,
    Ignored,
    InboundMessage,
    Policy,
    Reaction,
    Reading,
    Receipt,
    ReplyOutcome,
    Sender,
)
from wamsg2.store import contacts, events, interactions, messages
from wamsg2.store.interactions import Interaction
from wamsg2.store.writer import Tx
from wamsg2.work import forgetting, people, replying, settling
from wamsg2.work.replying import Reply
from wamsg2.work.signals import Signals


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


def receive(
    tx: Tx,
    event: Event,
    *,
    arrived_at: datetime,
    policy: Policy,
    signals: Signals,
    source: EventSource = EventSource.WEBHOOK,
) -> Received:
    """Take in one event. One that says the same as an earlier one changes nothing."""
    event = forgetting.as_kept(tx, event, arrived_at)
    content = event.content
    result = EventResult.IGNORED if _is_ignored(content) else EventResult.ACCEPTED
    event_id = events.add(
        tx,
        identity=event.identity,
        name=event.name,
        result=result,
        source=source,
        body=event.body,
        received_at=arrived_at,
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
            settling.receive_receipt(tx, content, now=arrived_at, policy=policy, signals=signals)
            return Received(result)
        case DeviceChanged() | Ignored():
            return Received(result)
        case _:
            assert_never(content)


def _is_ignored(content: InboundMessage | Reaction | Receipt | DeviceChanged | Ignored) -> bool:
    # What was written to another device of the account is kept, and read for an opt-out [reply 1].
    other = isinstance(content, InboundMessage) and content.reading is Reading.OTHER_DEVICE
    return other or isinstance(content, Ignored)


def receive_row(
    tx: Tx,
    row: Sequence[Event],
    *,
    arrived_at: datetime,
    policy: Policy,
    signals: Signals,
    source: EventSource,
) -> Sequence[Received]:
    """Take in events that came at once, each on its own; what became of each."""
    return [receive(tx, event, arrived_at=arrived_at, policy=policy, signals=signals, source=source) for event in row]


def _receive_message(
    tx: Tx, inbound: InboundMessage, event_id: int, *, arrived_at: datetime, policy: Policy, signals: Signals
) -> Sequence[Recorded]:
    word = consent_words.read(inbound.text, policy.opt_out_words)
    if inbound.reading is Reading.OTHER_DEVICE and word is not rules.Consent.OPT_OUT:
        return ()
    reply_at = rules.reply_time(inbound.written_at, arrived_at)
    written_at = rules.consent_time(inbound.written_at, arrived_at)
    contact = people.identify(tx, inbound.sender, inbound.quoted_id)
    if contact is None and word is rules.Consent.OPT_OUT:
        contact = _stranger(tx, inbound.sender, arrived_at)
    interaction = Interaction(
        event_id,
        contact.id if contact else None,
        inbound.type,
        inbound.text,
        inbound.message_id,
        inbound.quoted_id,
        people.phone_of(inbound.sender),
        people.chat_of(inbound.sender),
        reply_at,
        written_at,
        arrived_at,
    )
    if inbound.reading is not Reading.REPLY and word not in (rules.Consent.OPT_OUT, rules.Consent.OPT_IN):
        return [_record(tx, interaction, Decision(ReplyOutcome.NOT_A_REPLY))]
    if contact is None:
        return [_record(tx, interaction, Decision(ReplyOutcome.UNKNOWN_CONTACT))]
    reply = Reply(inbound.text, inbound.quoted_id, reply_at, written_at, arrived_at)
    # In the order of writing: what they wrote before we knew this id of theirs comes first.
    contact = replying.meet(tx, contact, inbound.sender, policy=policy, now=arrived_at, signals=signals)
    decisions = replying.answer(tx, contact, reply, policy=policy, now=arrived_at, signals=signals)
    return [_record(tx, interaction, decision) for decision in decisions]


def _stranger(tx: Tx, sender: Sender, now: datetime) -> Contact | None:
    """A STOP from a number that we do not hold yet must outlive its import: the number becomes a contact."""
    number = people.phone_of(sender)
    return contacts.by_id(tx, contacts.add(tx, number, phone.key(number), now)) if number else None


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
        people.chat_of(reaction.sender),
        rules.reply_time(reaction.reacted_at, arrived_at),
        rules.consent_time(reaction.reacted_at, arrived_at),
        arrived_at,
    )
    message = messages.by_provider_ids(tx, reference=None, queue_id=None, wa_id=reaction.message_id)
    campaign_id = message.campaign_id if message else None
    return _record(tx, interaction, Decision(ReplyOutcome.REACTION, campaign_id, message.id if message else None))


def _record(tx: Tx, interaction: Interaction, decision: Decision) -> Recorded:
    interaction_id = interactions.add(tx, interaction, decision)
    late = (interaction.received_at - interaction.reply_at).total_seconds()
    return Recorded(interaction_id, interaction.type, decision, interaction.contact_id, round(late, 3))
