"""Between daemon, database and operator: what the alerts are judged by, and where `/status` shows what was told."""

import os
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import START, House, house
from wamsg2 import status
from wamsg2.alerts import Completed, Facts, Kind, Occurrence
from wamsg2.bell import Bell
from wamsg2.model import Accepted, Finding, Rejected, Uncertain, Unknown
from wamsg2.provider_watch import ProviderWatch
from wamsg2.status import DaemonFacts
from wamsg2.store import marks, notifications
from wamsg2.store.writer import StoreUnavailableError, Tx
from wamsg2.wassenger.account import State
from wamsg2.web import metrics
from wamsg2.work import catching_up, notifying, restoring

ONE, TWO, THREE = "+34600000001", "+34600000002", "+34600000003"
FACTS = DaemonFacts(12.34, None, 0, None, 0)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def alert_facts(home: House, facts: DaemonFacts = FACTS) -> Facts:
    return await status.alert_facts(home.store, facts, now=home.clock.now(), policy=home.policy)


async def report(home: House, facts: DaemonFacts = FACTS) -> dict[str, Any]:
    return await status.report(home.store, facts, now=home.clock.now(), policy=home.policy, rate_limit_seconds=1.0)


async def tell(home: House, kind: Kind, detail: str | None, *occurrences: Occurrence) -> None:
    now = home.clock.now()
    await home.store.write(lambda tx: len(notifying.tell(tx, {kind: detail}, occurrences, now=now, post=True).new))


# --- facts ---------------------------------------------------------------------------------------------------


async def test_nothing_to_tell(home: House) -> None:
    facts = await alert_facts(home)
    assert facts.free_bytes
    assert replace(facts, free_bytes=None) == Facts()


async def test_how_the_backups_stand(home: House) -> None:
    now = home.clock.now()
    await home.store.write(lambda tx: marks.put(tx, marks.BACKUP_MADE, now - timedelta(days=3)))
    await home.store.write(lambda tx: marks.put(tx, marks.BACKUP_FAILED, now - timedelta(days=4)))
    facts = await alert_facts(home)
    assert (facts.backup_age, facts.backup_failed_at) == (timedelta(days=3), None)
    await home.store.write(lambda tx: marks.put(tx, marks.BACKUP_FAILED, now))
    assert (await alert_facts(home)).backup_failed_at == now
    await tell(home, Kind.BACKUP_OLD, "the last good backup was made 72 hours ago")
    told = await report(home)
    assert told["problems"] == ["backup: the last good backup was made 72 hours ago"]
    assert told["backup"] == {"made_at": status.iso(now - timedelta(days=3)), "failed_at": status.iso(now)}


async def test_what_only_the_daemon_knows(home: House) -> None:
    finding = Finding(ok=False, detail="gone", checked_at=START)
    given = replace(FACTS, held="HTTP 402", device=finding, webhook=finding, webhook_disabled_at=START)
    facts = await alert_facts(home, given)
    assert (facts.held, facts.device, facts.webhook, facts.webhook_disabled_at) == (
        "HTTP 402", finding, finding, START,
    )  # fmt: skip


@pytest.mark.parametrize("kind", [Kind.WEBHOOK_REFUSED, Kind.WEBHOOKS_LOST])
async def test_webhooks_that_do_not_come_are_a_problem(home: House, kind: Kind) -> None:
    wrong = Finding(ok=False, detail="none was accepted", checked_at=START)
    is_refused = kind is Kind.WEBHOOK_REFUSED
    given = replace(FACTS, webhook_refused=wrong if is_refused else None, webhooks_lost=None if is_refused else wrong)
    facts = await alert_facts(home, given)
    assert (facts.webhook_refused, facts.webhooks_lost) == ((wrong, None) if is_refused else (None, wrong))
    found = await report(home, given)
    assert (found["status"], found["problems"]) == ("degraded", ["webhook: none was accepted"])
    await tell(home, kind, "told before")
    assert (await report(home, given))["problems"] == ["webhook: none was accepted"], "once"
    assert (await report(home))["problems"] == ["webhook: told before"], "after a restart nothing is known yet"
    well = Finding(ok=True, detail="well", checked_at=START)
    assert (await report(home, replace(FACTS, webhook_refused=well, webhooks_lost=well)))["problems"] == []
    await tell(home, kind, None)
    assert (await report(home))["problems"] == []


async def test_doubts_count_once_they_need_a_person(home: House) -> None:
    await home.campaign(ONE, TWO, THREE)
    await home.send_one(Uncertain("no answer in time"))
    home.clock.advance(600)
    await home.send_one(Uncertain("no answer in time"))
    assert (await alert_facts(home)).doubts == 0
    home.clock.advance(1)
    assert (await alert_facts(home)).doubts == 2


@pytest.mark.parametrize(("problem", "why"), [(None, "it is long"), ("HTTP 503", "HTTP 503")])
async def test_messages_out_of_a_backup_do_not_wait_silently(home: House, problem: str | None, why: str) -> None:
    async def waiting() -> str | None:
        return (await alert_facts(home, replace(FACTS, catch_up_problem=problem))).restore_waiting

    await home.campaign(ONE)
    await home.store.write(lambda tx: len(restoring.begin(tx, home.clock.now())))
    home.clock.advance(601)
    assert await waiting() is None, "nothing is in doubt"
    await home.store.write(lambda tx: restoring.doubt(tx, 0, home.clock.now()))
    assert await waiting() == (
        f"messages wait until what people wrote since the backup is read ({why}); "
        "`wamsg2 catch-up --give-up` sends them without it"
    )
    await tell(home, Kind.RESTORE_WAITING, await waiting())
    assert (await report(home))["problems"] == [f"restore: {await waiting()}"]
    assert await home.store.write(catching_up.give_up)
    assert await waiting() is None


async def test_a_list_after_a_restore_has_its_time(home: House) -> None:
    await home.campaign(ONE)
    await home.store.write(lambda tx: len(restoring.begin(tx, home.clock.now())))
    await home.store.write(lambda tx: restoring.doubt(tx, 0, home.clock.now()))
    home.clock.advance(600)
    assert (await alert_facts(home)).restore_waiting is None


async def test_completed_campaigns(home: House) -> None:
    await home.campaign(ONE, TWO, name="over")
    await home.send_one(Accepted("a" * 24))
    await home.send_one(Rejected("HTTP 400"))
    await home.campaign(THREE, name="running")
    assert (await alert_facts(home)).completed == ()
    home.clock.advance(24 * 3600 + 1)
    assert (await alert_facts(home)).completed == (Completed("over", 2, 0),)


async def test_a_disk_that_refuses(home: House) -> None:
    def refuse(_: Tx) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR
        raise error

    with pytest.raises(StoreUnavailableError):
        await home.store.write(refuse)
    assert (await alert_facts(home)).failing == "the database cannot be written: disk I/O error"


async def test_free_space_is_that_of_the_databases_directory(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def statvfs(path: Path) -> os.statvfs_result:
        asked.append(path)
        raise OSError

    monkeypatch.setattr(os, "statvfs", statvfs)
    assert home.store.free_bytes() is None
    assert asked == [home.store.path.parent]


# --- the webhook that was disabled ---------------------------------------------------------------------------


class ScriptedAccount:
    """An account whose webhook stands as told."""

    def __init__(self, *states: State | Unknown) -> None:
        self.states = list(states)

    async def device(self) -> State | Unknown:
        return State(ok=True, detail="operative, session online")

    async def webhook(self) -> State | Unknown:
        return self.states.pop(0)

    async def enable_webhook(self, webhook_id: str) -> State | Unknown:
        assert webhook_id == "h1"
        return self.states.pop(0)


async def test_a_disabled_webhook_is_remembered_once(home: House) -> None:
    well, disabled = State(ok=True, detail="active"), State(ok=False, detail="disabled", inactive_id="h1")
    stubborn = State(ok=False, detail="not active, and could not be enabled: HTTP 500")
    account = ScriptedAccount(well, disabled, stubborn, disabled, stubborn, disabled, well, disabled, well)
    watch = ProviderWatch(
        account=account,
        clock=home.clock,
        device_changed=Bell(),
        block=lambda _: None,
        catch_up=lambda: None,
        note_retention=lambda _: None,
        device_seconds=0,
        webhook_seconds=300,
    )
    seen = []
    while account.states:
        home.clock.advance(await watch.step())
        seen.append(watch.webhook_disabled_at)
    first, second = START + timedelta(seconds=300), START + timedelta(seconds=300 + 10 + 10 + 300)
    assert seen == [None, first, first, first, second]


# --- what is shown -------------------------------------------------------------------------------------------


async def test_the_report_of_a_quiet_daemon(home: House) -> None:
    found = await report(home)
    assert (found["notifications"], found["deliveries"]) == ([], {"waiting": 0, "given_up": 0})


async def test_the_report_shows_what_is_open_and_what_waits(home: House) -> None:
    await tell(home, Kind.HELD, "HTTP 402")
    home.clock.advance(60)
    await tell(home, Kind.HELD, None)
    await tell(home, Kind.UNCERTAIN, "1 message in doubt for long")
    await home.store.write(lambda tx: notifications.delivered(tx, 1, START))
    found = await report(home)
    assert found["notifications"] == [
        {
            "kind": "uncertain",
            "subject": "",
            "detail": "1 message in doubt for long",
            "state": "raised",
            "raised_at": "2026-11-22T10:01:00.000Z",
            "delivered_at": None,
        }
    ]
    assert found["deliveries"] == {"waiting": 2, "given_up": 0}
    assert b'wamsg2_notifications{state="waiting"} 2.0' in metrics.render(found)


async def test_what_happened_is_shown_for_a_day(home: House) -> None:
    await tell(home, Kind.HELD, None, Occurrence(Kind.CAMPAIGN_COMPLETED, "spring", "5 contacts, 1 of them replied"))
    home.clock.advance(24 * 3600)
    (shown,) = (await report(home))["notifications"]
    assert (shown["kind"], shown["subject"], shown["state"]) == ("campaign_completed", "spring", "happened")
    home.clock.advance(1)
    assert (await report(home))["notifications"] == []


async def test_a_disk_that_is_nearly_full_needs_a_person(home: House) -> None:
    await tell(home, Kind.DISK_LOW, "9 MiB free")
    found = await report(home)
    assert (found["status"], found["problems"]) == ("degraded", ["disk: 9 MiB free"])
    await tell(home, Kind.DISK_LOW, None)
    assert (await report(home))["status"] == "ok"
