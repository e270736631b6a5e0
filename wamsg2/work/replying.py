"""What a contact's words lead to: decided by the rules, done in the transaction that stores them.

Words are decided in the order of writing, not of arrival. When an older word arrives, or a Message 1 turns out to
have gone out, everything that the contact wrote since is decided again. Message 2s that were never claimed follow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import assert_never

from wamsg2 import consent_words, rules
from wamsg2.model import (
    UNSETTLED,
    WENT_OUT,
    ConsentSource,
    Contact,
    Decision,
    MatchedBy,
    Message,
    Message1,
    MessageStatus,
    Overlap,
    Policy,
    ReplyOutcome,
    Ruling,
    Sender,
    Step,
    WamsgError,
)
from wamsg2.rules import Consent, ConsentEvent, Consents, Suspected
from wamsg2.store import contacts, interactions, messages
from wamsg2.store.interactions import Interaction, Row, Written
from wamsg2.store.writer import Tx
from wamsg2.work import people
from wamsg2.work.consent import opt_out
from wamsg2.work.signals import NO_SIGNALS, Signals


def record(
    tx: Tx, contact: Contact, interaction: Interaction, *, policy: Policy, now: datetime, signals: Signals
) -> Sequence[tuple[int, Decision]]:
    """Store what a contact wrote with what it comes to; the ids of its rows and their decisions, at least one."""
    since = interaction.written_at
    new = Written(interaction=replace(interaction, contact_id=contact.id))
    words = [*interactions.written_since(tx, contact.id, since, policy.window), new]
    decided = _decide(tx, contact, words, since, policy=policy, now=now, signals=signals)
    return [(interactions.add(tx, new.interaction, decision), decision) for decision in decided[-1]]


def decide_again(
    tx: Tx, contact_id: int, since: datetime, *, policy: Policy, now: datetime, signals: Signals
) -> Contact | None:
    """Decide again what a contact wrote from then on; the contact as it stands afterwards [reply 10]."""
    contact = contacts.by_id(tx, contact_id)
    if contact is None:
        return None
    words = interactions.written_since(tx, contact_id, since, policy.window)
    if any(word.interaction.written_at >= since for word in words):
        _decide(tx, contact, words, since, policy=policy, now=now, signals=signals)
        tx.after_commit(signals.wake)
    return contacts.by_id(tx, contact_id)


def message_1_changed(
    tx: Tx, before: Message, after: Message, *, policy: Policy, now: datetime, signals: Signals
) -> None:
    """More is known of a Message 1: the replies that this may concern are decided again [reply 5, 10]."""
    times = (before.sent_at, before.attempted_at, after.sent_at, after.attempted_at)
    firsts = [rules.window_opens(at) for at in times if at is not None]
    if before.status in UNSETTLED and (waiting_since := interactions.first_waiting_for(tx, after.id)):
        firsts.append(waiting_since)
    if (
        after.attempt == 0
        and after.status in WENT_OUT
        and (since := interactions.first_unanswered(tx, after.contact_id))
    ):
        # Sent before a restore, and known of only now: replies that came before were answers to nothing.
        firsts.append(since)
    if firsts:
        decide_again(tx, after.contact_id, min(firsts), policy=policy, now=now, signals=signals)


# --- deciding ------------------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class _Board:
    """What a contact's words are decided by, and which word has earned which Message 2 so far."""

    consents: Consents
    message_1s: Mapping[int, Message1]  #: by their ids
    free: frozenset[int]  #: campaigns whose Message 2 follows what is decided here: it was never claimed
    suspected: list[Suspected] = field(default_factory=list)
    ahead: list[datetime] = field(default_factory=list)  #: times of the words of consent that are still to come
    earned: dict[int, tuple[Written, Decision]] = field(default_factory=dict)  #: by campaign


def _decide(
    tx: Tx,
    contact: Contact,
    words: Sequence[Written],
    since: datetime,
    *,
    policy: Policy,
    now: datetime,
    signals: Signals,
) -> Sequence[Sequence[Decision]]:
    """Decide words in the order of writing; store what changes for those that are stored. The decisions of each.

    Words from before `since` are there for being suspected opt-outs: they stay as they are.
    """
    says = [_says(word, policy) for word in words]
    consents, news = _consents_of(tx, contact, words, says)
    _follow(tx, contact, consents.newest, news, now=now, signals=signals)
    board = _board(tx, contact, words, consents, policy)
    is_consent = [said is Consent.OPT_OUT or said is Consent.OPT_IN for said in says]
    board.ahead.extend(w.interaction.written_at for w, is_one in zip(words, is_consent, strict=True) if is_one)
    decided: dict[int, Sequence[Decision]] = {}
    # Among words of one moment the one that is answered already comes first, else the one that came first.
    for i in sorted(range(len(words)), key=lambda i: (words[i].interaction.written_at, not _is_answered(words[i]))):
        word, said = words[i], says[i]
        if is_consent[i]:
            board.ahead.remove(word.interaction.written_at)
        if word.interaction.written_at < since:
            decided[i] = [_as_stored(row) for row in word.rows]
        else:
            decided[i] = _judge(tx, contact, board, word, said, policy=policy, now=now)
        _note(board, word, said)
    _settle_message_2s(tx, contact, board, decided, policy=policy, now=now)
    for i, word in enumerate(words):
        if word.rows and word.interaction.written_at >= since:
            _store_changes(tx, word, decided[i], now)
    return [decided[i] for i in range(len(words))]


def _is_answered(word: Written) -> bool:
    return any(row.outcome is ReplyOutcome.MESSAGE_2_QUEUED for row in word.rows)


def _note(board: _Board, word: Written, said: Consent | None) -> None:
    """Remember what later words are decided by."""
    if said is Consent.OPT_OUT_SUSPECTED:
        board.suspected.append(Suspected(word.interaction.written_at, word.interaction.reply_at))


def _as_stored(row: Row) -> Decision:
    return Decision(row.outcome, row.campaign_id, row.message_1_id)


def _says(word: Written, policy: Policy) -> Consent | None:
    """What the words say of consent. What was an opt-out or opt-in once stays one: its words may be gone by now."""
    match word.interaction.ruling:
        case Ruling.OPT_OUT:
            return Consent.OPT_OUT
        case Ruling.REPLY:
            return None
        case None:
            pass
        case _:
            assert_never(word.interaction.ruling)
    outcomes = {row.outcome for row in word.rows}
    if ReplyOutcome.OPT_OUT in outcomes:
        return Consent.OPT_OUT
    if ReplyOutcome.OPT_IN in outcomes:
        return Consent.OPT_IN
    if word.interaction.text == "" and ReplyOutcome.OPT_OUT_SUSPECTED in outcomes:
        return Consent.OPT_OUT_SUSPECTED
    return consent_words.read(word.interaction.text, policy.opt_out_words)


def _consents_of(
    tx: Tx, contact: Contact, words: Sequence[Written], says: Sequence[Consent | None]
) -> tuple[Consents, Sequence[ConsentEvent]]:
    """All events of the contact's consent, and those that the history does not have yet."""
    told = [
        (word.interaction.written_at, said)
        for word, said in zip(words, says, strict=True)
        if said is Consent.OPT_OUT or said is Consent.OPT_IN
    ]
    if contact.consent_at is None and not told:
        return Consents(), ()
    times = {at for at, _ in told}
    history = contacts.consents_of(tx, contact.id)
    known = [
        ConsentEvent(past.written_at, past.opted_out)
        for past in history
        # A word that is here says for itself what it was.
        if past.source is not ConsentSource.WORD or past.written_at not in times
    ]
    consents = rules.read_consents(told, known)
    past_events = {(past.written_at, past.opted_out) for past in history}
    return consents, [e for e in consents.events if (e.written_at, e.opted_out) not in past_events]


def _follow(
    tx: Tx,
    contact: Contact,
    newest: ConsentEvent | None,
    news: Sequence[ConsentEvent],
    *,
    now: datetime,
    signals: Signals,
) -> None:
    """Store what is new of the contact's consent. The newest event holds, and is the last of the history."""
    if newest is None or (
        not news and (newest.written_at, newest.opted_out) == (contact.consent_at, contact.opted_out)
    ):
        return
    for event in [*(e for e in news if e != newest), newest]:
        source, written_at = ConsentSource.WORD, event.written_at
        if event != newest:
            contacts.add_consent(
                tx, contact.id, opted_out=event.opted_out, source=source, written_at=written_at, now=now
            )
        elif event.opted_out:
            opt_out(tx, contact.id, source=source, written_at=written_at, now=now, signals=signals)
        else:
            contacts.set_consent(tx, contact.id, opted_out=False, source=source, written_at=written_at, now=now)


def _board(tx: Tx, contact: Contact, words: Sequence[Written], consents: Consents, policy: Policy) -> _Board:
    times = {word.interaction.reply_at for word in words}
    # Twice the window where something is decided again: its Message 1 may have left its window since.
    windows = 2 if any(word.rows for word in words) else 1
    found = messages.message_1s_of(tx, contact.id, min(times), policy.window * windows)
    # By the row that earned it: what comes from a clock ahead of ours has the one time of its arrival.
    earned = {
        (row.campaign_id, word.interaction.reply_at)
        for word in words
        for row in word.rows
        if row.outcome is ReplyOutcome.MESSAGE_2_QUEUED
    }
    free = frozenset(
        m.campaign_id
        for m in found
        if m.message_2 and m.message_2.is_untouched and (m.campaign_id, m.message_2.reply_at) in earned
    )
    return _Board(
        consents=consents,
        message_1s={
            m.id: replace(m, message_2_exists=m.message_2 is not None and m.campaign_id not in free) for m in found
        },
        free=free,
    )


def _judge(
    tx: Tx, contact: Contact, board: _Board, word: Written, said: Consent | None, *, policy: Policy, now: datetime
) -> Sequence[Decision]:
    """What one word comes to, once per campaign that it answers."""
    reply = word.interaction
    answered = [_as_stored(row) for row in word.rows if _is_final(row, board)]
    if answered and policy.overlap is Overlap.LATEST:
        return answered
    opts_in = said is Consent.OPT_IN and reply.written_at in board.consents.opt_ins
    if reply.consent_only and said is not Consent.OPT_OUT and not opts_in:
        return (Decision(ReplyOutcome.NOT_A_REPLY),)
    quoted = messages.message_1_id(tx, contact.id, reply.quoted_id) if reply.quoted_id else None
    decisions: Sequence[Decision] = rules.decide_reply(
        reply.reply_at,
        quoted,
        tuple(board.message_1s.values()),
        policy,
        quotes_unknown=reply.quoted_id is not None and not messages.is_known(tx, reply.quoted_id),
    )
    if said is Consent.OPT_OUT:
        return answered or rules.with_outcome(decisions, ReplyOutcome.OPT_OUT)
    if opts_in:
        return answered or rules.with_outcome(decisions, ReplyOutcome.OPT_IN)
    if board.consents.opted_out_at(reply.written_at, inclusive=reply.written_at not in board.ahead):
        decisions = rules.with_outcome(decisions, ReplyOutcome.OPTED_OUT)
    elif said is Consent.OPT_OUT_SUSPECTED:
        decisions = rules.with_outcome(decisions, ReplyOutcome.OPT_OUT_SUSPECTED)
    elif _waited_too_long(board, word):
        decisions = rules.with_outcome(decisions, ReplyOutcome.OPTED_OUT)
    else:
        decisions = [_earn(tx, board, word, _weigh(board, reply, d, policy), now=now) for d in decisions]
    final = {decision.campaign_id for decision in answered}
    return [*answered, *(d for d in decisions if not answered or d.campaign_id not in {None, *final})]


def _waited_too_long(board: _Board, word: Written) -> bool:
    """Whether the contact opted out while their reply waited for its Message 1."""
    waited = any(row.outcome is ReplyOutcome.WAITING_FOR_MESSAGE_1 for row in word.rows)
    return waited and board.consents.opted_out_since(word.interaction.written_at)


def _is_final(row: Row, board: _Board) -> bool:
    """Whether a word earned a Message 2 that was claimed since: nothing takes that back."""
    return row.outcome is ReplyOutcome.MESSAGE_2_QUEUED and row.campaign_id not in board.free


def _weigh(board: _Board, reply: Interaction, decision: Decision, policy: Policy) -> Decision:
    """The decision, unless a suspected opt-out before it is undecided, or was decided too late."""
    message_1 = board.message_1s.get(decision.message_1_id or 0)
    if message_1 is None:
        return decision
    if reply.ruled_at is None:
        return rules.hold(decision, reply.written_at, message_1, board.suspected, policy.window)
    if rules.is_ruled_in_time(reply.ruled_at, message_1, policy.window):
        return decision
    return Decision(ReplyOutcome.NO_RECENT_MESSAGE_1)


def _earn(tx: Tx, board: _Board, word: Written, decision: Decision, *, now: datetime) -> Decision:
    """The first word that earns a campaign's Message 2 is answered; the others find that it exists."""
    if decision.outcome is ReplyOutcome.WAITING_FOR_MESSAGE_1 and decision.message_1_id is not None:
        messages.look_up_soon(tx, decision.message_1_id, now)
    if decision.outcome is not ReplyOutcome.MESSAGE_2_QUEUED or decision.campaign_id is None:
        return decision
    if board.earned.setdefault(decision.campaign_id, (word, decision))[0] is not word:
        return replace(decision, outcome=ReplyOutcome.MESSAGE_2_EXISTS)
    return decision


def _settle_message_2s(
    tx: Tx,
    contact: Contact,
    board: _Board,
    decided: dict[int, Sequence[Decision]],
    *,
    policy: Policy,
    now: datetime,
) -> None:
    """Make the Message 2s follow what was earned; and the decisions what the unique index has judged."""
    for message_1 in board.message_1s.values():
        message_2, campaign_id = message_1.message_2, message_1.campaign_id
        if message_2 is None or not message_2.is_untouched or campaign_id in board.earned:
            continue
        if campaign_id in board.free:
            messages.take_back_message_2(tx, message_2.id)
        elif board.consents.opted_out_since(message_2.reply_at):
            # An earlier word earned it; the opt-out behind that word cancels it, even if it was taken back since.
            cancelled = MessageStatus.CANCELLED
            reply_at = message_2.reply_at
            messages.keep_message_2(
                tx, contact.id, campaign_id, cancelled, rules.OPTED_OUT, reply_at=reply_at, due_at=now, now=now
            )
    for campaign_id, (word, decision) in board.earned.items():
        if campaign_id in board.free:
            status, reason = _first_status(board, word.interaction, decision)
            reply_at, due_at = word.interaction.reply_at, now + policy.delay
            messages.keep_message_2(
                tx, contact.id, campaign_id, status, reason, reply_at=reply_at, due_at=due_at, now=now
            )
        elif not _add_message_2(tx, contact, board, word.interaction, decision, policy=policy, now=now):
            for i, decisions in decided.items():
                decided[i] = [
                    replace(d, outcome=ReplyOutcome.MESSAGE_2_EXISTS) if d == decision else d for d in decisions
                ]


def _first_status(board: _Board, reply: Interaction, decision: Decision) -> tuple[MessageStatus, str | None]:
    return rules.first_status(
        contact_opted_out=board.consents.opted_out_since(reply.written_at),
        restored_at=decision.restored_at,
        reply_at=reply.reply_at,
    )


def _add_message_2(
    tx: Tx, contact: Contact, board: _Board, reply: Interaction, decision: Decision, *, policy: Policy, now: datetime
) -> bool:
    """Create the Message 2 of a decision; False where the unique index says that there is one."""
    assert decision.campaign_id is not None  # noqa: S101 - earned for a campaign
    status, reason = _first_status(board, reply, decision)
    return messages.add_message_2(
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


def _store_changes(tx: Tx, word: Written, decisions: Sequence[Decision], now: datetime) -> None:
    """Bring the rows of a stored word to its decisions: one row each, by campaign where that is possible."""
    left = list(word.rows)
    for decision in decisions:
        row = next((r for r in left if r.campaign_id == decision.campaign_id), left[0] if left else None)
        if row is None:
            interactions.add(tx, word.interaction, decision)
            continue
        left.remove(row)
        if _as_stored(row) != decision:
            interactions.set_decision(tx, row.id, decision, now)
    for row in left:
        interactions.remove(tx, row.id)


# --- whose words they are ------------------------------------------------------------------------------------


def assign(
    tx: Tx, interaction_id: int, phone_key: str, *, policy: Policy, now: datetime
) -> Mapping[int, ReplyOutcome]:
    """A person says whose an unmatched interaction is: from now on it is as if that had been known.

    An id that hides the number is learned for the contact, and everything else that came from it is decided too.

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
    found = {interaction_id: unmatched} | {i: w for c in hidden for i, w in interactions.unmatched_from(tx, c)}
    people.learn(tx, contact.id, contact.phone_key, Sender(hidden, None))
    _adopt(tx, contact, found, MatchedBy.PERSON, policy=policy, now=now, signals=NO_SIGNALS)
    return {i: outcome for i in found if (outcome := interactions.outcome_of(tx, i))}


def rule(tx: Tx, interaction_id: int, ruling: Ruling, *, policy: Policy, now: datetime) -> ReplyOutcome:
    """A person decides whether a suspected opt-out is one, or a reply; what it comes to.

    Raises:
        WamsgError: there is no such interaction, or it is not a suspected opt-out.
    """
    outcome = interactions.outcome_of(tx, interaction_id)
    if outcome is None:
        raise WamsgError(f"there is no interaction {interaction_id}")
    contact_id = interactions.contact_of(tx, interaction_id)
    if outcome is not ReplyOutcome.OPT_OUT_SUSPECTED or contact_id is None:
        raise WamsgError(f"interaction {interaction_id} is {outcome}: only a suspected opt-out is to be decided")
    written_at = interactions.rule(tx, interaction_id, ruling, now)
    decide_again(tx, contact_id, written_at, policy=policy, now=now, signals=NO_SIGNALS)
    return interactions.outcome_of(tx, interaction_id) or outcome


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
    found = {
        interaction_id: unmatched
        for chat_id in chat_ids
        for interaction_id, unmatched in interactions.unmatched_from(tx, chat_id, people.phone_of_chat(chat_id))
    }
    return _adopt(tx, contact, found, MatchedBy.CHAT, policy=policy, now=now, signals=signals)


def _adopt(
    tx: Tx,
    contact: Contact,
    found: Mapping[int, Interaction],
    matched_by: MatchedBy,
    *,
    policy: Policy,
    now: datetime,
    signals: Signals,
) -> Contact:
    if not found:
        return contact
    for interaction_id in found:
        interactions.adopt(tx, interaction_id, contact.id, matched_by)
    since = min(unmatched.written_at for unmatched in found.values())
    return decide_again(tx, contact.id, since, policy=policy, now=now, signals=signals) or contact
