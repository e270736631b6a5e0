"""What becomes of a message: answers, receipts, look-ups and people's words, in every order."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from itertools import combinations, permutations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import KEPT, START, House, ack, commit, house, inbound, kept_for, memory, receipt
from wamsg2 import rules
from wamsg2.model import (
    Absent,
    Accepted,
    Claim,
    Deferred,
    Doubt,
    Event,
    Held,
    LookUp,
    MessageStatus,
    Outcome,
    Policy,
    Receipt,
    ReceiptStatus,
    Rejected,
    Sender,
    Start,
    Uncertain,
    Unknown,
    WamsgError,
    Withdrawn,
)
from wamsg2.reconciler import Reconciler
from wamsg2.store import campaigns, history, messages
from wamsg2.store.times import to_ms
from wamsg2.work import campaigning, claiming, receiving, settling
from wamsg2.work.signals import NO_SIGNALS

ONE = "+34600000001"
QUEUE_ID, WA_ID = "675c5f0a1b2c3d4e5f600001", "3EB0A1B2C3D4E5F60001"
SENT_AT = START + timedelta(seconds=4)
POLICY = Policy()
GAP = timedelta(seconds=1)
Columns = tuple[object, ...]


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = memory()
    yield made
    made.close()


def claimed(connection: sqlite3.Connection) -> Claim:
    """A campaign's only message, claimed."""
    row = campaigning.Row(2, ONE, ONE, {})
    commit(connection, lambda tx: campaigns.add(tx, name="c", key="k", message_1="Hi", message_2="More", now=START))
    commit(connection, lambda tx: campaigning.add_rows(tx, "c", [row], START))
    commit(connection, lambda tx: campaigning.prepare_launch(tx, "c", 0, START))
    commit(connection, lambda tx: campaigning.finish_launch(tx, "c", START))
    (claim,) = commit(connection, lambda tx: claiming.claim(tx, now=START, due_before=START, most=1)).claims
    return claim


# --- every order ---------------------------------------------------------------------------------------------

Happening = Callable[[sqlite3.Connection, Claim], object]


def answered(outcome: Outcome) -> Happening:
    return lambda connection, claim: commit(
        connection,
        lambda tx: settling.settle(
            tx, claim, outcome, start=Start(START, GAP), now=START + timedelta(seconds=9), policy=POLICY
        ),
    )


def told(
    status: ReceiptStatus, *, queue_id: str | None = None, wa_id: str | None = None, ours: bool = False
) -> Happening:
    def happen(connection: sqlite3.Connection, claim: Claim) -> object:
        at = SENT_AT if status is ReceiptStatus.SENT else START + timedelta(seconds=8)
        content = Receipt(status, claim.reference if ours else None, queue_id, wa_id, at, f"why {status}")
        event = Event("message:out", f"{status}{queue_id}{wa_id}{ours}".encode(), b"{}", content)
        now = START + timedelta(seconds=9)
        return commit(
            connection, lambda tx: receiving.receive(tx, event, arrived_at=now, policy=POLICY, signals=NO_SIGNALS)
        )

    return happen


ANSWERS = {
    "accepted": answered(Accepted(QUEUE_ID)),
    "accepted, and told both ids": answered(Accepted(QUEUE_ID, WA_ID)),
    "uncertain": answered(Uncertain("no answer in time")),
}
REPORTS = {
    "sent": told(ReceiptStatus.SENT, queue_id=QUEUE_ID, wa_id=WA_ID, ours=True),
    "delivered": told(ReceiptStatus.DELIVERED, wa_id=WA_ID),
    "read": told(ReceiptStatus.READ, wa_id=WA_ID),
    "failed": told(ReceiptStatus.FAILED, queue_id=QUEUE_ID),
}
CHAIN = {"sent": 1, "failed": 2, "delivered": 3, "read": 4}


def end_of(connection: sqlite3.Connection) -> Columns:
    (row,) = connection.execute("SELECT status, queue_id, wa_id, delivered_at, read_at FROM messages").fetchall()
    assert connection.execute("SELECT count(*) FROM waiting_receipts").fetchone() == (0,)
    assert connection.execute("SELECT count(*) FROM messages WHERE uncertain_since IS NOT NULL").fetchone() == (0,)
    columns: Columns = row
    return columns


@pytest.mark.parametrize("answer", ANSWERS)
def test_every_order_ends_the_same(answer: str) -> None:
    happenings = {"answer": ANSWERS[answer], **REPORTS}
    ends = set()
    for order in permutations(happenings):
        connection = memory()
        claim = claimed(connection)
        for name in order:
            happenings[name](connection, claim)
        ends.add(end_of(connection))
        connection.close()
    at_ms = int((START + timedelta(seconds=8)).timestamp() * 1000)
    assert ends == {("read", QUEUE_ID, WA_ID, at_ms, at_ms)}


@pytest.mark.parametrize("others", [c for n in range(4) for c in combinations(["delivered", "read", "failed"], n)])
def test_the_furthest_report_holds(others: tuple[str, ...]) -> None:
    happenings = {"answer": ANSWERS["accepted"], **{name: REPORTS[name] for name in ("sent", *others)}}
    furthest = max(("sent", *others), key=CHAIN.__getitem__)
    for order in permutations(happenings):
        connection = memory()
        claim = claimed(connection)
        for name in order:
            happenings[name](connection, claim)
        assert end_of(connection)[0] == furthest, order
        connection.close()


@settings(deadline=None, max_examples=100)
@given(order=st.lists(st.sampled_from(["answer", *REPORTS]), max_size=12))
def test_the_status_only_moves_up(order: list[str]) -> None:
    """Also with repetitions, and where some never come."""
    happenings = {"answer": ANSWERS["accepted"], **REPORTS}
    connection = memory()
    claim = claimed(connection)
    reached = 0
    for name in order:
        happenings[name](connection, claim)
        ((status,),) = connection.execute("SELECT status FROM messages").fetchall()
        assert CHAIN.get(status, 0) >= reached
        reached = CHAIN.get(status, 0)
    connection.close()


@pytest.mark.parametrize("order", list(permutations(["sent", "failed", "delivered"])), ids=" ".join)
def test_the_providers_time_holds_in_every_order(connection: sqlite3.Connection, order: tuple[str, ...]) -> None:
    claim = claimed(connection)
    answered(Accepted(QUEUE_ID, WA_ID))(connection, claim)
    for name in order:
        REPORTS[name](connection, claim)
    assert connection.execute("SELECT sent_at FROM messages").fetchall() == [(int(SENT_AT.timestamp() * 1000),)]


# --- by which id ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ids",
    [
        {"reference": True},
        {"queue_id": QUEUE_ID},
        {"wa_id": WA_ID},
        {"queue_id": WA_ID},  # some events put either id in either place
        {"wa_id": QUEUE_ID},
    ],
)
@pytest.mark.parametrize("first", ["answer", "receipt"])
async def test_a_receipt_finds_its_message_by_any_id(home: House, ids: dict[str, str], first: str) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    content = Receipt(
        ReceiptStatus.DELIVERED,
        claim.reference if "reference" in ids else None,
        ids.get("queue_id"),
        ids.get("wa_id"),
        START,
    )

    async def report() -> None:
        await home.store.write(lambda tx: settling.receive_receipt(tx, content, now=START, policy=POLICY))

    if first == "receipt":
        await report()
    await home.settle(claim, Accepted(QUEUE_ID, WA_ID))
    if first == "answer":
        await report()
    assert await home.statuses() == [(ONE, 1, "delivered")]
    assert await home.rows("SELECT count(*) FROM waiting_receipts") == [(0,)]


async def test_kept_receipts_follow_a_chain_of_ids(home: House) -> None:
    await home.campaign(ONE)
    claim = await home.send_one(Uncertain("no answer in time"))
    await home.receive(ack("read", at=START, wa_id=WA_ID, number=ONE))
    await home.receive(receipt("sent", at=START, queue_id=QUEUE_ID, wa_id=WA_ID))
    assert await home.rows("SELECT count(*) FROM waiting_receipts") == [(2,)]
    await home.store.write(
        lambda tx: settling.receive_receipt(
            tx, Receipt(ReceiptStatus.SENT, claim.reference, QUEUE_ID, None, None), now=START, policy=POLICY
        )
    )
    assert await home.statuses() == [(ONE, 1, "read")]
    assert await home.rows("SELECT count(*) FROM waiting_receipts") == [(0,)]


async def test_a_receipt_of_another_message_changes_nothing(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.receive(ack("read", at=START, wa_id="3EB0FFFF", number=ONE))
    assert await home.statuses() == [(ONE, 1, "sent")]


# --- what is kept --------------------------------------------------------------------------------------------


async def test_a_failure_after_delivery_is_a_note(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Accepted(QUEUE_ID, WA_ID))
    await home.receive(ack("delivered", at=START, wa_id=WA_ID, number=ONE))
    await home.receive(receipt("failed", at=START, queue_id=QUEUE_ID, reason="number left"))
    assert await home.rows("SELECT status, reason, note FROM messages") == [("delivered", None, "number left")]


async def test_a_failure_before_delivery_counts(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Accepted(QUEUE_ID, WA_ID))
    await home.receive(receipt("failed", at=START, queue_id=QUEUE_ID, reason="not on WhatsApp"))
    assert await home.rows("SELECT status, reason, note FROM messages") == [("failed", "not on WhatsApp", None)]
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    assert await home.outcomes() == ["no_recent_message_1"]


async def test_the_providers_time_is_preferred(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Accepted(QUEUE_ID))
    assert await home.rows("SELECT sent_at = attempted_at, provider_sent_at FROM messages") == [(1, None)]
    home.clock.advance(60)
    await home.receive(receipt("sent", at=SENT_AT, queue_id=QUEUE_ID))
    at_ms = int(SENT_AT.timestamp() * 1000)
    assert await home.rows("SELECT sent_at, provider_sent_at FROM messages") == [(at_ms, at_ms)]


@pytest.mark.parametrize("told_at", [START - timedelta(days=2), START + timedelta(days=1)])
async def test_an_unbelievable_time_is_not_taken(home: House, told_at: object) -> None:
    await home.campaign(ONE)
    await home.send_one(Accepted(QUEUE_ID))
    home.clock.advance(60)
    await home.receive(receipt("sent", at=told_at, queue_id=QUEUE_ID))  # type: ignore[arg-type]
    ((sent_at,),) = await home.rows("SELECT sent_at FROM messages")
    assert START.timestamp() * 1000 <= sent_at <= home.clock.now().timestamp() * 1000


# --- outcomes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "status", "reason", "due_seconds"),
    [
        (Accepted(QUEUE_ID), "sent", None, 0),
        (Accepted(QUEUE_ID, status=ReceiptStatus.READ), "read", None, 0),
        (Accepted(QUEUE_ID, status=ReceiptStatus.FAILED, reason="gone"), "failed", "gone", 0),
        (Rejected("HTTP 422"), "failed", "HTTP 422", 0),
        (Deferred("HTTP 429", timedelta(seconds=60)), "queued", "HTTP 429", 60),
        (Deferred("refused"), "queued", "refused", 0),
        (Held("HTTP 402"), "queued", "HTTP 402", 0),
        (Withdrawn("contact opted out"), "queued", "withdrawn for an opt-out that does not stand", 0),
        (Uncertain("no answer in time"), "uncertain", "no answer in time", 0),
    ],
)
async def test_outcomes(home: House, outcome: Outcome, status: str, reason: str | None, due_seconds: int) -> None:
    await home.campaign(ONE)
    claim = await home.send_one(outcome)
    due_ms = int((START + timedelta(seconds=due_seconds)).timestamp() * 1000)
    assert await home.rows("SELECT status, reason, due_at, attempt FROM messages") == [(status, reason, due_ms, 1)]
    if status == "queued":
        home.clock.advance(60)
        (again,) = await home.claim()
        assert (again.attempt, again.reference) == (2, claim.reference)


async def test_the_start_of_the_request_is_what_counts(home: House) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    home.clock.advance(0.04)
    await home.settle(claim, Accepted(QUEUE_ID))
    ((attempted_at, sent_at),) = await home.rows("SELECT attempted_at, sent_at FROM messages")
    assert attempted_at == sent_at == int(START.timestamp() * 1000) + 40


async def test_the_answer_to_an_older_attempt_is_not_taken(home: House) -> None:
    await home.campaign(ONE)
    first = await home.send_one(Deferred("refused"))
    (second,) = await home.claim()
    now = home.clock.now()
    for outcome in (Accepted(QUEUE_ID), Rejected("HTTP 400")):
        status = await home.store.write(
            lambda tx, o=outcome: settling.settle(tx, first, o, start=Start(now, GAP), now=now, policy=POLICY)  # type: ignore[misc]
        )
        assert status is None
    assert await home.rows("SELECT status, attempt, queue_id FROM messages") == [("sending", second.attempt, None)]


@pytest.mark.parametrize("outcome", [Rejected("HTTP 400"), Deferred("x"), Uncertain("no answer in time"), Held("x")])
async def test_a_receipt_that_was_faster_knows_better(home: House, outcome: Outcome) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    await home.receive(receipt("sent", at=START, reference=claim.reference, queue_id=QUEUE_ID))
    await home.settle(claim, outcome)
    assert await home.rows("SELECT status, reason, queue_id FROM messages") == [("sent", None, QUEUE_ID)]


@pytest.mark.parametrize("outcome", [Deferred("refused", timedelta(seconds=5)), Held("HTTP 402")])
@pytest.mark.parametrize("event", ["opt-out", "cancel", "pause"])
async def test_what_is_put_back_is_looked_at_again(home: House, outcome: Outcome, event: str) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    match event:
        case "opt-out":
            await home.receive(inbound(ONE, "STOP", at=START, wa_id="A1"))
            expected = ("cancelled", "contact opted out")
        case "cancel":
            await home.campaigns.cancel("spring")
            expected = ("cancelled", "campaign cancelled")
        case _:
            await home.campaigns.pause("spring")
            expected = ("queued", outcome.reason or "")
    await home.settle(claim, outcome)
    assert await home.rows("SELECT status, reason FROM messages") == [expected]
    home.clock.advance(60)
    assert await home.claim() == []


async def test_what_was_accepted_stays_accepted_whatever_happened_meanwhile(home: House) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    await home.receive(inbound(ONE, "STOP", at=START, wa_id="A1"))
    await home.campaigns.cancel("spring")
    await home.settle(claim, Accepted(QUEUE_ID))
    assert await home.statuses() == [(ONE, 1, "sent")]


# --- doubt ---------------------------------------------------------------------------------------------------


async def doubtful(home: House) -> Claim:
    await home.campaign(ONE)
    return await home.send_one(Uncertain("no answer in time"))


async def next_doubt(home: House) -> Doubt | None:
    now = home.clock.now()
    return (await home.store.write(lambda tx: messages.next_doubt(tx, now)))[0]


async def look_up(home: House, doubt: Doubt, answer: LookUp, policy: Policy = POLICY) -> MessageStatus | None:
    now = home.clock.now()
    return await home.store.write(
        lambda tx: settling.settle_look_up(tx, doubt, answer, retention=KEPT, now=now, policy=policy)
    )


@pytest.mark.parametrize("status", ["sent", "delivered", "read", "failed"])
async def test_a_receipt_settles_a_doubt(home: House, status: str) -> None:
    claim = await doubtful(home)
    told_of = Receipt(ReceiptStatus(status), claim.reference, None, None, None, "gone")
    await home.store.write(lambda tx: settling.receive_receipt(tx, told_of, now=START, policy=POLICY))
    rows = await home.rows("SELECT status, uncertain_since, absent_since, look_ups, look_up_at FROM messages")
    # Of one that is just `sent` the next receipt is awaited for so long.
    ask_at = START + rules.ASK_AFTER if status == "sent" else None
    assert rows == [(status, None, None, 0, to_ms(ask_at))]


async def test_a_receipt_saves_a_message_that_was_put_back(home: House) -> None:
    """Should a look-up ever lie: a receipt that comes before the next attempt still keeps it from going twice."""
    claim = await doubtful(home)
    await home.store.write(lambda tx: settling.resolve(tx, 1, MessageStatus.QUEUED, now=START, policy=POLICY))
    await home.receive(receipt("sent", at=START, reference=claim.reference))
    assert await home.statuses() == [(ONE, 1, "sent")]
    assert await home.claim() == []


async def test_recover_doubts_what_was_sending_and_nothing_else(home: House) -> None:
    await home.campaign(*(f"+3460000000{n}" for n in range(1, 5)))
    await home.send_one()
    await home.claim(2)
    now = home.clock.now()
    assert await home.store.write(lambda tx: settling.recover(tx, now, POLICY)) == 2
    assert await home.store.write(lambda tx: settling.recover(tx, now, POLICY)) == 0
    rows = await home.rows("SELECT status, reason FROM messages ORDER BY id")
    doubt = ("uncertain", "the process ended during the request")
    assert rows == [("sent", None), doubt, doubt, ("queued", None)]
    assert await next_doubt(home) is None  # the provider's search may lag
    home.clock.advance(5)
    assert await next_doubt(home) is not None


async def test_recover_begins_the_look_ups_anew(home: House) -> None:
    """Killed again and again, a process would otherwise wait ever longer, and prove nothing."""
    await home.campaign("+34600000001", "+34600000002")
    for _ in range(2):
        await home.send_one(Uncertain("reset"))
    await home.store.write(
        lambda tx: messages.looked_up(
            tx, 1, absent_since=START, look_up_at=START + timedelta(minutes=10), now=START, reason=None
        )
    )
    soon = START + timedelta(seconds=1)
    await home.store.write(
        lambda tx: messages.looked_up(tx, 2, absent_since=None, look_up_at=soon, now=START, reason=None)
    )
    await home.store.write(lambda tx: settling.recover(tx, START, POLICY))
    assert await home.rows("SELECT look_ups, absent_since, look_up_at FROM messages ORDER BY id") == [
        (0, None, to_ms(START + timedelta(seconds=5))),
        (0, None, to_ms(soon)),
    ]


async def test_recover_waits_for_nothing_that_a_process_before_put_off(home: House) -> None:
    """A minute after a 429, or a day by a clock that was wrong: all is due as if it were new."""
    await home.campaign(*(f"+3460000000{n}" for n in range(1, 5)))
    await home.send_one(Deferred("HTTP 429", timedelta(seconds=3600)))
    due_at = [(to_ms(START + timedelta(seconds=s)), n) for s, n in ((1, 2), (-5, 3), (86_400, 4))]
    await home.store.write(lambda tx: tx.executemany("UPDATE messages SET due_at = ? WHERE id = ?", due_at))
    await home.store.write(lambda tx: settling.recover(tx, START, POLICY))
    due = await home.rows("SELECT due_at FROM messages ORDER BY id")
    assert [(at - to_ms(START)) / 1000 for (at,) in due] == [2, 1, -5, 2]


async def test_a_look_up_of_a_settled_message_changes_nothing(home: House) -> None:
    claim = await doubtful(home)
    home.clock.advance(600)
    doubt = await next_doubt(home)
    assert doubt
    await home.receive(receipt("sent", at=START, reference=claim.reference))
    assert await look_up(home, doubt, Absent()) is None
    assert await home.statuses() == [(ONE, 1, "sent")]


async def test_a_look_up_of_an_older_attempt_proves_nothing(home: House) -> None:
    await doubtful(home)
    home.clock.advance(5)
    old = await next_doubt(home)
    assert old
    home.clock.advance(300)
    await home.store.write(lambda tx: settling.resolve(tx, 1, MessageStatus.QUEUED, now=START, policy=POLICY))
    await home.send_one(Uncertain("again"))
    assert await look_up(home, old, Absent()) is None
    assert await home.rows("SELECT status, look_ups, absent_since FROM messages") == [("uncertain", 0, None)]


async def test_a_failed_look_up_keeps_what_was_known(home: House) -> None:
    await doubtful(home)
    for answer in (Absent(), Unknown("HTTP 503")):
        home.clock.advance(100)
        doubt = await next_doubt(home)
        assert doubt
        assert await look_up(home, doubt, answer) is MessageStatus.UNCERTAIN
    assert await home.rows("SELECT look_ups, absent_since FROM messages") == [
        (2, int((START + timedelta(seconds=100)).timestamp() * 1000))
    ]


@pytest.mark.parametrize(
    ("word", "status", "reason"),
    [
        (MessageStatus.SENT, "sent", None),
        (MessageStatus.QUEUED, "queued", "resolved by hand: retry"),
        (MessageStatus.FAILED, "failed", "resolved by hand: failed"),
    ],
)
async def test_resolve(home: House, word: MessageStatus, status: str, reason: str | None) -> None:
    claim = await doubtful(home)
    await home.store.write(lambda tx: settling.resolve(tx, 1, word, now=START, policy=POLICY))
    assert await home.rows("SELECT status, reason FROM messages") == [(status, reason)]
    assert await next_doubt(home) is None
    if word is MessageStatus.QUEUED:
        assert [c.reference for c in await home.claim()] == [claim.reference]


async def test_resolve_retry_respects_an_opt_out(home: House) -> None:
    await doubtful(home)
    await home.receive(inbound(ONE, "STOP", at=START, wa_id="A1"))
    await home.store.write(lambda tx: settling.resolve(tx, 1, MessageStatus.QUEUED, now=START, policy=POLICY))
    assert await home.statuses() == [(ONE, 1, "cancelled")]


@pytest.mark.parametrize("outcome", [Accepted(QUEUE_ID), Rejected("HTTP 400"), Held("HTTP 402")])
async def test_resolve_is_for_doubts_only(home: House, outcome: Outcome) -> None:
    await home.campaign(ONE)
    await home.send_one(outcome)
    before = await home.statuses()
    with pytest.raises(WamsgError, match=r"message 1 is (sent|failed|queued): only an uncertain one can be resolved"):
        await home.store.write(lambda tx: settling.resolve(tx, 1, MessageStatus.SENT, now=START, policy=POLICY))
    with pytest.raises(WamsgError, match="there is no message 99"):
        await home.store.write(lambda tx: settling.resolve(tx, 99, MessageStatus.SENT, now=START, policy=POLICY))
    assert await home.statuses() == before


async def test_an_answer_teaches_the_chat_id(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Accepted(QUEUE_ID, WA_ID, chat_id="183000000000001@lid"))
    assert await home.rows("SELECT chat_id, contact_id FROM chat_ids") == [("183000000000001@lid", 1)]


async def test_a_kept_receipt_teaches_the_chat_id(home: House) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    told_of = Receipt(ReceiptStatus.SENT, None, None, WA_ID, None, None, Sender(("183000000000001@lid",), None))
    await home.store.write(lambda tx: settling.receive_receipt(tx, told_of, now=START, policy=POLICY))
    await home.settle(claim, Accepted(QUEUE_ID, WA_ID))
    assert await home.rows("SELECT chat_id FROM chat_ids") == [("183000000000001@lid",)]


# --- notes ---------------------------------------------------------------------------------------------------


async def noted(home: House) -> list[tuple[float, str]]:
    """(seconds since the start, what) of every note."""
    rows = await home.rows("SELECT at, what FROM message_notes ORDER BY id")
    return [(at / 1000 - START.timestamp(), what) for at, what in rows]


async def test_the_ordinary_way_leaves_no_note(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Accepted(QUEUE_ID, WA_ID))
    await home.receive(receipt("sent", at=START, queue_id=QUEUE_ID))
    await home.receive(ack("delivered", at=START, wa_id=WA_ID, number=ONE))
    await home.receive(ack("read", at=START, wa_id=WA_ID, number=ONE))
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    home.clock.advance(2)
    await home.send_one()
    assert await noted(home) == []


@pytest.mark.parametrize(
    ("outcome", "note"),
    [
        (Rejected("HTTP 422"), "failed: HTTP 422"),
        (Deferred("HTTP 429", timedelta(seconds=60)), "back in line: HTTP 429"),
        (Held("HTTP 402"), "back in line: HTTP 402"),
        (Withdrawn("contact opted out"), "back in line: withdrawn for an opt-out that does not stand"),
        (Uncertain("no answer in time"), "doubted: no answer in time"),
    ],
)
async def test_what_a_request_came_to_is_noted(home: House, outcome: Outcome, note: str) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    started_at = home.clock.now()
    home.clock.advance(7)
    now = home.clock.now()
    await home.store.write(
        lambda tx: settling.settle(tx, claim, outcome, start=Start(started_at, GAP), now=now, policy=POLICY)
    )
    assert await noted(home) == [(0.0, "attempt 1"), (7.0, note)]


async def test_what_is_withdrawn_for_an_opt_out_is_cancelled_and_noted(home: House) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    await home.receive(inbound(ONE, "STOP", at=home.clock.now(), wa_id="A1"))
    outcome, now = Withdrawn("contact opted out"), home.clock.now()
    await home.store.write(lambda tx: settling.settle(tx, claim, outcome, start=None, now=now, policy=POLICY))
    assert await home.rows("SELECT status, reason FROM messages") == [("cancelled", "contact opted out")]
    assert (await noted(home))[-1] == (0.0, "withdrawn: contact opted out")


async def test_each_attempt_is_noted(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Deferred("refused"))
    home.clock.advance(5)
    await home.send_one(Deferred("refused again"))
    home.clock.advance(5)
    await home.send_one()
    assert await noted(home) == [
        (0.0, "attempt 1"), (0.0, "back in line: refused"), (5.0, "attempt 2"), (5.0, "back in line: refused again"),
    ]  # fmt: skip


async def test_what_nobody_wants_any_more_is_noted_with_both_reasons(home: House) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    await home.campaigns.cancel("spring")
    await home.settle(claim, Deferred("HTTP 429"))
    assert (await noted(home))[-1] == (0.0, "cancelled: campaign cancelled (HTTP 429)")


async def test_a_crash_is_noted(home: House) -> None:
    await home.campaign(ONE)
    await home.claim()
    home.clock.advance(60)
    now = home.clock.now()
    await home.store.write(lambda tx: settling.recover(tx, now, POLICY))
    assert await noted(home) == [(0.0, "attempt 1"), (60.0, "doubted: the process ended during the request")]


async def test_look_ups_are_noted_with_their_answers(home: House) -> None:
    await doubtful(home)
    for answer in (Unknown("HTTP 503"), Absent(), Absent()):
        home.clock.advance(150)
        doubt = await next_doubt(home)
        assert doubt
        await look_up(home, doubt, answer)
    assert (await noted(home))[2:] == [
        (150.0, "looked up: no answer (HTTP 503)"),
        (300.0, "looked up: absent"),  # twice
        (450.0, "back in line: proved not accepted"),
    ]
    assert await home.rows("SELECT times FROM message_notes WHERE what = 'looked up: absent'") == [(2,)]


async def test_a_look_up_that_finds_it_is_noted(home: House) -> None:
    await doubtful(home)
    home.clock.advance(10)
    doubt = await next_doubt(home)
    assert doubt
    assert await look_up(home, doubt, Accepted(QUEUE_ID, WA_ID)) is MessageStatus.SENT
    assert (await noted(home))[2:] == [(10.0, "looked up: accepted")]


@pytest.mark.parametrize(
    ("word", "note"),
    [
        (MessageStatus.SENT, "resolved by hand: sent"),
        (MessageStatus.QUEUED, "back in line: resolved by hand: retry"),
        (MessageStatus.FAILED, "resolved by hand: failed"),
    ],
)
async def test_a_persons_word_is_noted(home: House, word: MessageStatus, note: str) -> None:
    await doubtful(home)
    home.clock.advance(9)
    now = home.clock.now()
    await home.store.write(lambda tx: settling.resolve(tx, 1, word, now=now, policy=POLICY))
    assert (await noted(home))[2:] == [(9.0, note)]


@pytest.mark.parametrize(
    ("delivered", "note"),
    [(False, "failed: number left"), (True, "reported as failed, too late to count: number left")],
)
async def test_a_reported_failure_is_noted(home: House, note: str, *, delivered: bool) -> None:
    await home.campaign(ONE)
    await home.send_one(Accepted(QUEUE_ID, WA_ID))
    if delivered:
        await home.receive(ack("delivered", at=START, wa_id=WA_ID, number=ONE))
    home.clock.advance(30)
    at = START + timedelta(seconds=20)
    await home.receive(receipt("failed", at=at, queue_id=QUEUE_ID, reason="number left"))
    await home.receive(receipt("failed", at=at, wa_id=WA_ID, reason="number left"))  # by another name
    assert set(await noted(home)) == {(20.0, note)}


async def test_notes_go_with_their_message(home: House) -> None:
    await doubtful(home)
    await home.store.write(lambda tx: tx.execute("DELETE FROM contacts"))
    assert await noted(home) == []


# --- proofs and doubts that come late -----------------------------------------------------------------------


async def test_an_acceptance_counts_though_somebody_said_retry_meanwhile(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Uncertain("no answer in time"))
    home.clock.advance(6)
    now = home.clock.now()
    looked_up, _ = await home.store.write(lambda tx: messages.next_doubt(tx, now))
    assert looked_up
    await home.store.write(
        lambda tx: settling.resolve(tx, looked_up.message_id, MessageStatus.QUEUED, now=now, policy=POLICY)
    )
    found = partial(
        settling.settle_look_up,
        looked_up=looked_up,
        retention=KEPT,
        now=now,
        policy=POLICY,
        signals=home.signals,
    )
    for answer in (Absent(), Unknown("HTTP 500")):  # says nothing of what is in line
        assert await home.store.write(partial(found, answer=answer)) is None
        assert await home.statuses() == [(ONE, 1, "queued")]
    (claim,) = await home.claim(1)  # and is claimed, but has not left
    assert await home.store.write(partial(found, answer=Accepted(QUEUE_ID, WA_ID))) is MessageStatus.SENT
    assert home.signals.withdrawn == [claim.contact_id]
    await home.store.write(
        lambda tx: settling.settle(tx, claim, Withdrawn("contact opted out"), start=None, now=now, policy=POLICY)
    )
    assert await home.statuses() == [(ONE, 1, "sent")]


@pytest.mark.parametrize("by_hand", [True, False])
async def test_a_message_2_in_doubt_at_resume_is_not_sent_two_days_later(home: House, *, by_hand: bool) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    await home.receive(inbound(ONE, "yes", at=home.clock.now(), wa_id="AC1"))
    home.clock.advance(5)
    claim = await home.send_one(Uncertain("no answer in time"))
    await home.campaigns.pause("spring")
    home.clock.advance(48 * 3600)
    await home.campaigns.resume("spring")
    now = home.clock.now()
    if by_hand:
        await home.store.write(
            lambda tx: settling.resolve(tx, claim.message_id, MessageStatus.QUEUED, now=now, policy=POLICY)
        )
    else:
        doubt = await next_doubt(home)
        assert doubt
        await look_up(home, replace(doubt, absent_since=now - POLICY.resend_after), Absent())
    rows = await home.rows("SELECT status, reason FROM messages WHERE step = 2")
    assert rows == [("cancelled", "reply_too_old")]


async def test_an_outcome_that_cannot_be_stored_is_a_doubt(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await home.campaign(ONE)

    def broken(*_: object, **__: object) -> None:
        raise ValueError("a unit that cannot be done")

    monkeypatch.setattr(settling, "settle", broken)
    home.clock.advance(2)
    await home.sender.step()
    await home.sender.settle_all()
    assert await home.rows("SELECT status, reason FROM messages") == [("uncertain", "internal error (ValueError)")]
    monkeypatch.setattr(settling, "doubt_unsettled", broken)
    await home.campaign("+34600000002", name="other")
    home.clock.advance(2)
    await home.sender.step()
    await home.sender.settle_all()  # and comes to an end
    assert await home.rows("SELECT status FROM messages") == [("uncertain",), ("sending",)]


async def test_the_same_note_is_counted(home: House) -> None:
    await home.campaign(ONE)
    claim = await home.send_one(Uncertain("no answer in time"))
    reconciler = Reconciler(
        store=home.store,
        client=home.client,
        clock=home.clock,
        policy=POLICY,
        gap_seconds=1,
        retention=kept_for(home.clock),
        signals=home.signals,
    )
    home.client.look_ups = [Unknown("HTTP 403")] * 9
    while home.client.look_ups:
        home.clock.advance(await reconciler.step())
    (note,) = await home.rows("SELECT times, last_at FROM message_notes WHERE what LIKE 'looked up%'")
    shown = await history.message(home.store.reader, claim.message_id)
    assert shown
    (again,) = [each for each in shown["history"] if "times" in each]
    assert (again["what"], again["times"]) == ("looked up: no answer (HTTP 403)", 9)
    assert note == (9, to_ms(datetime.fromisoformat(again["last_at"])))
    assert [each["what"] for each in shown["history"]].count("attempt 1") == 1
