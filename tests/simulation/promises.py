"""The promises P1 to P7, judged by what really happened and by what stands in the database."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise

from tests.simulation.evidence import CLAIM, Breach, Evidence, went_between, words_of
from tests.simulation.ledger import Attempt, Meaning, Message, Person, Report, Shown, Stage, Touch, Word
from tests.simulation.timeline import Moment, since_start
from tests.simulation.world import World
from wamsg2 import rules
from wamsg2.model import CampaignStatus, Overlap
from wamsg2.store import verify
from wamsg2.store.times import from_ms
from wamsg2.wassenger.events import INBOUND_EVENTS, parse

_MOMENT_SECONDS = 1e-6
_RANK = {"sent": 1, "failed": 2, "delivered": 3, "read": 4}
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
        replies = [
            w for w in words[person.index] if w.meaning is not Meaning.STOP and w.taken and w.taken < attempt.started
        ]  # START too: from somebody who has not opted out, it is a reply
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
        answers[person.index] += message.attempt.step == 2
        replies = sum(w.meaning is not Meaning.STOP and w.taken is not None for w in words[person.index])
        if answers[person.index] > replies:
            yield Breach("P2", "more Message 2s than replies", person, message.attempt.reference, message.accepted)


def nothing_stale_is_resumed(evidence: Evidence) -> Iterator[Breach]:
    """A pause: on resume, a Message 2 whose reply is older than a day is not sent any more (contract §1)."""
    world = evidence.world
    words = words_of(world)
    slack_seconds = world.timeline.ahead_seconds + world.timeline.behind_seconds + 1
    for attempt in world.ledger.attempts:
        if attempt.step == 1 or world.ledger.attempts_of[attempt.reference][0] is not attempt:
            continue
        replies = [w for w in words[attempt.person.index] if w.taken and w.taken < attempt.started]
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
    world = evidence.world
    words = words_of(world)
    for attempt in world.ledger.attempts:
        person = attempt.person
        for moment in world.ledger.by_hand[person.index]:
            # Another process: what is claimed when it commits may still leave, within the moment of a claim.
            late = attempt.started.seconds - moment.seconds > CLAIM.total_seconds()
            if late and not any(w.meaning is Meaning.START for w in words[person.index]):
                yield Breach("P3", "a request after an opt-out by hand", person, attempt.reference, attempt.started)
        stops = [
            word
            for word in words[person.index]
            if word.meaning is Meaning.STOP and (known := _known(word)) and known < attempt.started
        ]
        if not stops:
            continue
        last_stop = max(stop.wrote for stop in stops)
        if not any(
            w.meaning is Meaning.START and w.taken and w.taken < attempt.started and w.wrote > last_stop
            for w in words[person.index]
        ):
            yield Breach("P3", "a request after an opt-out", person, attempt.reference, attempt.started)


def _known(word: Word) -> Moment | None:
    """When the daemon knew beyond doubt what was said, and by whom."""
    if word.shown is not Shown.LID or word.taken is None:
        return word.taken
    return word.person.lid_told and max(word.taken, word.person.lid_told)


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
        evidence.rows("SELECT wa_id, count(*) FROM interactions WHERE type <> 'reaction' GROUP BY wa_id")
    )
    reactions = {row[0] for row in evidence.rows("SELECT wa_id FROM interactions WHERE type = 'reaction'")}
    messages = {r[0]: r[1:] for r in evidence.rows("SELECT reference, status, queue_id, wa_id FROM messages")}
    answers_one = evidence.world.habits.policy.overlap is Overlap.LATEST
    for moment, news, body in evidence.world.ledger.acknowledged:
        if (identity := evidence.identities.get(body)) is None:
            identity = evidence.identities[body] = parse(body).identity
        if identity not in stored:
            yield Breach("P5", "an acknowledged event is lost", _whose(news), None, moment)
        match news:
            case Word(wa_id) if (count := interactions.get(wa_id, 0)) < 1 or (answers_one and count > 1):
                yield Breach("P5", f"acknowledged words {wa_id} have {count} interactions", news.person, None, moment)
            case Report() if what := _misses(news, *messages[news.message.attempt.reference]):
                yield Breach("P5", what, _whose(news), news.message.attempt.reference, moment)
            case Touch(wa_id) if wa_id not in reactions:
                yield Breach("P5", f"an acknowledged reaction to {wa_id} is lost", None, None, moment)
            case _:
                pass


def _misses(report: Report, status: str, queue_id: str | None, wa_id: str | None) -> str | None:
    """What an acknowledged report should have changed, and did not."""
    message, reported = report.message, report.status.value
    if reported in ("sent", "failed"):  # these name all three ids
        if (queue_id, wa_id) != (message.queue_id, message.wa_id):
            return "the ids of an acknowledged report are not known"
    elif wa_id != message.wa_id:
        return None  # waits until somebody tells whose id it is
    if _RANK.get(status, 0) < _RANK[reported]:
        return f"reported as {reported}, and {status}"
    return None


def _whose(news: Word | Report | Touch) -> Person | None:
    match news:
        case Word():
            return news.person
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
            yield Breach(
                "P5", f"a message is {accepted[0].stage.name.lower()} in truth, and {status}", person, reference
            )


def no_resend_without_proof(evidence: Evidence) -> Iterator[Breach]:
    """P7."""
    ledger = evidence.world.ledger
    proof_seconds = evidence.world.habits.policy.resend_after.total_seconds()
    for reference, attempts in ledger.attempts_of.items():
        for before, after in pairwise(attempts):
            if before.refused or any(before.started < m < after.started for m in ledger.retried[reference]):
                continue
            absent = [s for s in ledger.absences[reference] if before.started.seconds <= s <= after.started.seconds]
            if not proof_seconds or not absent or max(absent) - min(absent) < proof_seconds - _MOMENT_SECONDS:
                what = f"sent again after {len(absent)} look-ups that said absent"
                yield Breach("P7", what, after.person, reference, after.started)


def nothing_died(evidence: Evidence) -> Iterator[Breach]:
    """A process only ends when somebody ends it."""
    for accident in evidence.world.ledger.accidents:
        yield Breach("process", accident)


def tables_agree(evidence: Evidence) -> Iterator[Breach]:
    """The checks of `wamsg2 verify`."""
    world = evidence.world
    policy = world.habits.policy
    parameters = verify.parameters(
        window=policy.window,
        tolerance=rules.TOLERANCE,
        now=world.timeline.server.now(),
        inbound_events=INBOUND_EVENTS,
    )
    for promise, what, query in verify._CHECKS:
        if what == "the unique index is missing" or promise == "database":
            continue  # judged by what it is for; SQLite's own affair
        if rows := evidence.connection.execute(query, parameters).fetchall():
            yield Breach(promise, f"verify: {what}: {rows[0][0]}")


def everything_ends(evidence: Evidence) -> Iterator[Breach]:
    """P6: at the end, in calm weather, with all windows over."""
    now = evidence.world.timeline.server.now()
    window = evidence.world.habits.policy.window
    for reference, status in evidence.rows(
        """SELECT m.reference, m.status FROM messages m JOIN campaigns g ON g.id = m.campaign_id
           WHERE m.status IN ('sending', 'uncertain') OR m.status = 'queued' AND g.status = 'running'"""
    ):
        attempts = evidence.world.ledger.attempts_of.get(reference)
        yield Breach("P6", f"a message is {status} for ever", attempts[0].person if attempts else None, reference)
    for (wa_id,) in evidence.rows("SELECT wa_id FROM interactions WHERE outcome = 'waiting_for_message_1'"):
        yield Breach("P6", f"the reply {wa_id} waits for ever", evidence.world.ledger.words[wa_id].person)
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
        if status not in (CampaignStatus.COMPLETED, CampaignStatus.CANCELLED):
            yield Breach("P6", f"campaign {name} is {status}, with nothing left to do")


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
)
