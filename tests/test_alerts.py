"""What is worth telling, as tables of facts; and the words in which it is told."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from tests.support import START
from wamsg2 import alerts
from wamsg2.alerts import Completed, Facts, Failure, Kind, Occurrence, Thresholds
from wamsg2.model import Finding, Notification, NotificationState

MIB = 1024 * 1024
MINUTE = timedelta(minutes=1)
THRESHOLDS = Thresholds(held=MINUTE, disk_bytes=100 * MIB)
WELL = Finding(ok=True, detail="operative, session online", checked_at=START)
WRONG = Finding(ok=False, detail="operative, session offline", checked_at=START)
SILENT = Finding(ok=None, detail="no answer: HTTP 503", checked_at=START)
#: Nobody can tell.
UNKNOWN = "unknown"


@pytest.mark.parametrize(
    ("facts", "kind", "expected"),
    [
        pytest.param(Facts(), Kind.HELD, None, id="not held"),
        pytest.param(Facts(held="HTTP 402"), Kind.HELD, "HTTP 402", id="held"),
        pytest.param(Facts(held="device: x", device=WRONG), Kind.HELD, UNKNOWN, id="held for the lost device"),
        pytest.param(Facts(held="HTTP 402", device=WELL), Kind.HELD, "HTTP 402", id="held with a device"),
        pytest.param(Facts(), Kind.DEVICE_LOST, UNKNOWN, id="device never looked at"),
        pytest.param(Facts(device=SILENT), Kind.DEVICE_LOST, UNKNOWN, id="device not told"),
        pytest.param(Facts(device=WELL), Kind.DEVICE_LOST, None, id="device there"),
        pytest.param(Facts(device=WRONG), Kind.DEVICE_LOST, WRONG.detail, id="device lost"),
        pytest.param(Facts(), Kind.WEBHOOK_WRONG, UNKNOWN, id="webhook never looked at"),
        pytest.param(Facts(webhook=SILENT), Kind.WEBHOOK_WRONG, UNKNOWN, id="webhook not told"),
        pytest.param(Facts(webhook=WELL), Kind.WEBHOOK_WRONG, None, id="webhook there"),
        pytest.param(Facts(webhook=WRONG), Kind.WEBHOOK_WRONG, WRONG.detail, id="webhook wrong"),
        pytest.param(Facts(), Kind.WEBHOOK_REFUSED, UNKNOWN, id="no webhook came"),
        pytest.param(Facts(webhook_refused=WELL), Kind.WEBHOOK_REFUSED, None, id="webhooks are accepted"),
        pytest.param(Facts(webhook_refused=WRONG), Kind.WEBHOOK_REFUSED, WRONG.detail, id="webhooks are refused"),
        pytest.param(Facts(), Kind.WEBHOOKS_LOST, UNKNOWN, id="nothing is known of losses"),
        pytest.param(Facts(webhooks_lost=WELL), Kind.WEBHOOKS_LOST, None, id="none is lost"),
        pytest.param(
            Facts(webhooks_lost=WRONG, webhook=WELL, webhook_refused=WELL),
            Kind.WEBHOOKS_LOST,
            WRONG.detail,
            id="webhooks are lost",
        ),
        pytest.param(Facts(webhooks_lost=WRONG, webhook=WRONG), Kind.WEBHOOKS_LOST, UNKNOWN, id="known why"),
        pytest.param(
            Facts(webhooks_lost=WRONG, webhook_refused=WRONG),
            Kind.WEBHOOKS_LOST,
            UNKNOWN,
            id="known why: refused",
        ),
        pytest.param(Facts(), Kind.UNCERTAIN, None, id="no doubt"),
        pytest.param(Facts(doubts=1), Kind.UNCERTAIN, "1 message in doubt for long", id="a doubt"),
        pytest.param(Facts(doubts=3), Kind.UNCERTAIN, "3 messages in doubt for long", id="doubts"),
        pytest.param(Facts(), Kind.RESTORE_WAITING, None, id="nothing restored waits"),
        pytest.param(Facts(restore_waiting="a"), Kind.RESTORE_WAITING, "a", id="restored messages wait"),
        pytest.param(Facts(), Kind.DISK_LOW, UNKNOWN, id="disk not known"),
        pytest.param(Facts(free_bytes=100 * MIB - 1), Kind.DISK_LOW, "99 MiB free", id="disk low"),
        pytest.param(Facts(free_bytes=100 * MIB), Kind.DISK_LOW, UNKNOWN, id="disk hardly better"),
        pytest.param(Facts(free_bytes=125 * MIB - 1), Kind.DISK_LOW, UNKNOWN, id="disk not yet well"),
        pytest.param(Facts(free_bytes=125 * MIB), Kind.DISK_LOW, None, id="disk well"),
        pytest.param(Facts(), Kind.BACKUP_FAILED, None, id="no backup yet"),
        pytest.param(Facts(), Kind.BACKUP_OLD, None, id="no backup that could be old"),
        pytest.param(
            Facts(backup_failed_at=START),
            Kind.BACKUP_FAILED,
            "no backup was made at 2026-11-22T10:00:00.000Z; `wamsg2 backup` says why",
            id="backup failed",
        ),
        pytest.param(Facts(backup_age=timedelta(hours=50)), Kind.BACKUP_OLD, None, id="backup hardly new"),
        pytest.param(
            Facts(backup_age=timedelta(hours=51, minutes=5)),
            Kind.BACKUP_OLD,
            "the last good backup was made 51 hours ago",
            id="backup old",
        ),
    ],
)
def test_conditions(facts: Facts, kind: Kind, expected: str | None) -> None:
    found = alerts.conditions(facts, unchanged=MINUTE, thresholds=THRESHOLDS)
    assert found.get(kind, UNKNOWN) == expected


@pytest.mark.parametrize("held", ["HTTP 402", None])
def test_a_hold_and_its_end_are_believed_after_a_while(held: str | None) -> None:
    short = alerts.conditions(Facts(held=held), unchanged=MINUTE - timedelta(seconds=1), thresholds=THRESHOLDS)
    assert Kind.HELD not in short
    at_once = alerts.conditions(
        Facts(held=held), unchanged=timedelta(), thresholds=replace(THRESHOLDS, held=timedelta())
    )
    assert at_once[Kind.HELD] == held


def test_no_threshold_is_never_low() -> None:
    thresholds = replace(THRESHOLDS, disk_bytes=0)
    assert alerts.conditions(Facts(free_bytes=0), unchanged=MINUTE, thresholds=thresholds)[Kind.DISK_LOW] is None


def test_no_age_is_never_old() -> None:
    thresholds = replace(THRESHOLDS, backup_age=timedelta())
    found = alerts.conditions(Facts(backup_age=timedelta(days=900)), unchanged=MINUTE, thresholds=thresholds)
    assert found[Kind.BACKUP_OLD] is None


def test_occurrences_have_a_subject_that_tells_them_apart() -> None:
    facts = Facts(completed=(Completed("spring", 500, 46), Completed("one", 1, 0)), webhook_disabled_at=START)
    found = alerts.occurrences(facts, Failure(START + MINUTE, "disk full"))
    assert [(each.kind, each.subject) for each in found] == [
        (Kind.CAMPAIGN_COMPLETED, "spring"),
        (Kind.CAMPAIGN_COMPLETED, "one"),
        (Kind.WEBHOOK_DISABLED, "2026-11-22T10:00:00.000Z"),
        (Kind.DATABASE_FAILED, "2026-11-22T10:01:00.000Z"),
    ]
    assert found[0] == Occurrence(Kind.CAMPAIGN_COMPLETED, "spring", "500 contacts, 46 of them replied")
    assert found[3].detail == "disk full"
    assert alerts.occurrences(Facts(), None) == ()


@pytest.mark.parametrize(
    ("next_at", "seconds"),
    [
        (START - timedelta(days=1), 0),
        (START, 0),
        (START + timedelta(seconds=5), 5),
        (START + timedelta(hours=1), 3600),
        (START + timedelta(days=1), 0),  # the clock was set back
    ],
)
def test_the_next_try(next_at: datetime, seconds: float) -> None:
    assert alerts.seconds_until(next_at, START) == seconds


def test_the_payload() -> None:
    raised = Notification(
        7, "ab", "held", "", "HTTP 402", NotificationState.RAISED, raised_at=START, created_at=START, attempts=3
    )
    at = "2026-11-22T10:00:00.000Z"
    assert alerts.payload(raised) == {
        "type": "wamsg2.held",
        "timestamp": at,
        "data": {
            "kind": "held",
            "state": "raised",
            "subject": "",
            "detail": "HTTP 402",
            "raised_at": at,
            "cleared_at": None,
        },
    }
    later = "2026-11-22T10:01:00.000Z"
    cleared = alerts.payload(replace(raised, state=NotificationState.CLEARED, created_at=START + MINUTE))
    assert (cleared["type"], cleared["timestamp"]) == ("wamsg2.held.cleared", later)
    assert isinstance(cleared["data"], dict)
    assert (cleared["data"]["raised_at"], cleared["data"]["cleared_at"]) == (at, later)
