"""The promises P1 to P7, judged by what really happened and by what stands in the database."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise

from tests.simulation.bodies import DEVICE
from tests.simulation.evidence import CLAIM, Breach, Evidence, at_once, is_reply, went_between, words_of
from tests.simulation.ledger import (
    Attempt,
    Blank,
    Meaning,
    Message,
    News,
    Person,
    Report,
    Shown,
    Stage,
    Touch,
    Word,
)
from tests.simulation.timeline import HOUR_SECONDS, Moment, at, since_start
from tests.simulation.world import World
from wamsg2 import rules
from wamsg2.model import CampaignStatus, Overlap
from wamsg2.store import verify
from wamsg2.store.times import from_ms, to_ms
from wamsg2.wassenger.events import INBOUND_EVENTS, parse_row

_MOMENT_SECONDS = 1e-6
#: What is written within so little of a decision by hand may count as before it or after it: times are whole seconds.
_STAMP_SECONDS = 2.0
_RANK = {"sent": 1, "failed": 2, "delivered": 3, "read": 4}
#: Others may have to wait for a message that is refused for itself, which is tried every few minutes.
_LONGEST_IN_THE_WAY_SECONDS, _TRIES_IN_THE_WAY = 6 * HOUR_SECONDS, 8
#: A request is accepted at most so long after its start, and leaves the provider's queue later.
_LATEST_SECONDS = 15.0
_REMOVED = (None, None, None)
_STAGES = {"delivered": {Stage.DELIVERED, Stage.READ}, "read": {Stage.READ}, "failed": {Stage.FAILED}}


def at_most_once(evidence: Evidence) -> Iterator[Breach]:
    """P1."""
    first: dict[tuple[int, str, int], Message] = {}
    for message in evidence.world.ledger.messages:
        attempt = message.attempt
        before = first.setdefault((attempt.person.index, attempt.campaign.name, attempt.step), message)
        if before is not message:
            what = f"message {attempt.step} of {attempt.campaign.name} was accepted twice"
            yield Breach("P1", what, attempt.person, attempt.reference, message.accepted)


def message_2_follows_a_reply(evidence: Evidence) -> Iterator[Breach]:
    """P2."""
    world = evidence.world
    words = words_of(world)
    message_1s: dict[tuple[int, str], list[Message]] = defaultdict(list)
    for message in world.ledger.messages:
        attempt = message.attempt
        person, campaign = attempt.person, attempt.campaign

        def breach(what: str, attempt: Attempt = attempt) -> Breach:
            return Breach("P2", what, attempt.person, attempt.reference, attempt.started)

        if message.text != campaign.text(person, attempt.step):
            yield breach(f"somebody else's text: {message.text!r}")
        if attempt.step == 1:
            message_1s[person.index, campaign.name].append(message)
            continue
        before = [m for m in message_1s[person.index, campaign.name] if m.accepted < attempt.started]
        replies = [w for w in words[person.human] if is_reply(w) and w.taken and w.taken < attempt.started]
        if not before:
            yield breach(f"message 2 of {campaign.name} without a Message 1")
        elif not any(_may_answer(world, word, message_1) for word in replies for message_1 in before):
            yield breach(f"message 2 of {campaign.name} without a reply in the window")


def a_reply_answers_one(evidence: Evidence) -> Iterator[Breach]:
    """P2, where only the latest campaign is answered: no more Message 2s than replies."""
    world = evidence.world
    if world.habits.policy.overlap is not Overlap.LATEST:
        return
    words = words_of(world)
    answers: dict[int, int] = defaultdict(int)
    for message in world.ledger.messages:
        person = message.attempt.person
        answers[person.human] += message.attempt.step == 2
        replies = sum(is_reply(w) and w.taken is not None for w in words[person.human])
        if answers[person.human] > replies:
            yield Breach("P2", "more Message 2s than replies", person, message.attempt.reference, message.accepted)


def nothing_stale_is_resumed(evidence: Evidence) -> Iterator[Breach]:
    """A pause: on resume, a Message 2 whose reply is older than a day is not sent any more (contract §1)."""
    world = evidence.world
    words = words_of(world)
    slack_seconds = world.timeline.ahead_seconds + world.timeline.behind_seconds + 1
    for attempt in world.ledger.attempts:
        if attempt.step == 1 or world.ledger.attempts_of[attempt.reference][0] is not attempt:
            continue
        replies = [w for w in words[attempt.person.human] if is_reply(w) and w.taken and w.taken < attempt.started]
        if any(w.shown is Shown.LID for w in replies):
            continue  # decided when it became known whose it was
        for _, end in attempt.campaign.pauses:
            stale = end - slack_seconds - rules.REPLY_STALE_AFTER.total_seconds()
            if end < attempt.started.seconds and all(since_start(w.written_at) < stale for w in replies):
                what = "a Message 2 whose reply was too old when its campaign was resumed"
                yield Breach("pause", what, attempt.person, attempt.reference, attempt.started)


def _may_answer(world: World, word: Word, message_1: Message) -> bool:
    earliest, latest = went_between(world, message_1, word)
    behind = timedelta(seconds=world.timeline.behind_seconds)  # a reply is never later than its arrival
    window = world.habits.policy.window
    return earliest - rules.TOLERANCE <= word.written_at <= latest + window + behind


def nothing_after_an_opt_out(evidence: Evidence) -> Iterator[Breach]:
    """P3."""
    world, timeline = evidence.world, evidence.world.timeline
    ledger = world.ledger
    words = words_of(world)
    clocks_seconds = abs(world.habits.hand_clock_seconds) + timeline.ahead_seconds + timeline.behind_seconds
    for attempt in ledger.attempts:
        person, said = attempt.person, words[attempt.person.human]
        opt_outs = [
            (word.wrote.seconds, 0.0)
            for word in said
            if word.meaning is Meaning.STOP and (known := _known(world, word, person)) and known < attempt.started
        ]
        # Another process: what is claimed when it commits may still leave, within the moment of a claim.
        opt_outs += [
            (moment.seconds, clocks_seconds + _STAMP_SECONDS)
            for moment in ledger.opted_out_by_hand[person.index]
            if attempt.started.seconds - moment.seconds > CLAIM.total_seconds()
        ]
        if not opt_outs:
            continue
        last_seconds, doubt_seconds = max(opt_outs)
        opt_ins = [
            word.wrote.seconds + doubt_seconds
            for word in said
            if word.meaning is Meaning.START
            and not word.to_other_device
            and word.taken
            and word.taken < attempt.started
        ]
        opt_ins += [
            moment.seconds + _STAMP_SECONDS
            for number in ledger.numbers_of(person.human)
            for moment in ledger.opted_in_by_hand[number.index]
            if moment < attempt.started
        ]
        if not any(seconds > last_seconds for seconds in opt_ins):
            yield Breach("P3", "a request after an opt-out", person, attempt.reference, attempt.started)


def _known(world: World, word: Word, person: Person) -> Moment | None:
    """When the daemon knew beyond doubt that these words are of somebody who has this number, or had it."""
    if word.taken is None or (word.shown is not Shown.LID and word.person is person):
        return word.taken
    if word.shown is Shown.NUMBER or person.lid_told is None or world.habits.kept:
        return None  # an id is forgotten with its contact
    others = [number for number in world.ledger.numbers_of(person.human) if number is not person]
    if any(_may_have_told_lid(world, other, word.taken) for other in others):
        return None  # it may lead to either
    if others or word.to_other_device:
        return word.taken if person.lid_told < word.taken else None
    return max(word.taken, person.lid_told)


def _may_have_told_lid(world: World, person: Person, before: Moment) -> bool:
    """Whether the daemon may have been told that the hidden id is of this number."""
    ledger = world.ledger
    return any(m.attempt.person is person and m.accepted < before for m in ledger.messages) or any(
        w.person is person and w.shown is not Shown.NUMBER and w.taken and w.taken < before
        for w in ledger.words.values()
    )


def sends_keep_their_distance(evidence: Evidence) -> Iterator[Breach]:
    """P4."""
    limit_seconds = evidence.world.habits.rate_limit_seconds
    for before, after in pairwise(evidence.world.ledger.attempts):
        gap_seconds = after.started.seconds - before.started.seconds
        if gap_seconds < limit_seconds - _MOMENT_SECONDS:
            what = f"two requests {gap_seconds:.3f} s apart"
            yield Breach("P4", what, None, None, after.started)


def what_was_acknowledged_is_there(evidence: Evidence) -> Iterator[Breach]:
    """P5."""
    stored = {bytes(row[0]) for row in evidence.rows("SELECT identity FROM events")}
    interactions = dict(
        evidence.rows(
            """SELECT wa_id, count(*) FROM interactions
               WHERE type <> 'reaction' AND outcome <> 'not_a_reply' GROUP BY wa_id"""
        )
    )
    reactions = {row[0] for row in evidence.rows("SELECT wa_id FROM interactions WHERE type = 'reaction'")}
    messages = {r[0]: r[1:] for r in evidence.rows("SELECT reference, status, queue_id, wa_id FROM messages")}
    answers_one = evidence.world.habits.policy.overlap is Overlap.LATEST
    first_seconds: dict[int, float] = {}  # when the daemon had it for the first time: from then on it is kept
    for moment, news, body in evidence.world.ledger.acknowledged:
        taken = news.taken if isinstance(news, Word) else None
        if first_seconds.setdefault(id(news), (taken or moment).seconds) < evidence.since_seconds:
            continue
        if (identity := evidence.identities.get(body)) is None:
            identity = evidence.identities[body] = parse_row(body, device=DEVICE)[0].identity
        if identity not in stored:
            yield Breach("P5", "an acknowledged event is lost", _whose(news), None, moment)
        match news:
            case Word(wa_id) if not news.to_other_device and (
                (count := interactions.get(wa_id, 0)) < 1 or (answers_one and count > 1)
            ):
                yield Breach("P5", f"acknowledged words {wa_id} have {count} interactions", news.person, None, moment)
            case Report() if what := _misses(news, *messages.get(news.message.attempt.reference, _REMOVED)):
                yield Breach("P5", what, _whose(news), news.message.attempt.reference, moment)
            case Touch(wa_id) if wa_id not in reactions:
                yield Breach("P5", f"an acknowledged reaction to {wa_id} is lost", None, None, moment)
            case _:
                pass


def _misses(report: Report, status: str | None, queue_id: str | None, wa_id: str | None) -> str | None:
    """What an acknowledged report should have changed, and did not."""
    message, reported = report.message, report.status.value
    if status is None:
        return None  # it went with its campaign
    if report.names_all:
        if (queue_id, wa_id) != (message.queue_id, message.wa_id):
            return "the ids of an acknowledged report are not known"
    elif wa_id != message.wa_id:
        return None  # waits until somebody tells whose id it is
    if _RANK.get(status, 0) < _RANK[reported]:
        return f"reported as {reported}, and {status}"
    return None


def _whose(news: News) -> Person | None:
    match news:
        case Word():
            return news.person
        case Blank(word):
            return word.person
        case Report():
            return news.message.attempt.person
        case Touch():
            return None


def statuses_are_true(evidence: Evidence) -> Iterator[Breach]:
    """No status says what never was (P1, P5)."""
    ledger = evidence.world.ledger
    for reference, status in evidence.rows("SELECT reference, status FROM messages"):
        accepted = ledger.messages_of.get(reference, [])
        person = accepted[0].attempt.person if accepted else None
        if accepted and status in ("queued", "cancelled"):
            yield Breach("P1", f"a message was accepted, and is {status}", person, reference)
        elif not accepted and status in ("sent", "delivered", "read"):
            attempts = ledger.attempts_of[reference]
            person = attempts[0].person if attempts else None
            yield Breach("P5", f"a message was not accepted, and is {status}", person, reference)
        elif accepted and status in _STAGES and accepted[0].stage not in _STAGES[status]:
            if status == "failed" and accepted[0].failed_first:
                continue  # as long as nobody tells of more
            yield Breach(
                "P5", f"a message is {accepted[0].stage.name.lower()} in truth, and {status}", person, reference
            )


def no_resend_without_proof(evidence: Evidence) -> Iterator[Breach]:
    """P7."""
    ledger = evidence.world.ledger
    proof_seconds = evidence.world.habits.policy.resend_after.total_seconds()
    kept_seconds = evidence.world.account.keeps_seconds and evidence.world.account.keeps_seconds + _LATEST_SECONDS
    for reference, attempts in ledger.attempts_of.items():
        for before, after in pairwise(attempts):
            if before.refused or any(before.started < m < after.started for m in ledger.retried[reference]):
                continue
            # What is removed soon is absent for another reason.
            until_seconds = min(after.started.seconds, before.started.seconds + kept_seconds)
            absent = [s for s in ledger.absences[reference] if before.started.seconds <= s <= until_seconds]
            if not proof_seconds or not absent or max(absent) - min(absent) < proof_seconds - _MOMENT_SECONDS:
                what = f"sent again after {len(absent)} look-ups that said absent"
                yield Breach("P7", what, after.person, reference, after.started)


def nothing_died(evidence: Evidence) -> Iterator[Breach]:
    """A process only ends when somebody ends it."""
    for accident in evidence.world.ledger.accidents:
        yield Breach("process", accident)


def tables_agree(evidence: Evidence) -> Iterator[Breach]:
    """`wamsg2 verify` finds nothing."""
    world = evidence.world
    found = at_once(
        verify.violations(
            evidence.reader,
            window=world.habits.policy.window,
            tolerance=rules.TOLERANCE,
            now=world.timeline.server.now(),
            inbound_events=INBOUND_EVENTS,
        )
    )
    for violation in found:
        yield Breach(violation.promise, f"verify: {violation.what}: {violation.rows[0]}")


def nobody_is_in_the_way(evidence: Evidence) -> Iterator[Breach]:
    """A message that is refused for itself does not keep others waiting for long."""
    timeline, attempts = evidence.world.timeline, evidence.world.ledger.attempts
    since_seconds = timeline.seconds - _LONGEST_IN_THE_WAY_SECONDS
    lately = [attempt for attempt in attempts if attempt.started.seconds > since_seconds]
    if len(lately) < _TRIES_IN_THE_WAY or not all(attempt.is_forbidden for attempt in lately):
        return
    waiting = evidence.rows(
        """SELECT c.phone FROM messages m JOIN contacts c ON c.id = m.contact_id
           JOIN campaigns g ON g.id = m.campaign_id
           WHERE m.status = 'queued' AND g.status = 'running' AND m.due_at < ?""",
        to_ms(at(since_seconds - timeline.behind_seconds - timeline.ahead_seconds)),
    )
    others = [person for (number,) in waiting if not (person := evidence.world.ledger.person(number)).is_forbidden]
    if others:
        tries = f"{len(lately)} tries of what is refused for itself"
        yield Breach("P6", f"{len(others)} messages wait behind {tries}", others[0], None, lately[-1].started)


def bad_numbers_hold_nothing(evidence: Evidence) -> Iterator[Breach]:
    """A refusal that is about one number says nothing of the others."""
    for line in evidence.world.trace.named("daemon", "sending.held"):
        if "phone:invalid" in str(line.facts.get("reason")):
            yield Breach("P6", f"held for a bad number: {line.facts['reason']}", None, None, line.moment)


def everything_ends(evidence: Evidence) -> Iterator[Breach]:
    """P6: at the end, in calm weather, with all windows over."""
    ledger, now = evidence.world.ledger, evidence.world.timeline.server.now()
    window = evidence.world.habits.policy.window
    held_up: set[str] = set()  # by a message that is refused for itself, with no others to go before it
    for reference, status, number, name in evidence.rows(
        """SELECT m.reference, m.status, c.phone, g.name
           FROM messages m JOIN campaigns g ON g.id = m.campaign_id JOIN contacts c ON c.id = m.contact_id
           WHERE m.status IN ('sending', 'uncertain') OR m.status = 'queued' AND g.status = 'running'"""
    ):
        person = ledger.person(number)
        if person.is_forbidden and status == "queued":
            held_up.add(name)
        else:
            yield Breach("P6", f"a message is {status} for ever", person, reference)
    for (wa_id,) in evidence.rows("SELECT wa_id FROM interactions WHERE outcome = 'waiting_for_message_1'"):
        yield Breach("P6", f"the reply {wa_id} waits for ever", ledger.words[wa_id].person)
    for name, stored, last_sent_ms, open_messages in evidence.rows(
        """SELECT g.name, g.status,
                  (SELECT max(sent_at) FROM messages WHERE campaign_id = g.id AND step = 1
                   AND status IN ('sent', 'delivered', 'read')),
                  (SELECT count(*) FROM messages WHERE campaign_id = g.id
                   AND status IN ('queued', 'sending', 'uncertain'))
           FROM campaigns g"""
    ):
        last_sent_at = from_ms(last_sent_ms)
        status = rules.campaign_status(
            CampaignStatus(stored),
            open_messages=open_messages,
            window_closes_at=last_sent_at and last_sent_at + window,
            now=now,
        )
        if status not in (CampaignStatus.COMPLETED, CampaignStatus.CANCELLED) and name not in held_up:
            yield Breach("P6", f"campaign {name} is {status}, with nothing left to do")


def webhooks_come_again(evidence: Evidence) -> Iterator[Breach]:
    """At the end: a webhook that the provider gave up is asked for again."""
    given_up = list(evidence.world.trace.named("courier", "disabled"))
    enabled = list(evidence.world.trace.named("courier", "enabled"))
    if len(given_up) > len(enabled):
        yield Breach("account", "a webhook that was given up is never enabled again", None, None, given_up[-1].moment)


def chat_events_find_their_message(evidence: Evidence) -> Iterator[Breach]:
    """At the end: what WhatsApp calls a message of ours is known, though its event knows nothing of our reference."""
    if math.isfinite(evidence.world.account.keeps_seconds):
        return  # a person may have settled it, who does not know either
    kept, timeline = evidence.world.habits.kept, evidence.world.timeline
    texts_seconds = (
        kept.message_texts.total_seconds() - timeline.ahead_seconds - timeline.behind_seconds
        if kept and kept.message_texts
        else math.inf
    )
    known = dict(evidence.rows("SELECT reference, wa_id FROM messages"))
    for moment, news, _ in evidence.world.ledger.acknowledged:
        if isinstance(news, Report):
            message = news.message
            reference = message.attempt.reference
            if moment.seconds - message.accepted.seconds > texts_seconds:
                continue  # by its words, and those may be gone
            if reference in known and known[reference] != message.wa_id:
                what = "a message was reported, and its WhatsApp id is not known"
                yield Breach("P5", what, message.attempt.person, reference, moment)


Judge = Callable[[Evidence], Iterator[Breach]]

#: What must hold at any time.
ALWAYS: tuple[Judge, ...] = (
    nothing_died,
    at_most_once,
    message_2_follows_a_reply,
    a_reply_answers_one,
    nothing_stale_is_resumed,
    nothing_after_an_opt_out,
    sends_keep_their_distance,
    no_resend_without_proof,
    what_was_acknowledged_is_there,
    statuses_are_true,
    tables_agree,
    nobody_is_in_the_way,
    bad_numbers_hold_nothing,
)

#: What must hold at the end, in calm weather, with all windows over.
IN_THE_END: tuple[Judge, ...] = (
    everything_ends,
    webhooks_come_again,
    chat_events_find_their_message,
)
