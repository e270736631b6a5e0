"""The promises against a machine whose database may at any moment be one that came out of a backup."""

import sqlite3
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from tests.support import memory
from tests.test_promises import MACHINE, World, likely, picks, seldom, sources
from wamsg2 import rules
from wamsg2.model import EventResult, EventSource, InboundMessage, MessageStatus, Overlap, ReceiptStatus
from wamsg2.store.writer import Tx
from wamsg2.work import catching_up, receiving, restoring

IN_DOUBT = """SELECT m.id, m.reference FROM messages m JOIN campaigns g ON g.id = m.campaign_id
              WHERE m.status = 'uncertain' AND ifnull(m.attempted_at, 0) <= g.restored_at"""


class Restoring(World):
    """The world, whose disk breaks. What its provider accepted, and what people wrote, has happened all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.backup: sqlite3.Connection | None = None
        self.taken_in_then = Counter[EventSource]()

    @initialize(overlap=st.sampled_from(Overlap), launch=likely)
    def begin(self, *, overlap: Overlap, launch: bool) -> None:
        super().begin(overlap=overlap, launch=launch)
        self.back_up(sure=True)

    @rule(sure=seldom)
    def back_up(self, *, sure: bool) -> None:
        if sure or self.backup is None:
            self.backup = self.backup or memory()
            self.connection.backup(self.backup)
            self.taken_in_then = Counter(self.taken_in)

    @precondition(lambda self: self.backup)
    @rule(sure=st.integers(0, 3).map(lambda n: n == 3), seconds=st.sampled_from((1, 60, 7200)))
    def restore(self, seconds: float, *, sure: bool) -> None:
        if not sure or self.backup is None:
            return
        self.now += timedelta(seconds=seconds)
        for gone in (self.unsent, self.sent, self.asked, self.absences, self.reached):
            gone.clear()
        self.backup.backup(self.connection)
        self.taken_in = Counter(self.taken_in_then)
        self.do(lambda tx: restoring.begin(tx, self.now))
        after: int | None = 0
        while after is not None:
            after, _ = self.do(lambda tx, a=after: restoring.doubt(tx, a, self.now))  # type: ignore[misc] # a lambda has no annotations
        self.catch_up()

    def catch_up(self) -> None:
        """The provider lists what people wrote, and nothing else."""
        for event in [event for event in self.events if isinstance(event.content, InboundMessage)]:
            received = self.do(
                lambda tx, e=event: receiving.receive(  # type: ignore[misc] # see above
                    tx, e, arrived_at=self.now, policy=self.policy, signals=self, source=EventSource.CATCH_UP
                )
            )
            self.taken_in[EventSource.CATCH_UP] += received.result is not EventResult.DUPLICATE
        self.do(lambda tx: catching_up.listed(tx, None, self.now))
        known = {identity for (identity,) in self.rows("SELECT identity FROM events")}
        self.events = [event for event in self.events if event.identity in known]

    # When a message was sent that the database knows nothing of, only the provider can tell.

    @precondition(lambda self: self.taken)
    @rule(
        pick=picks, status=st.sampled_from(ReceiptStatus), ids=st.integers(1, 7), timed=st.booleans(), source=sources
    )
    def report(self, pick: int, status: ReceiptStatus, ids: int, source: EventSource, *, timed: bool) -> None:
        taken = list(self.taken.values())[-1 - pick % len(self.taken)]
        if self.rows(f"{IN_DOUBT} AND m.reference = ?", taken.claim.reference):
            status, timed = ReceiptStatus.SENT, True
        super().report(pick=pick, status=status, ids=ids, source=source, timed=timed)

    def doubts(self) -> list[tuple[int, str]]:
        unknown = {message_id for message_id, _ in self.rows(IN_DOUBT)}
        return [(message_id, reference) for message_id, reference in super().doubts() if message_id not in unknown]

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            if self.backup is not None:
                self.backup.close()

    # How consent comes about is the other machine's affair; a person's word is lost with the database.

    def opted_out(self, who: str) -> bool:
        rows = self.rows("SELECT opted_out FROM contacts WHERE phone = ?", who)
        return bool(rows and rows[0][0])

    def opt_out_by_hand(self, *_: Any, **__: Any) -> None:
        """Nobody does."""


def test_promises() -> None:
    run_state_machine_as_test(Restoring, settings=settings(MACHINE, max_examples=30))


@pytest.mark.soak
def test_promises_for_long() -> None:
    long = settings(MACHINE, max_examples=5000, stateful_step_count=150, derandomize=False)
    run_state_machine_as_test(Restoring, settings=long)


class Hurried(Restoring):
    """Looks for what goes out twice, and at nothing else."""

    def nothing_is_violated(self, *, at_the_end: bool = False) -> None:
        """Takes most of the time."""


def trust_the_rows(_tx: Tx, _after: int, _now: datetime) -> tuple[None, int]:
    return None, 0


def trust_new_messages(
    *, contact_opted_out: bool = False, restored_at: datetime | None, reply_at: datetime | None = None
) -> tuple[MessageStatus, str | None]:
    del restored_at, reply_at
    return (MessageStatus.CANCELLED, "opted out") if contact_opted_out else (MessageStatus.QUEUED, None)


@pytest.mark.parametrize(
    ("room", "name", "careless"),
    [
        (restoring, "doubt", trust_the_rows),
        pytest.param(rules, "first_status", trust_new_messages, marks=pytest.mark.soak),  # half a minute, at times
    ],
)
def test_the_machine_would_notice(monkeypatch: pytest.MonkeyPatch, room: object, name: str, careless: object) -> None:
    """Where the restore believes what the backup says, messages go out twice."""
    monkeypatch.setattr(room, name, careless)
    with pytest.raises(AssertionError, match="P1: "):
        run_state_machine_as_test(Hurried, settings=settings(MACHINE, max_examples=2000, phases=[Phase.generate]))
