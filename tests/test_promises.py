"""The promises (contract §2) against a machine that does whatever may happen, in any order.

The machine is the world: contacts who write, a provider that accepts or not and reports as it likes, a process that
dies, people who pause and cancel. It keeps its own account of what the provider really accepted and of who has
opted out, and compares.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support import KEPT, START, commit, memory
from wamsg2 import phone, rules
from wamsg2.model import (
    Absent,
    Accepted,
    Claim,
    Deferred,
    Doubt,
    Event,
    EventResult,
    EventSource,
    Held,
    InboundMessage,
    LookUp,
    MessageStatus,
    Outcome,
    Overlap,
    Policy,
    Receipt,
    ReceiptStatus,
    Rejected,
    Sender,
    Start,
    Uncertain,
    Unknown,
    Unreported,
    Withdrawn,
)
from wamsg2.store import campaigns, messages, verify
from wamsg2.store.writer import Tx, Work
from wamsg2.work import campaigning, claiming, consent, receiving, settling
from wamsg2.work.signals import NO_SIGNALS

PHONES = tuple(f"+3460000000{n}" for n in range(5))
CAMPAIGNS = {"first": "More", "second": "More", "third": None}
picks = st.integers(0, 1000)
phones = st.sampled_from(PHONES)
names = st.sampled_from(tuple(CAMPAIGNS))
ages = st.sampled_from((0, 0, 1, 4, 6, 60, 3600, 86_390, 86_410)).map(lambda s: timedelta(seconds=s))
#: Most of the time the ordinary happens, or every contact and campaign would soon be out.
likely = st.integers(0, 7).map(bool)
seldom = st.integers(0, 7).map(lambda n: n == 7)
#: Whether the webhook came, or was lost and the event found by asking.
sources = st.sampled_from((EventSource.WEBHOOK, EventSource.WEBHOOK, EventSource.CATCH_UP))
SECOND = timedelta(seconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CHAIN = {"sent": 1, "failed": 2, "delivered": 3, "read": 4}


@dataclass
class Taken:
    """A message that the provider has accepted."""

    claim: Claim
    queue_id: str
    wa_id: str
    at: datetime


@dataclass
class Word:
    """An opt-out or opt-in word, as far as we can know whose it is."""

    written_at: datetime
    out: bool
    known: bool


@dataclass
class Wire:
    """A request: a claim until it starts, then a question that the provider answers, or nobody."""

    claim: Claim
    start: Start | None = None
    taken: bool = False


@dataclass
class Absence:
    """The look-ups of one doubt that said "absent"."""

    attempt: int
    at: list[datetime] = field(default_factory=list)


class World(RuleBasedStateMachine):
    """Everything that may happen to the store."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = memory()
        self.now = START
        self.policy = Policy()
        self.count = 0
        self.unsent: list[Wire] = []
        self.withdrawn: list[Wire] = []
        self.sent: list[Wire] = []
        self.taken: dict[str, Taken] = {}
        self.reported_failed: set[str] = set()
        self.words: dict[str, list[Word]] = {p: [] for p in PHONES}
        self.replies: dict[str, set[datetime]] = {p: set() for p in PHONES}
        self.asked: list[tuple[Doubt, LookUp, datetime]] = []
        self.absences: dict[int, Absence] = {}
        self.events: list[Event] = []
        self.taken_in = dict.fromkeys(EventSource, 0)
        self.silences: list[tuple[Unreported, Receipt | None]] = []
        self.reached: dict[int, int] = {}
        self.heard_of_silence = False

    def do(self, work: Work[Any]) -> Any:
        result = commit(self.connection, work)
        while self.withdrawn:
            self.settle(self.withdrawn.pop(), Withdrawn("contact opted out"))
        return result

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, parameters).fetchall()

    def number(self) -> int:
        self.count += 1
        return self.count

    # --- the sender, as units of work see it ---

    def wake(self) -> None:
        pass

    def withdraw(self, contact_id: int) -> None:
        for wire in [w for w in self.unsent if w.claim.contact_id == contact_id]:
            self.unsent.remove(wire)
            self.withdrawn.append(wire)  # told during a unit: settled by one of its own

    # --- a beginning ---

    @initialize(overlap=st.sampled_from(Overlap), launch=likely)
    def begin(self, *, overlap: Overlap, launch: bool) -> None:
        self.policy = Policy(overlap=overlap)
        for name, message_2 in CAMPAIGNS.items():
            key = name * 3
            self.do(lambda tx, n=name, m=message_2, k=key: campaigns.add(  # type: ignore[misc]
                tx, name=n, key=k, message_1="Hello", message_2=m, now=self.now))  # fmt: skip
        self.add_contacts("first", PHONES[:3])
        self.add_contacts("second", PHONES[1:4])
        if launch:
            self.launch("first")
            self.launch("second")

    def add_contacts(self, name: str, some: Sequence[str]) -> None:
        rows = [campaigning.Row(n, p, phone.key(p), {}) for n, p in enumerate(some, start=2)]
        self.do(lambda tx: campaigning.add_rows(tx, name, rows, self.now))

    # --- people ---

    @rule(name=names, who=phones)
    def import_contact(self, name: str, who: str) -> None:
        try:
            self.add_contacts(name, [who])
        except campaigning.CampaignError:
            assert self.status_of(name) == "cancelled"

    def status_of(self, name: str) -> str:
        return str(self.rows("SELECT status FROM campaigns WHERE name = ?", name)[0][0])

    @rule(name=names)
    def launch(self, name: str) -> None:
        try:
            after: int | None = 0
            while after is not None:
                after = self.do(lambda tx, a=after: campaigning.prepare_launch(tx, name, a, self.now))  # type: ignore[misc]
            self.do(lambda tx: campaigning.finish_launch(tx, name, self.now))
        except campaigning.CampaignError:
            pass

    @rule(name=names, sure=seldom)
    def pause(self, name: str, *, sure: bool) -> None:
        if sure and self.status_of(name) == "running":
            self.do(lambda tx: campaigning.pause(tx, name, self.now))

    @rule(name=names)
    def resume(self, name: str) -> None:
        if self.status_of(name) != "paused":
            return
        self.do(lambda tx: campaigning.resume(tx, name, self.now))
        oldest = self.rows(
            """SELECT min(m.reply_at) FROM messages m JOIN campaigns g ON g.id = m.campaign_id
               WHERE g.name = ? AND m.step = 2 AND m.status = 'queued'""",
            name,
        )[0][0]
        assert oldest is None or oldest >= (self.now - rules.REPLY_STALE_AFTER).timestamp() * 1000

    @rule(name=names, sure=seldom)
    def cancel(self, name: str, *, sure: bool) -> None:
        if not sure:
            return
        campaign_id = self.do(lambda tx: campaigning.cancel(tx, name, self.now))
        while self.do(lambda tx: campaigning.cancel_queued(tx, campaign_id)):
            pass

    @rule(who=phones, sure=seldom)
    def opt_out_by_hand(self, who: str, *, sure: bool) -> None:
        """A command's commit; a running daemon acts on it within a second (contract §5), so on the next claim."""
        if not sure or any(wire.claim.phone == who for wire in self.unsent):
            return
        self.do(lambda tx: consent.opt_out_number(tx, who, phone.key(who), self.now))
        ((at_ms,),) = self.rows("SELECT consent_at FROM contacts WHERE phone = ?", who)
        # Not by our clock, but later than every word that is known.
        self.words[who].append(Word(EPOCH + timedelta(milliseconds=at_ms), out=True, known=True))

    @precondition(lambda self: self.doubts())
    @rule(pick=picks)
    def resolve(self, pick: int) -> None:
        """A person looks at the chat, and says what is true."""
        doubts = self.doubts()
        message_id, reference = doubts[pick % len(doubts)]
        if reference in self.taken:
            word = MessageStatus.SENT
        else:
            word = MessageStatus.QUEUED if pick % 3 else MessageStatus.FAILED
        self.do(lambda tx: settling.resolve(tx, message_id, word, now=self.now, policy=self.policy))

    def doubts(self) -> list[tuple[int, str]]:
        return [(i, r) for i, r in self.rows("SELECT id, reference FROM messages WHERE status = 'uncertain'")]

    # --- contacts ---

    def receive(self, name: str, content: InboundMessage | Receipt, source: EventSource) -> EventResult:
        event = Event(name, f"{name}{self.number()}".encode(), b"{}", content)
        self.events.append(event)
        result = self.take(event, source)
        self.taken_in[source] += 1
        return result

    def take(self, event: Event, source: EventSource) -> EventResult:
        received = self.do(
            lambda tx: receiving.receive(
                tx, event, arrived_at=self.now, policy=self.policy, signals=self, source=source
            )
        )
        self.meet()
        result: EventResult = received.result
        return result

    def meet(self) -> None:
        """What was written from an id that has become known is known from now on."""
        for lid, who in self.rows("SELECT i.chat_id, c.phone FROM chat_ids i JOIN contacts c ON c.id = i.contact_id"):
            assert lid == self.lid(who)
            for word in self.words[who]:
                word.known = True

    def lid(self, who: str) -> str:
        return f"9{who[1:]}@lid"

    def sender(self, who: str, pick: int) -> Sender:
        """By number, by number and id, or by id alone."""
        chat = f"{who[1:]}@c.us"
        return (Sender((chat,), who), Sender((chat, self.lid(who)), who), Sender((self.lid(who),), None))[pick % 3]

    def quoted(self, who: str, pick: int) -> str | None:
        theirs = [t.wa_id for t in self.taken.values() if t.claim.phone == who]
        return theirs[pick % len(theirs)] if theirs and pick % 4 == 0 else None

    @rule(who=phones, age=ages, pick=picks, source=sources)
    def reply(self, who: str, age: timedelta, pick: int, source: EventSource) -> None:
        written_at = self.now - age
        self.replies[who].add(written_at)
        content = InboundMessage(
            f"R{self.number()}", self.sender(who, pick), "text", "yes", self.quoted(who, pick // 3), written_at
        )
        assert self.receive("message:in:new", content, source) is EventResult.ACCEPTED

    @rule(who=phones, age=st.sampled_from((0, 0, 1, 600, 43_200)), out=seldom, pick=picks, source=sources)
    def say(self, who: str, age: int, pick: int, source: EventSource, *, out: bool) -> None:
        written_at = self.now - age * SECOND
        by = self.sender(who, pick)
        is_contact = bool(self.rows("SELECT 1 FROM contacts WHERE phone = ?", who))
        lid_known = bool(self.rows("SELECT 1 FROM chat_ids WHERE chat_id = ?", self.lid(who)))
        word = Word(written_at, out, known=lid_known if by.phone is None else out or is_contact)
        if word.known or self.lid(who) in by.chat_ids:  # by the id it is found when that is known some day
            self.words[who].append(word)
        if not out:  # from somebody who has not opted out, it is a reply like any other
            self.replies[who].add(written_at)
        content = InboundMessage(f"W{self.number()}", by, "text", "STOP" if out else "START", None, written_at)
        self.receive("message:in:new", content, source)

    @precondition(lambda self: self.events)
    @rule(pick=picks, source=sources)
    def repeat(self, pick: int, source: EventSource) -> None:
        """A webhook comes twice, or after we asked; or we ask for what a webhook told."""
        event = self.events[-1 - pick % len(self.events)]
        before = list(self.connection.iterdump())[:-1]
        assert self.take(event, source) is EventResult.DUPLICATE
        changed = set(before) ^ set(list(self.connection.iterdump())[:-1])
        if source is EventSource.CATCH_UP:
            assert not changed
        else:
            assert changed
            assert all("webhooks_duplicates" in line for line in changed)

    def opted_out(self, who: str) -> bool:
        words = [w for w in self.words[who] if w.known]
        return bool(words) and max(words, key=lambda w: (w.written_at, w.out)).out

    # --- sending ---

    @rule(most=st.integers(1, 4))
    def claim(self, most: int) -> None:
        due_before = self.now + timedelta(seconds=0.05)
        claimed = self.do(lambda tx: claiming.claim(tx, now=self.now, due_before=due_before, most=most))
        for claim in claimed.claims:
            assert not self.opted_out(claim.phone), "P3: claimed for a contact who has opted out"
            assert self.status_of(claim.campaign) == "running"
            self.unsent.append(Wire(claim))

    @precondition(lambda self: self.unsent)
    @rule(accepted=st.booleans())
    def request(self, *, accepted: bool) -> None:
        wire = self.unsent.pop(0)
        claim = wire.claim
        assert not self.opted_out(claim.phone), "P3: a request to a contact who has opted out"
        wire.start, wire.taken = Start(self.now, timedelta(seconds=1)), accepted
        self.sent.append(wire)
        assert claim.reference not in self.taken, "P1: sent again though accepted"
        if accepted:
            n = self.number()
            self.taken[claim.reference] = Taken(claim, f"{n:024x}", f"3EB0{n:08X}", self.now)

    def settle(self, wire: Wire, outcome: Outcome) -> None:
        self.do(
            lambda tx: settling.settle(
                tx, wire.claim, outcome,
                start=wire.start, now=self.now, policy=self.policy, signals=self,
            )
        )  # fmt: skip
        self.meet()

    @precondition(lambda self: self.sent)
    @rule(pick=picks, kind=st.integers(0, 3))
    def answer(self, pick: int, kind: int) -> None:
        wire = self.sent.pop(pick % len(self.sent))
        outcome: Outcome
        if kind == 0:
            outcome = Uncertain("no answer in time")
        elif wire.taken:
            taken = self.taken[wire.claim.reference]
            wa_id = taken.wa_id if kind == 1 else None
            chat_id = self.lid(wire.claim.phone) if pick % 4 == 0 else None
            outcome = Accepted(taken.queue_id, wa_id, chat_id)
        else:
            outcome = (Rejected("HTTP 400"), Deferred("HTTP 429", timedelta(minutes=1)), Held("HTTP 402"))[kind - 1]
        self.settle(wire, outcome)

    @precondition(lambda self: self.taken)
    @rule(
        pick=picks, status=st.sampled_from(ReceiptStatus), ids=st.integers(1, 7), timed=st.booleans(), source=sources
    )
    def report(self, pick: int, status: ReceiptStatus, ids: int, source: EventSource, *, timed: bool) -> None:
        taken = list(self.taken.values())[-1 - pick % len(self.taken)]
        if status is ReceiptStatus.FAILED:
            self.reported_failed.add(taken.claim.reference)
        at = taken.at if status is ReceiptStatus.SENT else self.now
        content = Receipt(
            status,
            taken.claim.reference if ids & 1 else None,
            taken.queue_id if ids & 2 else None,
            taken.wa_id if ids & 4 else None,
            at if timed else None,
            "gone" if status is ReceiptStatus.FAILED else None,
            Sender((self.lid(taken.claim.phone),) if pick % 3 == 0 else (), None),
        )
        self.receive("message:out:ack", content, source)

    @rule(accepted=likely, kind=st.integers(0, 5))
    def send(self, kind: int, *, accepted: bool) -> None:
        """Claim, request and answer without anything between, as nearly always."""
        if self.unsent:
            return
        self.claim(1)
        if self.unsent:
            self.request(accepted=accepted)
            wire = self.sent.pop()
            self.sent.insert(0, wire)
            self.answer(0, min(kind, 3) if kind else 0)

    @rule(sure=seldom, source=sources)
    def stop_at_the_last_moment(self, source: EventSource, *, sure: bool) -> None:
        """Between the claim and its request."""
        if sure and not self.unsent:
            self.claim(1)
            for wire in list(self.unsent):
                self.say(wire.claim.phone, 0, 0, source, out=True)
            assert self.unsent == [], "P3: claimed, and not withdrawn"

    @precondition(lambda self: self.taken)
    @rule(pick=picks, seconds=st.sampled_from((0, 2, 60)))
    def answer_us(self, pick: int, seconds: int) -> None:
        """Whom a message has reached writes back, and some time passes."""
        who = list(self.taken.values())[pick % len(self.taken)].claim.phone
        self.reply(who, timedelta(0), pick, EventSource.WEBHOOK)
        self.wait(seconds)

    # --- doubt ---

    def truth(self, reference: str) -> LookUp:
        taken = self.taken.get(reference)
        if taken is None:
            return Absent()
        return Accepted(taken.queue_id, taken.wa_id, None, ReceiptStatus.SENT, taken.at)

    @rule(broken=st.integers(0, 3))
    def ask(self, broken: int) -> None:
        """A look-up starts; what it tells is stored later, or never."""
        doubt, _ = self.do(lambda tx: messages.next_doubt(tx, self.now))
        if doubt is not None:
            answer = Unknown("HTTP 503") if broken == 0 else self.truth(doubt.reference)
            self.asked.append((doubt, answer, self.now))

    @precondition(lambda self: self.asked)
    @rule()
    def tell(self) -> None:
        doubt, answer, _ = self.asked.pop(0)
        before = self.rows("SELECT status, attempt FROM messages WHERE id = ?", doubt.message_id)[0]
        self.do(
            lambda tx: settling.settle_look_up(
                tx, doubt, answer, retention=KEPT, now=self.now, policy=self.policy, signals=self
            )
        )
        after = self.rows("SELECT status FROM messages WHERE id = ?", doubt.message_id)[0][0]
        if before != ("uncertain", doubt.attempt):
            assert after == before[0], "an old look-up changed a settled message"
            return
        absence = self.absences.setdefault(doubt.message_id, Absence(doubt.attempt))
        if absence.attempt != doubt.attempt:
            absence = self.absences[doubt.message_id] = Absence(doubt.attempt)
        if isinstance(answer, Absent):
            absence.at.append(self.now)
        if after in {"queued", "cancelled"}:
            assert doubt.reference not in self.taken, "P7: put back though accepted"
            assert len(absence.at) >= 2, "P7: put back without proof"
            assert absence.at[-1] - absence.at[0] >= self.policy.resend_after, "P7: put back too soon"

    # --- silence ---

    @precondition(lambda self: self.is_time_to_ask())
    @rule(most=st.integers(1, 3), pick=picks, status=st.sampled_from(ReceiptStatus), at_once=likely)
    def ask_about_silence(self, most: int, pick: int, status: ReceiptStatus, *, at_once: bool) -> None:
        """The provider is asked about messages of which nobody tells; its answers are stored now, later, or never."""
        silent: list[Unreported] = self.do(lambda tx: messages.unreported(tx, self.now, most))
        assert len(silent) <= most
        for each in silent:
            ((now_is, ask_at),) = self.rows("SELECT status, look_up_at FROM messages WHERE id = ?", each.message_id)
            assert now_is == "sent"
            assert ask_at <= self.milliseconds(self.now)
        for each in silent:
            taken = self.taken[each.reference]
            answer = Receipt(status, each.reference, taken.queue_id, taken.wa_id, None, "gone")
            self.silences.append((each, answer if pick % 4 else None))
            if at_once:
                self.hear_of_silence()

    def is_time_to_ask(self) -> bool:
        now = self.milliseconds(self.now)
        return bool(self.rows("SELECT 1 FROM messages WHERE status = 'sent' AND look_up_at <= ?", now))

    def milliseconds(self, at: datetime) -> float:
        return at.timestamp() * 1000

    @precondition(lambda self: self.silences)
    @rule()
    def hear_of_silence(self) -> None:
        silent, answer = self.silences.pop(0)
        if answer is not None:
            if answer.status is ReceiptStatus.FAILED:
                self.reported_failed.add(silent.reference)
            self.receive("message:out:ack", answer, EventSource.CATCH_UP)
        before = self.rows("SELECT status FROM messages WHERE id = ?", silent.message_id)
        ask_at = rules.next_question(silent.look_ups, silent.sent_at, self.now, self.policy.window)
        self.do(lambda tx: messages.asked(tx, silent.message_id, ask_at, is_answered=answer is not None))
        after = self.rows("SELECT status, look_up_at FROM messages WHERE id = ?", silent.message_id)
        assert [row[:1] for row in after] == before, "a question changed a message"
        if after[0][0] == "sent":
            assert after[0][1] is None or self.milliseconds(self.now) < after[0][1]
        self.heard_of_silence = True

    # --- time, and the end of processes ---

    @rule(seconds=st.sampled_from((0.05, 1, 2, 30, 130, 3600, 43_200, 90_000)))
    def wait(self, seconds: float) -> None:
        """A claim never stands for more than a moment."""
        self.now += timedelta(seconds=min(seconds, 0.05) if self.unsent else seconds)

    @rule()
    def look_long_enough(self) -> None:
        """What a quarter of an hour does to the oldest doubt."""
        if not self.unsent:
            for _ in range(3):
                self.now += timedelta(minutes=5)
                self.ask(1)
                if self.asked:
                    self.tell()

    @rule()
    def restart(self) -> None:
        self.unsent.clear()
        self.sent.clear()
        self.asked.clear()
        self.silences.clear()
        self.do(lambda tx: settling.recover(tx, self.now, self.policy))

    # --- what must hold ---

    @invariant()
    def nothing_is_violated(self, *, at_the_end: bool = False) -> None:
        values = verify.parameters(
            window=timedelta(hours=24),
            tolerance=rules.TOLERANCE,
            now=self.now,
            inbound_events=["message:in:new"],
        )
        for promise, what, query in verify._CHECKS:
            if promise == "database" and not at_the_end:  # SQLite's own affair, and half of the time
                continue
            found = self.connection.execute(query, values).fetchall()
            assert not found, f"{promise}: {what}: {found}"

    @invariant()
    def message_2_follows_a_reply_to_a_message_1_that_went_out(self) -> None:
        for who, reply_ms, reference in self.rows(
            """SELECT c.phone, b.reply_at, a.reference FROM messages b JOIN contacts c ON c.id = b.contact_id
               LEFT JOIN messages a ON a.contact_id = b.contact_id AND a.campaign_id = b.campaign_id AND a.step = 1
               WHERE b.step = 2"""
        ):
            assert reference in self.taken, "P2: its Message 1 never went out"
            reply_at = START + timedelta(milliseconds=reply_ms - START.timestamp() * 1000)
            assert any(abs(reply_at - at) < SECOND / 100 for at in self.replies[who]), "P2: nobody replied"
            moment = SECOND / 5  # a claim is so much older than its request, at the most
            went_at = self.taken[reference].at
            assert went_at - 5 * SECOND - moment <= reply_at <= went_at + timedelta(hours=24) + moment, "P2: window"

    @invariant()
    def consent_is_what_was_said_last(self) -> None:
        for who, out in self.rows("SELECT phone, opted_out FROM contacts"):
            assert bool(out) == self.opted_out(who), "P3: consent"

    @invariant()
    def what_went_out_was_accepted(self) -> None:
        """Nothing that we are told counts as sent what never was."""
        for reference, status in self.rows("SELECT reference, status FROM messages"):
            assert status not in {"sent", "delivered", "read"} or reference in self.taken, f"{status} out of nothing"

    @invariant()
    def every_event_is_counted_by_the_way_it_came(self) -> None:
        totals = dict(self.rows("SELECT name, value FROM totals"))
        assert totals["webhooks_received"] == self.taken_in[EventSource.WEBHOOK]
        assert totals["caught_up"] == self.taken_in[EventSource.CATCH_UP]
        assert self.rows("SELECT count(*) FROM events") == [(sum(self.taken_in.values()),)]

    @invariant()
    def a_status_only_moves_up(self) -> None:
        for message_id, status in self.rows("SELECT id, status FROM messages"):
            reached = CHAIN.get(status, 0)
            assert reached >= self.reached.get(message_id, 0), (
                f"a receipt moved message {message_id} down to {status}"
            )
            self.reached[message_id] = reached

    @invariant()
    def a_message_that_was_accepted_is_never_in_line_for_long(self) -> None:
        """Accepted and yet queued or cancelled could only be a wrong proof."""
        for reference, status in self.rows("SELECT reference, status FROM messages"):
            assert status not in {"queued", "cancelled"} or reference not in self.taken, f"P1: accepted, and {status}"

    def teardown(self) -> None:
        try:
            if sys.exc_info()[1] is None:  # what is broken already is not looked at again
                self.everything_ends()
                self.nothing_is_violated(at_the_end=True)
        finally:
            self.connection.close()

    def everything_ends(self) -> None:
        """With time and an honest provider no doubt stays, and nothing waits for ever (P6)."""
        self.restart()
        for _ in range(2000):
            doubt, next_at = self.do(lambda tx: messages.next_doubt(tx, self.now))
            if doubt is None and next_at is None:
                break
            if doubt is None:
                self.now = next_at
                continue
            self.asked = [(doubt, self.truth(doubt.reference), self.now)]
            self.tell()
        assert self.rows("SELECT 1 FROM messages WHERE status IN ('sending', 'uncertain')") == [], "P6: doubt"
        assert self.rows("SELECT 1 FROM interactions WHERE outcome = 'waiting_for_message_1'") == [], "P6: waits"
        for reference, status in self.rows("SELECT reference, status FROM messages"):
            if reference in self.taken and reference not in self.reported_failed:
                assert status in {"sent", "delivered", "read"}, f"P1: accepted, and {status}"


QUIET = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)


# The default run does the same examples each time; the long ones hunt.
MACHINE = settings(
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=QUIET,
    database=None,
    derandomize=True,
    report_multiple_bugs=False,
)


def test_promises() -> None:
    run_state_machine_as_test(World, settings=settings(MACHINE, max_examples=60))


@pytest.mark.soak
def test_promises_for_long() -> None:
    long = settings(MACHINE, max_examples=5000, stateful_step_count=150, derandomize=False)
    run_state_machine_as_test(World, settings=long)


class Hurried(World):
    """Leaves out the check that takes most of the time."""

    def nothing_is_violated(self, *, at_the_end: bool = False) -> None:
        """Looks at nothing."""


def test_the_machine_would_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that finds nothing proves nothing: where recovery puts messages back in line, it finds P1 broken."""

    def forget(tx: Tx, now: datetime, policy: Policy) -> int:
        for message in messages.sending(tx):
            settling.put_back(tx, message, "nobody knows", now)
            settling.finish(tx, message, policy=policy, now=now, signals=NO_SIGNALS)
        return 0

    monkeypatch.setattr(settling, "recover", forget)
    many = settings(MACHINE, max_examples=1000, phases=[Phase.generate], derandomize=False)
    with pytest.raises(AssertionError, match="P1: "):
        run_state_machine_as_test(Hurried, settings=many)


def test_the_machine_goes_everywhere() -> None:
    """A machine that never sends a Message 2 proves nothing of it."""
    seen: set[object] = set()

    class Surveyed(Hurried):
        def teardown(self) -> None:
            seen.update(self.rows("SELECT step, status FROM messages"))
            seen.update(outcome for (outcome,) in self.rows("SELECT outcome FROM interactions"))
            seen.update(reason for (reason,) in self.rows("SELECT reason FROM messages WHERE attempt > 0"))
            seen.update(self.rows("SELECT source, name FROM events"))
            seen.update({"heard of silence"} if self.heard_of_silence else ())
            super().teardown()

    wanted: set[object] = {
        *((1, status) for status in ("queued", "sending", "sent", "delivered", "failed", "uncertain")),
        (2, "queued"), (2, "sent"), "proved not accepted", "contact opted out", "heard of silence",
        "message_2_queued", "message_2_exists", "no_recent_message_1", "waiting_for_message_1", "campaign_cancelled",
        "opted_out", "opt_out", "opt_in", "unknown_contact",
        *((source.value, name) for source in EventSource for name in ("message:in:new", "message:out:ack")),
    }  # fmt: skip
    long = settings(MACHINE, max_examples=20, stateful_step_count=200, phases=[Phase.generate], derandomize=False)
    for _ in range(80):  # five are enough, nearly always
        run_state_machine_as_test(Surveyed, settings=long)
        if seen >= wanted:
            return
    assert wanted - seen == set()
