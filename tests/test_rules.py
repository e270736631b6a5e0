"""The business decisions: each boundary, each row of each table, and the laws that hold for all of them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wamsg2 import rules
from wamsg2.model import (
    OPEN,
    UNSETTLED,
    WENT_OUT,
    CampaignStatus,
    Decision,
    Doubt,
    Message1,
    MessageStatus,
    Overlap,
    Policy,
    ReceiptStatus,
    ReplyOutcome,
    Step,
)
from wamsg2.rules import Consent

SENT_AT = datetime(2026, 11, 22, 10, 0, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
SECOND = timedelta(seconds=1)
MICROSECOND = timedelta(microseconds=1)
POLICY = Policy()
ALL = Policy(overlap=Overlap.ALL)

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
times = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - see timezones
durations = st.timedeltas(timedelta(0), timedelta(days=30))


def message_1(number: int = 1, *, went: timedelta = timedelta(0), **changes: Any) -> Message1:
    """A Message 1 that went out (`went` later than the others), of its own running campaign with a Message 2."""
    usual = Message1(number, number * 10, CampaignStatus.RUNNING, True, MessageStatus.SENT, SENT_AT + went, False)  # noqa: FBT003 - a row
    return replace(usual, **changes)


def decide(
    *message_1s: Message1,
    after: timedelta = timedelta(hours=1),
    quoted: int | None = None,
    policy: Policy = POLICY,
) -> list[tuple[ReplyOutcome, int | None]]:
    """(outcome, Message 1) of every decision about a reply written so long after `SENT_AT`."""
    decisions = rules.decide_reply(SENT_AT + after, quoted, message_1s, policy)
    for d in decisions:
        assert d.campaign_id == (None if d.message_1_id is None else d.message_1_id * 10)
    return [(d.outcome, d.message_1_id) for d in decisions]


# --- when a reply was written -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        pytest.param(None, SENT_AT, id="no time of its own: the arrival"),
        pytest.param(SENT_AT - 3 * DAY, SENT_AT - 3 * DAY, id="written long before it arrived"),
        pytest.param(SENT_AT, SENT_AT, id="written as it arrived"),
        pytest.param(SENT_AT + MICROSECOND, SENT_AT, id="a clock ahead of ours: the arrival"),
        pytest.param(SENT_AT + 900 * DAY, SENT_AT, id="a time of the far future: the arrival"),
    ],
)
def test_reply_time(written: datetime | None, expected: datetime) -> None:
    assert rules.reply_time(written, SENT_AT) == expected


@pytest.mark.parametrize(
    ("after", "counts"),
    [
        (-6 * SECOND, False),
        (-5 * SECOND - MICROSECOND, False),
        (-5 * SECOND, True),
        (-SECOND, True),
        (timedelta(0), True),
        (DAY - SECOND, True),
        (DAY, True),
        (DAY + MICROSECOND, False),
        (DAY + SECOND, False),
    ],
)
def test_the_window_has_both_its_ends(after: timedelta, counts: bool) -> None:  # noqa: FBT001 - a column
    assert rules.in_window(SENT_AT, SENT_AT + after, DAY) is counts
    expected = (ReplyOutcome.MESSAGE_2_QUEUED, 1) if counts else (ReplyOutcome.NO_RECENT_MESSAGE_1, None)
    assert decide(message_1(), after=after) == [expected]


@law
@given(times, st.timedeltas(timedelta(days=-40), timedelta(days=40)), durations)
def test_window_law(went_at: datetime, after: timedelta, window: timedelta) -> None:
    assert rules.in_window(went_at, went_at + after, window) is (timedelta(seconds=-5) <= after <= window)


@law
@given(times, times, times, durations)
def test_a_late_arrival_never_changes_whether_a_reply_counts(
    went_at: datetime, written_at: datetime, arrived_at: datetime, window: timedelta
) -> None:
    """Only the writing counts, as long as the clocks agree on what came first."""
    arrived_at = max(arrived_at, written_at)
    at_once = rules.in_window(went_at, rules.reply_time(written_at, written_at), window)
    assert rules.in_window(went_at, rules.reply_time(written_at, arrived_at), window) is at_once


# --- what a reply means -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(WENT_OUT))
def test_a_reply_to_a_message_1_that_went_out_queues_message_2(status: MessageStatus) -> None:
    assert decide(message_1(status=status)) == [(ReplyOutcome.MESSAGE_2_QUEUED, 1)]


@pytest.mark.parametrize("status", sorted(UNSETTLED))
def test_a_reply_that_overtakes_its_message_1_waits(status: MessageStatus) -> None:
    assert decide(message_1(status=status)) == [(ReplyOutcome.WAITING_FOR_MESSAGE_1, 1)]


@pytest.mark.parametrize("status", [MessageStatus.QUEUED, MessageStatus.FAILED, MessageStatus.CANCELLED])
def test_a_message_1_that_never_went_is_no_reason_for_a_message_2(status: MessageStatus) -> None:
    assert decide(message_1(status=status)) == [(ReplyOutcome.NO_RECENT_MESSAGE_1, None)]
    assert decide(message_1(status=status), quoted=1) == [(ReplyOutcome.NO_RECENT_MESSAGE_1, None)]


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, ReplyOutcome.MESSAGE_2_QUEUED),
        ({"campaign_status": CampaignStatus.PAUSED}, ReplyOutcome.MESSAGE_2_QUEUED),
        ({"message_2_exists": True}, ReplyOutcome.MESSAGE_2_EXISTS),
        ({"campaign_status": CampaignStatus.PAUSED, "message_2_exists": True}, ReplyOutcome.MESSAGE_2_EXISTS),
        ({"campaign_has_message_2": False}, ReplyOutcome.NO_MESSAGE_2),
        ({"campaign_status": CampaignStatus.CANCELLED}, ReplyOutcome.CAMPAIGN_CANCELLED),
        ({"campaign_status": CampaignStatus.CANCELLED, "message_2_exists": True}, ReplyOutcome.CAMPAIGN_CANCELLED),
        (
            {"campaign_status": CampaignStatus.CANCELLED, "campaign_has_message_2": False},
            ReplyOutcome.CAMPAIGN_CANCELLED,
        ),
        ({"status": MessageStatus.SENDING}, ReplyOutcome.WAITING_FOR_MESSAGE_1),
        ({"status": MessageStatus.UNCERTAIN, "campaign_has_message_2": False}, ReplyOutcome.NO_MESSAGE_2),
        ({"status": MessageStatus.UNCERTAIN, "message_2_exists": True}, ReplyOutcome.MESSAGE_2_EXISTS),
        (
            {"status": MessageStatus.SENDING, "campaign_status": CampaignStatus.CANCELLED},
            ReplyOutcome.CAMPAIGN_CANCELLED,
        ),
        ({"status": MessageStatus.SENDING, "went_at": None}, ReplyOutcome.NO_RECENT_MESSAGE_1),
    ],
)
@pytest.mark.parametrize("quoted", [None, 1])
@pytest.mark.parametrize("policy", [POLICY, ALL], ids=["latest", "all"])
def test_one_message_1(changes: dict[str, Any], outcome: ReplyOutcome, quoted: int | None, policy: Policy) -> None:
    told = None if outcome is ReplyOutcome.NO_RECENT_MESSAGE_1 else 1
    assert decide(message_1(**changes), quoted=quoted, policy=policy) == [(outcome, told)]


def test_a_contact_without_any_message_1() -> None:
    for policy in (POLICY, ALL):
        assert decide(policy=policy) == [(ReplyOutcome.NO_RECENT_MESSAGE_1, None)]


def test_the_most_recent_message_1_is_answered_wherever_it_stands_in_the_list() -> None:
    old, recent = message_1(1), message_1(2, went=timedelta(minutes=30))
    assert decide(old, recent) == decide(recent, old) == [(ReplyOutcome.MESSAGE_2_QUEUED, 2)]


def test_of_two_that_went_at_the_same_moment_the_later_row_is_the_more_recent() -> None:
    assert decide(message_1(2), message_1(1)) == [(ReplyOutcome.MESSAGE_2_QUEUED, 2)]


def test_a_message_1_outside_its_window_is_not_the_most_recent() -> None:
    old, recent = message_1(1), message_1(2, went=timedelta(hours=10))
    assert decide(old, recent, after=timedelta(hours=9)) == [(ReplyOutcome.MESSAGE_2_QUEUED, 1)]
    assert decide(old, recent, after=timedelta(hours=25)) == [(ReplyOutcome.MESSAGE_2_QUEUED, 2)]
    assert decide(old, recent, after=timedelta(hours=35)) == [(ReplyOutcome.NO_RECENT_MESSAGE_1, None)]


def test_one_that_failed_does_not_hide_an_older_one_that_went() -> None:
    failed = message_1(2, went=timedelta(minutes=30), status=MessageStatus.FAILED)
    assert decide(message_1(1), failed) == [(ReplyOutcome.MESSAGE_2_QUEUED, 1)]


def test_the_most_recent_decides_even_where_it_can_have_no_message_2() -> None:
    recent = message_1(2, went=timedelta(minutes=30), campaign_has_message_2=False)
    assert decide(message_1(1), recent) == [(ReplyOutcome.NO_MESSAGE_2, 2)]


def test_a_cancelled_campaign_counts_only_where_no_other_does() -> None:
    cancelled = message_1(2, went=timedelta(minutes=30), campaign_status=CampaignStatus.CANCELLED)
    assert decide(message_1(1), cancelled) == [(ReplyOutcome.MESSAGE_2_QUEUED, 1)]
    assert decide(cancelled) == [(ReplyOutcome.CAMPAIGN_CANCELLED, 2)]
    in_doubt = message_1(3, status=MessageStatus.UNCERTAIN)
    assert decide(cancelled, in_doubt) == [(ReplyOutcome.WAITING_FOR_MESSAGE_1, 3)]


def test_a_reply_waits_for_no_doubt_where_a_message_1_certainly_went_out() -> None:
    doubtful = message_1(2, went=timedelta(minutes=30), status=MessageStatus.UNCERTAIN)
    assert decide(message_1(1), doubtful) == [(ReplyOutcome.MESSAGE_2_QUEUED, 1)]
    assert decide(message_1(1), doubtful, quoted=2) == [(ReplyOutcome.WAITING_FOR_MESSAGE_1, 2)]


def test_a_reply_that_quotes_an_unknown_message_may_quote_the_one_in_doubt() -> None:
    doubtful = message_1(2, went=timedelta(minutes=-30), status=MessageStatus.UNCERTAIN)
    (decision,) = rules.decide_reply(SENT_AT + SECOND, None, [message_1(1), doubtful], POLICY, quotes_unknown=True)
    assert (decision.outcome, decision.message_1_id) == (ReplyOutcome.WAITING_FOR_MESSAGE_1, 2)


def test_the_quoted_message_1_outranks_the_most_recent() -> None:
    assert decide(message_1(1), message_1(2, went=timedelta(minutes=30)), quoted=1) == [
        (ReplyOutcome.MESSAGE_2_QUEUED, 1)
    ]


def test_a_quoted_message_1_whose_window_is_over_opens_no_other_campaign() -> None:
    old, recent = message_1(1), message_1(2, went=timedelta(hours=10))
    assert decide(old, recent, quoted=1, after=timedelta(hours=25)) == [(ReplyOutcome.NO_RECENT_MESSAGE_1, None)]


def test_all_answers_every_open_campaign_once() -> None:
    several = (
        message_1(1),
        message_1(2, message_2_exists=True),
        message_1(3, campaign_has_message_2=False),
        message_1(4, status=MessageStatus.SENDING),
        message_1(5, campaign_status=CampaignStatus.CANCELLED),
        message_1(6, status=MessageStatus.FAILED),
        message_1(7, went=timedelta(days=-2)),
    )
    for quoted in (None, 1, 5):
        assert decide(*several, policy=ALL, quoted=quoted) == [
            (ReplyOutcome.MESSAGE_2_QUEUED, 1),
            (ReplyOutcome.MESSAGE_2_EXISTS, 2),
            (ReplyOutcome.NO_MESSAGE_2, 3),
            (ReplyOutcome.WAITING_FOR_MESSAGE_1, 4),
        ]


def test_all_with_nothing_but_cancelled_campaigns_is_recorded_for_one_of_them() -> None:
    cancelled = [message_1(n, campaign_status=CampaignStatus.CANCELLED) for n in (1, 2)]
    ((outcome, told),) = decide(*cancelled, policy=ALL)
    assert outcome is ReplyOutcome.CAMPAIGN_CANCELLED
    assert told in {1, 2}


def test_the_window_is_the_policys() -> None:
    short = Policy(window=timedelta(hours=1))
    assert decide(message_1(), after=timedelta(hours=1), policy=short) == [(ReplyOutcome.MESSAGE_2_QUEUED, 1)]
    assert decide(message_1(), after=timedelta(hours=1) + SECOND, policy=short) == [
        (ReplyOutcome.NO_RECENT_MESSAGE_1, None)
    ]


message_1s = st.lists(
    st.builds(
        message_1,
        st.integers(1, 50),
        went=st.timedeltas(timedelta(days=-3), timedelta(days=3)),
        status=st.sampled_from(MessageStatus),
        campaign_status=st.sampled_from([c for c in CampaignStatus if c is not CampaignStatus.COMPLETED]),
        campaign_has_message_2=st.booleans(),
        message_2_exists=st.booleans(),
    ),
    unique_by=lambda m: m.id,
)


@law
@given(message_1s, st.none() | st.integers(1, 50), st.sampled_from([POLICY, ALL]))
def test_no_message_2_without_a_message_1_that_went_out_and_a_reply_in_its_window(
    several: list[Message1], quoted: int | None, policy: Policy
) -> None:
    decisions = rules.decide_reply(SENT_AT, quoted, several, policy)
    assert decisions
    assert len({d.campaign_id for d in decisions}) == len(decisions)
    assert policy is ALL or len(decisions) == 1
    by_id = {m.id: m for m in several}
    for decision in decisions:
        if decision.outcome is ReplyOutcome.MESSAGE_2_QUEUED:
            assert decision.message_1_id is not None
            answered = by_id[decision.message_1_id]
            assert answered.went_at is not None
            assert rules.in_window(answered.went_at, SENT_AT, policy.window)
            assert answered.status in WENT_OUT
            assert answered.campaign_has_message_2
            assert not answered.message_2_exists
            assert answered.campaign_status is not CampaignStatus.CANCELLED


@law
@given(message_1s, st.none() | st.integers(1, 50), st.data())
def test_the_order_of_the_rows_decides_nothing(
    several: list[Message1], quoted: int | None, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(several))
    assert rules.decide_reply(SENT_AT, quoted, several, POLICY) == rules.decide_reply(
        SENT_AT, quoted, shuffled, POLICY
    )


def test_an_outcome_that_outranks_the_reply_is_recorded_once_for_the_first_campaign() -> None:
    both = rules.decide_reply(SENT_AT, None, [message_1(1), message_1(2)], ALL)
    assert rules.with_outcome(both, ReplyOutcome.OPT_OUT) == (Decision(ReplyOutcome.OPT_OUT, 10, 1),)
    none = rules.decide_reply(SENT_AT, None, [], POLICY)
    assert rules.with_outcome(none, ReplyOutcome.OPTED_OUT) == (Decision(ReplyOutcome.OPTED_OUT, None, None),)


# --- opt-out and opt-in -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since_last", "word", "applies"),
    [
        (None, Consent.OPT_OUT, True),
        (None, Consent.OPT_IN, True),
        (SECOND, Consent.OPT_OUT, True),
        (SECOND, Consent.OPT_IN, True),
        (timedelta(0), Consent.OPT_OUT, True),
        (timedelta(0), Consent.OPT_IN, False),
        (-SECOND, Consent.OPT_OUT, False),
        (-SECOND, Consent.OPT_IN, False),
    ],
)
def test_the_word_written_last_holds(since_last: timedelta | None, word: Consent, applies: bool) -> None:  # noqa: FBT001 - a column
    last = None if since_last is None else SENT_AT - since_last
    assert rules.consent_applies(SENT_AT, last, word) is applies


words = st.tuples(
    st.sampled_from([SENT_AT + n * SECOND for n in range(4)]), st.sampled_from([Consent.OPT_OUT, Consent.OPT_IN])
)


@law
@given(st.lists(words, max_size=6), st.data())
def test_the_order_in_which_words_arrive_does_not_matter(
    written: list[tuple[datetime, Consent]], data: st.DataObject
) -> None:
    def end(arrived: list[tuple[datetime, Consent]]) -> Consent | None:
        last: datetime | None = None
        consent: Consent | None = None
        for at, word in arrived:
            if rules.consent_applies(at, last, word):
                last, consent = at, word
        return consent

    repeated = written + data.draw(st.lists(st.sampled_from(written), max_size=3) if written else st.just([]))
    assert end(data.draw(st.permutations(repeated))) is end(written)


# --- receipts ---------------------------------------------------------------------------------------------------

_UP = [MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ]


@pytest.mark.parametrize(
    ("status", "receipt", "after"),
    [
        ("sending", "sent", "sent"),
        ("uncertain", "sent", "sent"),
        ("uncertain", "read", "read"),
        ("sent", "sent", "sent"),
        ("sent", "delivered", "delivered"),
        ("sent", "read", "read"),
        ("sent", "failed", "failed"),
        ("delivered", "sent", "delivered"),
        ("delivered", "read", "read"),
        ("delivered", "failed", "delivered"),
        ("read", "sent", "read"),
        ("read", "delivered", "read"),
        ("read", "failed", "read"),
        ("failed", "sent", "failed"),
        ("failed", "delivered", "delivered"),
        ("failed", "read", "read"),
        ("cancelled", "sent", "sent"),
        ("queued", "delivered", "delivered"),
    ],
)
def test_advance(status: str, receipt: str, after: str) -> None:
    assert rules.advance(MessageStatus(status), ReceiptStatus(receipt)) == after


receipts = st.lists(st.sampled_from(ReceiptStatus), max_size=8)


@law
@given(st.sampled_from(MessageStatus), receipts, st.data())
def test_receipts_in_any_order_and_any_number_come_to_the_same(
    start: MessageStatus, reported: list[ReceiptStatus], data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(reported), max_size=8) if reported else st.just([]))
    shuffled = data.draw(st.permutations(reported + again))
    assert reduce(rules.advance, shuffled, start) is reduce(rules.advance, reported, start)


@law
@given(st.sampled_from(MessageStatus), receipts)
def test_a_status_never_goes_down(start: MessageStatus, reported: list[ReceiptStatus]) -> None:
    path = [start]
    for receipt in reported:
        path.append(rules.advance(path[-1], receipt))
    for before, after in pairwise(path):
        if before in _UP and after in _UP:
            assert _UP.index(after) >= _UP.index(before)
        assert not (before in {MessageStatus.DELIVERED, MessageStatus.READ} and after is MessageStatus.FAILED)
    highest = [s for s in _UP if ReceiptStatus(s.value) in reported][-1:]
    if highest and highest[0] is not MessageStatus.SENT:
        assert path[-1] in _UP[_UP.index(highest[0]) :]


@law
@given(st.sampled_from(MessageStatus), st.sampled_from(ReceiptStatus))
def test_a_receipt_always_settles(status: MessageStatus, receipt: ReceiptStatus) -> None:
    assert rules.advance(status, receipt) not in OPEN


@pytest.mark.parametrize(
    ("told", "attempted", "expected"),
    [
        pytest.param(None, SENT_AT, None, id="no time told"),
        pytest.param(SENT_AT, SENT_AT, SENT_AT, id="as we saw it"),
        pytest.param(
            SENT_AT - timedelta(hours=1), SENT_AT, SENT_AT - timedelta(hours=1), id="our clock an hour ahead"
        ),
        pytest.param(SENT_AT - DAY, SENT_AT, SENT_AT - DAY, id="a day before our request, just believable"),
        pytest.param(SENT_AT - DAY - MICROSECOND, SENT_AT, None, id="over a day before our request"),
        pytest.param(SENT_AT + 10 * SECOND, SENT_AT, SENT_AT + 10 * SECOND, id="now"),
        pytest.param(SENT_AT + 11 * SECOND, SENT_AT, SENT_AT + 10 * SECOND, id="the future is now"),
        pytest.param(SENT_AT - 9 * DAY, None, SENT_AT - 9 * DAY, id="no request known to compare with"),
    ],
)
def test_provider_sent_time(told: datetime | None, attempted: datetime | None, expected: datetime | None) -> None:
    now = SENT_AT + 10 * SECOND
    assert rules.provider_sent_time(told, attempted, now) == expected


# --- back in line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opted_out", "campaign", "expected"),
    [
        (False, CampaignStatus.RUNNING, (MessageStatus.QUEUED, None)),
        (False, CampaignStatus.PAUSED, (MessageStatus.QUEUED, None)),
        (True, CampaignStatus.RUNNING, (MessageStatus.CANCELLED, "contact opted out")),
        (True, CampaignStatus.CANCELLED, (MessageStatus.CANCELLED, "contact opted out")),
        (False, CampaignStatus.CANCELLED, (MessageStatus.CANCELLED, "campaign cancelled")),
    ],
)
def test_released(opted_out: bool, campaign: CampaignStatus, expected: tuple[MessageStatus, str | None]) -> None:  # noqa: FBT001 - a column
    assert rules.released(contact_opted_out=opted_out, campaign_status=campaign) == expected


# --- uncertain messages -----------------------------------------------------------------------------------------

TWO_MINUTES = timedelta(minutes=2)


def test_look_ups_double_from_5_seconds_to_10_minutes() -> None:
    waits = [rules.next_look_up(n, TWO_MINUTES).total_seconds() for n in range(9)]
    assert waits == [5, 10, 20, 40, 80, 160, 320, 600, 600]


def test_look_ups_never_stop_and_never_overflow() -> None:
    for look_ups in (20, 1000, 10**9):
        assert rules.next_look_up(look_ups, TWO_MINUTES) == timedelta(minutes=10)


def test_look_ups_go_on_where_nothing_is_ever_resent() -> None:
    assert rules.next_look_up(0, timedelta(0)) == 5 * SECOND


def test_a_short_proof_rests_on_several_look_ups_too() -> None:
    assert rules.next_look_up(0, 4 * SECOND) == SECOND


def doubt(absent_since: datetime | None, look_ups: int = 0) -> Doubt:
    return Doubt(
        message_id=1,
        attempt=1,
        reference="w2-0",
        attempted_at=SENT_AT,
        uncertain_since=SENT_AT,
        absent_since=absent_since,
        look_ups=look_ups,
    )


def is_proved(asked: Doubt, looked_at: datetime, resend_after: timedelta) -> bool:
    """By a provider that keeps messages for longer than any of these tests take."""
    return rules.judge_absence(asked, looked_at, resend_after, 99 * DAY) is rules.Absence.PROVED


@pytest.mark.parametrize(
    ("absent_for", "resend_after", "proved"),
    [
        pytest.param(None, TWO_MINUTES, False, id="the first look-up that says absent"),
        pytest.param(TWO_MINUTES - MICROSECOND, TWO_MINUTES, False, id="not long enough"),
        pytest.param(TWO_MINUTES, TWO_MINUTES, True, id="long enough"),
        pytest.param(9 * DAY, timedelta(0), False, id="never resend"),
        pytest.param(None, timedelta(0), False, id="never resend, first look-up"),
    ],
)
def test_absence_is_proved(absent_for: timedelta | None, resend_after: timedelta, proved: bool) -> None:  # noqa: FBT001 - a column
    looked_at = SENT_AT + 10 * DAY
    asked = doubt(None if absent_for is None else looked_at - absent_for)
    assert is_proved(asked, looked_at, resend_after) is proved


@pytest.mark.parametrize(
    ("after", "retention", "absence"),
    [
        pytest.param(TWO_MINUTES, timedelta(minutes=5), rules.Absence.PROVED, id="in time"),
        pytest.param(5 * TWO_MINUTES, 5 * TWO_MINUTES, rules.Absence.MAY_BE_DELETED, id="just too late"),
        pytest.param(TWO_MINUTES, TWO_MINUTES + MICROSECOND, rules.Absence.PROVED, id="just in time"),
        pytest.param(5 * SECOND, timedelta(0), rules.Absence.MAY_BE_DELETED, id="it keeps none"),
        pytest.param(TWO_MINUTES, None, rules.Absence.RETENTION_UNKNOWN, id="nobody knows"),
        pytest.param(timedelta(0), timedelta(0), rules.Absence.MAY_BE_DELETED, id="it keeps none, at once"),
    ],
)
def test_absence_proves_nothing_once_the_provider_may_have_deleted_the_message(
    after: timedelta, retention: timedelta | None, absence: rules.Absence
) -> None:
    asked = doubt(SENT_AT - DAY)  # look-ups agree for long enough
    assert rules.judge_absence(asked, SENT_AT + after, TWO_MINUTES, retention) is absence
    assert (rules.why_unproved(absence, retention) is None) is (absence is rules.Absence.PROVED)


@pytest.mark.parametrize(
    ("retention", "absence"),
    [
        pytest.param(timedelta(0), rules.Absence.MAY_BE_DELETED, id="it keeps none"),
        pytest.param(5 * TWO_MINUTES, rules.Absence.NOT_YET_PROVED, id="a while"),
    ],
)
def test_absence_proves_nothing_while_the_attempt_seems_to_be_still_to_come(
    retention: timedelta, absence: rules.Absence
) -> None:
    """The clock was set back since, as by a restart: how long ago the attempt was is not known."""
    asked = doubt(SENT_AT - DAY)
    assert rules.judge_absence(asked, SENT_AT - MICROSECOND, TWO_MINUTES, retention) is absence


def test_a_person_is_told_why_absence_proves_nothing() -> None:
    because = "no proof that it never arrived: "
    deleted = rules.Absence.MAY_BE_DELETED
    assert rules.why_unproved(deleted, timedelta(0)) == f"{because}the provider keeps no messages"
    for kept, words in ((timedelta(minutes=5), "5 min"), (timedelta(hours=12), "12 h"), (2 * DAY, "2 d")):
        assert rules.why_unproved(deleted, kept) == f"{because}the provider keeps messages for {words} only"
    unknown = f"{because}nobody knows how long the provider keeps messages"
    assert rules.why_unproved(rules.Absence.RETENTION_UNKNOWN, None) == unknown
    assert rules.why_unproved(rules.Absence.NOT_YET_PROVED, DAY) is None


def test_the_shortest_policy_since_the_attempt_counts() -> None:
    hour = timedelta(hours=1)
    seen = [(SENT_AT, 9 * DAY), (SENT_AT + hour, timedelta(0)), (SENT_AT + 2 * hour, DAY)]
    for since, shortest in (
        (SENT_AT - hour, timedelta(0)),
        (SENT_AT, timedelta(0)),
        (SENT_AT + hour, timedelta(0)),
        (SENT_AT + 2 * hour - MICROSECOND, timedelta(0)),  # in force until another one was seen
        (SENT_AT + 2 * hour, DAY),
        (SENT_AT + 9 * hour, DAY),
    ):
        assert rules.shortest_retention(seen, since) == shortest
    assert rules.shortest_retention([], SENT_AT) is None
    assert rules.shortest_retention([*seen, (SENT_AT + 3 * hour, None)], SENT_AT) is None
    assert rules.shortest_retention([(SENT_AT, None), *seen[1:]], SENT_AT + hour) == timedelta(0)


@law
@given(st.timedeltas(timedelta(milliseconds=4), timedelta(hours=2)), st.lists(st.booleans(), max_size=40))
def test_a_proof_needs_repeated_look_ups_over_the_whole_time(resend_after: timedelta, answered: list[bool]) -> None:
    """Look-ups at the prescribed times, of which some fail; the others say that the message never arrived."""
    now, asked, absences = SENT_AT, doubt(None), list[datetime]()
    for is_answered in answered:
        now += rules.next_look_up(asked.look_ups, resend_after)
        if is_answered:
            proved = is_proved(asked, now, resend_after)
            absences.append(now)
            assert proved is (absences[-1] - absences[0] >= resend_after)
            assert not proved or len(absences) >= 2
            asked = replace(asked, absent_since=asked.absent_since or now)
        asked = replace(asked, look_ups=asked.look_ups + 1)


def test_with_nothing_but_absences_the_proof_rests_on_three_look_ups_or_more() -> None:
    for resend_after in (timedelta(seconds=4), TWO_MINUTES, timedelta(minutes=10)):
        now, asked = SENT_AT, doubt(None)
        while not is_proved(asked, now, resend_after):
            asked = replace(asked, absent_since=asked.absent_since or now, look_ups=asked.look_ups + 1)
            now += rules.next_look_up(asked.look_ups, resend_after)
        assert asked.look_ups + 1 >= 3


# --- out of a backup --------------------------------------------------------------------------------------------

RESTORED_AT = SENT_AT + 10 * DAY


@pytest.mark.parametrize(
    ("restored_at", "reply_at", "status"),
    [
        pytest.param(None, None, "queued", id="Message 1"),
        pytest.param(None, SENT_AT, "queued", id="Message 2"),
        pytest.param(RESTORED_AT, None, "uncertain", id="Message 1 of a restored campaign, whenever it is made"),
        pytest.param(RESTORED_AT, RESTORED_AT - DAY, "uncertain", id="an answer that may have been given"),
        pytest.param(RESTORED_AT, RESTORED_AT, "uncertain", id="written in the moment of the restore"),
        pytest.param(RESTORED_AT, RESTORED_AT + 5 * SECOND, "uncertain", id="two clocks never agree"),
        pytest.param(RESTORED_AT, RESTORED_AT + 5 * SECOND + MICROSECOND, "queued", id="written since"),
    ],
)
def test_first_status(restored_at: datetime | None, reply_at: datetime | None, status: str) -> None:
    found, reason = rules.first_status(restored_at=restored_at, reply_at=reply_at)
    assert found == status
    assert (reason is None) is (status == "queued")


@pytest.mark.parametrize("restored_at", [None, RESTORED_AT])
def test_first_status_of_who_has_opted_out(restored_at: datetime | None) -> None:
    """Never in line; where it may have gone out before they said so, that is found out first."""
    found, reason = rules.first_status(contact_opted_out=True, restored_at=restored_at)
    assert found is (MessageStatus.UNCERTAIN if restored_at else MessageStatus.CANCELLED)
    assert reason


def in_doubt(number: int = 1, **changes: Any) -> Message1:
    unknown = {"status": MessageStatus.UNCERTAIN, "went_at": None, "went_before": RESTORED_AT}
    return message_1(number, **unknown | changes)


@pytest.mark.parametrize(
    ("after", "waits"),
    [
        pytest.param(-900 * DAY, True, id="it may have gone out long ago"),
        pytest.param(10 * DAY, True, id="in the moment of the restore"),
        pytest.param(11 * DAY, True, id="the last moment of the last window that it can have"),
        pytest.param(11 * DAY + MICROSECOND, False, id="out of every window that it can have"),
    ],
)
def test_a_reply_waits_for_a_message_1_that_may_have_gone_out_at_any_time(after: timedelta, waits: bool) -> None:  # noqa: FBT001 - a column
    outcome = ReplyOutcome.WAITING_FOR_MESSAGE_1 if waits else ReplyOutcome.NO_RECENT_MESSAGE_1
    assert decide(in_doubt(), after=after) == [(outcome, 1 if waits else None)]


def test_a_message_1_in_doubt_is_waited_for_only_where_none_is_certain() -> None:
    sent = message_1(1, went=9 * DAY)
    assert decide(sent, in_doubt(2), after=9 * DAY + SECOND) == [(ReplyOutcome.MESSAGE_2_QUEUED, 1)]
    assert decide(in_doubt(2), after=9 * DAY + SECOND) == [(ReplyOutcome.WAITING_FOR_MESSAGE_1, 2)]
    settled = in_doubt(2, status=MessageStatus.SENT, went_at=SENT_AT + 8 * DAY, went_before=None)
    assert decide(sent, settled, after=9 * DAY + SECOND) == [(ReplyOutcome.MESSAGE_2_QUEUED, 1)]
    proved_absent = in_doubt(2, status=MessageStatus.QUEUED, went_before=None)
    assert decide(sent, proved_absent, after=9 * DAY + SECOND) == [(ReplyOutcome.MESSAGE_2_QUEUED, 1)]


@pytest.mark.parametrize("resend_after", [SECOND, TWO_MINUTES, timedelta(hours=2)])
def test_out_of_a_backup_two_look_ups_are_the_proof(resend_after: timedelta) -> None:
    wait = rules.next_look_up(0, resend_after, is_restored=True)
    assert is_proved(doubt(SENT_AT), SENT_AT + wait, resend_after)


def test_out_of_a_backup_look_ups_are_ever_rarer_where_they_prove_nothing() -> None:
    waits = [rules.next_look_up(n, timedelta(0), is_restored=True) for n in (0, 1, 2, 20, 10**9)]
    assert waits == [timedelta(minutes=10), timedelta(minutes=20), timedelta(minutes=40), DAY, DAY]


# --- references -------------------------------------------------------------------------------------------------

keys = st.text(alphabet="0123456789abcdef", min_size=32, max_size=32)
contacts = st.from_regex(r"\+[1-9][0-9]{6,14}", fullmatch=True)
parts = st.tuples(keys, contacts, st.sampled_from(Step))


@law
@given(parts, parts)
def test_a_reference_is_unique_and_always_the_same(one: tuple[str, str, Step], other: tuple[str, str, Step]) -> None:
    assert (rules.reference(*one) == rules.reference(*other)) is (one == other)
    assert rules.reference(*one) == rules.reference(*one)


@law
@given(keys, contacts)
def test_a_reference_tells_nobody_the_number(key: str, contact: str) -> None:
    first, second = (rules.reference(key, contact, step) for step in Step)
    assert first != second
    for reference in (first, second):
        assert reference.startswith("w2-")
        assert len(reference) == 33
        assert contact[1:] not in reference


def test_references_stay_what_they_are_over_versions() -> None:
    """A message that was in doubt before an upgrade is looked up by the reference of the version before."""
    assert rules.reference("0123456789abcdef" * 2, "+34600000001", Step.MESSAGE_1) == REFERENCE_1
    assert rules.reference("0123456789abcdef" * 2, "+34600000001", Step.MESSAGE_2) == REFERENCE_2


REFERENCE_1 = "w2-f4e877b19fa405d333f9ae9be3e049"
REFERENCE_2 = "w2-7c6f2e882739939744e110fb8f1b7e"


# --- what nobody told -------------------------------------------------------------------------------------------


def questions(sent_at: datetime, window: timedelta, first_at: datetime) -> list[datetime]:
    """When a message of which nobody tells is asked about."""
    asked = [first_at]
    while len(asked) < 100 and (at := rules.next_question(len(asked) - 1, sent_at, asked[-1], window)):
        asked.append(at)
    return asked


def test_a_silent_message_is_asked_about_after_twice_the_time_each_time() -> None:
    asked = questions(SENT_AT, DAY, SENT_AT + rules.ASK_AFTER)
    assert [(at - SENT_AT) / timedelta(minutes=10) for at in asked] == [1, 2, 4, 8, 16, 32, 64, 128]


@law
@given(times, durations, st.integers(0, 10**6), st.timedeltas(timedelta(0), timedelta(days=40)))
def test_nobody_is_asked_once_the_window_is_over(
    sent_at: datetime, window: timedelta, look_ups: int, passed: timedelta
) -> None:
    now = sent_at + passed
    at = rules.next_question(look_ups, sent_at, now, window)
    if at is None:
        assert passed + rules.ASK_AFTER * 2 ** min(look_ups, 20) > window
    else:
        assert now + rules.ASK_AFTER <= at <= sent_at + window


@law
@given(times, times)
def test_lists_reach_back_an_hour_and_a_week_at_the_most(newest_listed: datetime, now: datetime) -> None:
    since = rules.list_since(newest_listed, now)
    assert since >= now - 7 * DAY
    assert since in (newest_listed - timedelta(hours=1), now - 7 * DAY)
    if newest_listed - timedelta(hours=1) >= now - 7 * DAY:
        assert since < newest_listed


@pytest.mark.parametrize(("doubts", "hopeless"), [(0, False), (1, False), (7, False), (8, True), (9, True)])
def test_after_eight_doubts_there_is_no_hope(doubts: int, hopeless: bool) -> None:  # noqa: FBT001 - a row of a table
    assert rules.is_hopeless(doubts) is hopeless


# --- campaigns --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", [s for s in CampaignStatus if s is not CampaignStatus.RUNNING])
def test_only_a_running_campaign_completes(stored: CampaignStatus) -> None:
    assert rules.campaign_status(stored, open_messages=0, window_closes_at=None, now=SENT_AT) is stored


@pytest.mark.parametrize(
    ("open_messages", "closes", "status"),
    [
        (0, None, CampaignStatus.COMPLETED),
        (1, None, CampaignStatus.RUNNING),
        (1, -SECOND, CampaignStatus.RUNNING),
        (0, SECOND, CampaignStatus.RUNNING),
        (0, timedelta(0), CampaignStatus.RUNNING),
        (0, -MICROSECOND, CampaignStatus.COMPLETED),
    ],
)
def test_campaign_status(open_messages: int, closes: timedelta | None, status: CampaignStatus) -> None:
    """A reply at the last moment of the window still counts, so the campaign is not over in that moment."""
    window_closes_at = None if closes is None else SENT_AT + closes
    assert (
        rules.campaign_status(
            CampaignStatus.RUNNING, open_messages=open_messages, window_closes_at=window_closes_at, now=SENT_AT
        )
        is status
    )


@law
@given(times, times, durations)
def test_no_reply_counts_once_a_campaign_is_completed(went_at: datetime, now: datetime, window: timedelta) -> None:
    status = rules.campaign_status(
        CampaignStatus.RUNNING, open_messages=0, window_closes_at=went_at + window, now=now
    )
    if status is CampaignStatus.COMPLETED:
        assert not rules.in_window(went_at, rules.reply_time(None, now), window)


def test_actions_start_from_where_they_may() -> None:
    expected = {
        "launch": {CampaignStatus.DRAFT},
        "pause": {CampaignStatus.RUNNING},
        "resume": {CampaignStatus.PAUSED},
        "cancel": set(CampaignStatus),
        "import": {CampaignStatus.DRAFT, CampaignStatus.RUNNING, CampaignStatus.PAUSED},
    }
    assert expected == rules.ALLOWED_FROM
