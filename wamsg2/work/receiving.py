"""One webhook event: stored once, decided, and all its effects in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from wamsg2 import consent_words, phone, rules
from wamsg2.model import (
    ConsentSource,
    Contact,
    Decision,
    DeviceChanged,
    Event,
    EventResult,
    EventSource,
    Ignored,
    InboundMessage,
    MatchedBy,
    Policy,
    Reaction,
    Reading,
    Receipt,
    ReplyOutcome,
)
from wamsg2.store import contacts, events, interactions, messages
from wamsg2.store.interactions import Interaction
from wamsg2.store.times import to_the_millisecond
from wamsg2.store.writer import Tx
from wamsg2.work import forgetting, people, replying, settling
from wamsg2.work.consent import opt_out
from wamsg2.work.signals import Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """One interaction as stored, for the log: no words, no number."""

    interaction_id: int
    type: str
    decision: Decision
    contact_id: int | None
    matched_by: MatchedBy | None
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
    event = forgetting.as_kept(tx, event, policy=policy, now=arrived_at)
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
    is_stop = consent_words.read(inbound.text, policy.opt_out_words) is rules.Consent.OPT_OUT
    if inbound.reading is Reading.OTHER_DEVICE and not is_stop:
        return ()
    match = people.identify(tx, inbound.sender, inbound.quoted_id)
    if is_stop:
        number = people.phone_of(inbound.sender)
        if number and contacts.by_phone_key(tx, phone.key(number)) is None:
            # A STOP from a number that we do not hold yet must outlive its import: the number becomes a contact.
            contacts.add(tx, number, phone.key(number), arrived_at)
            match = match or people.identify(tx, inbound.sender, inbound.quoted_id)
        others = [
            c for c in people.everyone(tx, inbound.sender, inbound.quoted_id) if match and c.id != match.contact.id
        ]
        _opt_out_all(tx, others, inbound, arrived_at=arrived_at, signals=signals)
    interaction = Interaction(
        event_id=event_id,
        contact_id=match.contact.id if match else None,
        type="edit" if inbound.reading is Reading.EDIT else inbound.type,
        text=inbound.text,
        wa_id=inbound.message_id,
        quoted_id=inbound.quoted_id,
        sender_phone=people.phone_of(inbound.sender),
        sender_chat=people.chat_of(inbound.sender),
        reply_at=to_the_millisecond(rules.reply_time(inbound.written_at, arrived_at)),
        written_at=to_the_millisecond(rules.consent_time(inbound.written_at, arrived_at)),
        received_at=to_the_millisecond(arrived_at),
        consent_only=inbound.reading is not Reading.REPLY,
        matched_by=match.by if match else None,
    )
    if match is None:
        # A STOP waits to be matched, whatever it came in.
        is_kept = is_stop or inbound.reading is Reading.REPLY
        outcome = ReplyOutcome.UNKNOWN_CONTACT if is_kept else ReplyOutcome.NOT_A_REPLY
        return [_record(tx, interaction, Decision(outcome))]
    contact = replying.meet(tx, match.contact, inbound.sender, policy=policy, now=arrived_at, signals=signals)
    recorded = replying.record(tx, contact, interaction, policy=policy, now=arrived_at, signals=signals)
    return [_recorded(interaction, interaction_id, decision) for interaction_id, decision in recorded]


def _opt_out_all(
    tx: Tx, others: Sequence[Contact], inbound: InboundMessage, *, arrived_at: datetime, signals: Signals
) -> None:
    """A STOP counts for every contact whom any id of its sender leads to [reply 8]."""
    written_at = to_the_millisecond(rules.consent_time(inbound.written_at, arrived_at))
    for contact in others:
        if not contact.forgotten and rules.consent_applies(written_at, contact.consent_at, rules.Consent.OPT_OUT):
            opt_out(
                tx,
                contact.id,
                source=ConsentSource.OTHER_ID,
                written_at=written_at,
                now=arrived_at,
                signals=signals,
            )


def _receive_reaction(tx: Tx, reaction: Reaction, event_id: int, arrived_at: datetime) -> Recorded:
    match = people.identify(tx, reaction.sender, reaction.message_id)
    interaction = Interaction(
        event_id=event_id,
        contact_id=match.contact.id if match else None,
        type="reaction",
        text=reaction.emoji,
        wa_id=reaction.message_id,
        quoted_id=reaction.message_id,
        sender_phone=people.phone_of(reaction.sender),
        sender_chat=people.chat_of(reaction.sender),
        reply_at=rules.reply_time(reaction.reacted_at, arrived_at),
        written_at=rules.consent_time(reaction.reacted_at, arrived_at),
        received_at=arrived_at,
        matched_by=match.by if match else None,
    )
    message = messages.by_provider_ids(tx, reference=None, queue_id=None, wa_id=reaction.message_id)
    campaign_id = message.campaign_id if message else None
    return _record(tx, interaction, Decision(ReplyOutcome.REACTION, campaign_id, message.id if message else None))


def _record(tx: Tx, interaction: Interaction, decision: Decision) -> Recorded:
    return _recorded(interaction, interactions.add(tx, interaction, decision), decision)


def _recorded(interaction: Interaction, interaction_id: int, decision: Decision) -> Recorded:
    late = (interaction.received_at - interaction.reply_at).total_seconds()
    return Recorded(
        interaction_id=interaction_id,
        type=interaction.type,
        decision=decision,
        contact_id=interaction.contact_id,
        matched_by=interaction.matched_by,
        late_seconds=round(late, 3),
    )
