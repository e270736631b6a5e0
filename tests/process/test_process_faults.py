"""Clocks that are set, files that others hold, parts that die."""

import asyncio
import itertools
import json
import sqlite3
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from tests.process.daemon_log import logged, until
from tests.site import Site, site
from tests.support import inbound
from wamsg2.sandbox import Faults, Habits, SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox

PHONES = [f"+3460000000{n}" for n in range(6)]
LIMIT_SECONDS = 0.2
TIMES = {"wassenger__resend_after_seconds": "1", "wassenger__rate_limit_seconds": str(LIMIT_SECONDS)}
SETTINGS = SandboxSettings(
    habits=Habits(reply_rate=1.0, stop_rate=0.0),
    # Answers come at once: what was sent must not wait for company meanwhile.
    webhooks=WebhookRules(backoff_seconds=0.1, backoff_max_seconds=0.3, disable_after=0, row_share=0.0),
)
OUT = "SELECT count(*) FROM messages WHERE status IN ('sent', 'delivered', 'read')"
OPEN = "SELECT count(*) FROM messages WHERE status IN ('queued', 'sending', 'uncertain')"
#: The sandbox sees the arrival of a request, not its start.
JITTER_SECONDS = 0.1


async def everybody_has_both(made: Site, sandbox: Sandbox) -> None:
    """Once each, at the pace, and nothing else is left."""
    await made.wait_for(OUT, 2 * len(PHONES))
    await made.wait_for(OPEN, 0)
    await sandbox.settle(timeout_seconds=60)
    accepted = Counter((m.phone, m.priority) for m in sandbox.accepted)
    assert accepted == Counter({(p, priority): 1 for p in PHONES for priority in ("normal", "high")})
    # Not from the first arrival, which a busy machine notices late: the bucket is empty at the start.
    took_seconds = sandbox.accepted[-1].monotonic_seconds - made.started_seconds
    assert took_seconds >= len(sandbox.accepted) * LIMIT_SECONDS - JITTER_SECONDS


# --- clocks -----------------------------------------------------------------------------------------------------


async def stepped(directory: Path, *steps_seconds: float, zone: str = "UTC") -> None:
    """A daemon whose time of day is off by the first step from the start on, and by the next ones later."""
    directory.mkdir()  # noqa: ASYNC240 - nothing else runs yet
    offset = directory / "offset"
    offset.write_text(str(steps_seconds[0]), encoding="ascii")
    async with Sandbox(SETTINGS) as sandbox, site(directory, sandbox, **TIMES) as made:
        made.environment["TZ"] = zone
        await made.campaign("spring", PHONES)
        daemon = await made.run("tests.process.stepped_daemon", str(made.config), str(offset))
        for number, seconds in enumerate(steps_seconds[1:], start=1):
            await until(lambda number=number: len(sandbox.accepted) >= 2 * number)  # type: ignore[misc] # a lambda has no annotations
            offset.with_suffix(".new").write_text(str(seconds), encoding="ascii")
            offset.with_suffix(".new").rename(offset)
        await everybody_has_both(made, sandbox)
        assert await made.stop(daemon) == 0


async def test_the_time_of_day_is_set_while_it_runs(tmp_path: Path) -> None:
    """An hour ahead, an hour back, and in a zone whose summer time begins, or ends, just then."""
    soon = datetime.now(UTC) + timedelta(seconds=3)
    now = f"{soon:%-j}/{soon:%H:%M:%S}"  # a rule of POSIX: the day of the year, and the time
    await asyncio.gather(
        stepped(tmp_path / "ahead", 0, 3600),
        stepped(tmp_path / "back", 0, -3600),
        stepped(tmp_path / "both", 0, 3600, -3600, 0),
        stepped(tmp_path / "summer", 0, zone=f"WIN0SUM,{now},364/0"),
        stepped(tmp_path / "winter", 0, zone=f"WIN0SUM,0/0,{now}"),
    )


async def test_an_hour_ahead_proves_no_absence(tmp_path: Path) -> None:
    """Look-ups must agree for as long as configured by a clock that nobody can set."""
    faults = Faults(accept_then_reset=1, drop_event=1, lookup_lag_seconds=8)
    times = TIMES | {"wassenger__resend_after_seconds": "6"}
    offset = tmp_path / "offset"
    offset.write_text("0", encoding="ascii")
    async with Sandbox(SandboxSettings(faults=faults)) as sandbox, site(tmp_path, sandbox, **times) as made:
        await made.campaign("spring", PHONES[:2])
        daemon = await made.run("tests.process.stepped_daemon", str(made.config), str(offset))
        await until(lambda: logged(made, "message.looked_up", answer="absent"))
        offset.write_text("3600", encoding="ascii")
        await made.wait_for(OUT, 2)
        assert [m.phone for m in sandbox.accepted] == PHONES[:2]
        assert await made.rows("SELECT DISTINCT attempt FROM messages") == [(1,)]
        assert await made.stop(daemon) == 0


# --- others on the database -------------------------------------------------------------------------------------


async def test_a_reader_that_does_not_let_go(tmp_path: Path) -> None:
    async with Sandbox(SETTINGS) as sandbox, site(tmp_path, sandbox, **TIMES) as made:
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        reader = sqlite3.connect(made.database, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchall()
        await everybody_has_both(made, sandbox)
        assert not logged(made, "database.refused")
        reader.close()
        assert await made.stop(daemon) == 0
        assert not made.database.with_name("wamsg2.db-wal").exists()


async def test_a_writer_that_does_not_let_go(tmp_path: Path) -> None:
    """Longer than anyone waits: webhooks are postponed, sending is held, and both go on by themselves."""
    async with Sandbox(SETTINGS) as sandbox, site(tmp_path, sandbox, **TIMES) as made:
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        await until(lambda: len(sandbox.accepted) >= 2)
        other = sqlite3.connect(made.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        await until(lambda: logged(made, "sending.held", reason="the database cannot be written: database is locked"))
        await until(lambda: logged(made, "database.refused"))
        assert (await made.status())["status"] == "failing"
        other.execute("ROLLBACK")
        other.close()
        await everybody_has_both(made, sandbox)
        assert logged(made, "database.back")
        assert await made.violations() == []
        assert await made.stop(daemon) == 0


# --- parts that die ---------------------------------------------------------------------------------------------


async def test_a_part_that_dies_ends_the_process(tmp_path: Path) -> None:
    """Its supervisor starts it anew; one clear line says what it was."""
    async with Sandbox(SETTINGS) as sandbox, site(tmp_path, sandbox, **TIMES) as made:
        await made.campaign("spring", PHONES)
        daemon = await made.run("tests.process.broken_daemon", str(made.config), ready=False)
        assert await asyncio.wait_for(daemon.wait(), 60) == 1
        last = (tmp_path / "daemon.log").read_text(encoding="utf-8").splitlines()[-1]
        assert last == "wamsg2: the writer has stopped: a bug"
        daemon = await made.start()
        await everybody_has_both(made, sandbox)
        assert await made.stop(daemon) == 0


# --- ends -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [20])
async def test_sigterm_with_webhooks_under_way(tmp_path: Path, connections: int) -> None:
    """Whatever was answered with 200 is stored; what was cut off was not acknowledged, and comes again."""
    async with Sandbox(SETTINGS) as sandbox, site(tmp_path, sandbox, **TIMES) as made:
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        numbers = itertools.count()
        acknowledged: set[str] = set()

        async def post() -> None:
            async with aiohttp.ClientSession() as session:
                while True:
                    wa_id = f"S{next(numbers)}"
                    body = inbound("+34699999999", at=datetime.now(UTC) - timedelta(hours=1), wa_id=wa_id)
                    async with session.post(made.webhook_url, data=json.dumps(body)) as response:
                        if response.status == 200:
                            acknowledged.add(wa_id)

        async def flood() -> None:
            await asyncio.gather(*(post() for _ in range(connections)))

        task = asyncio.create_task(flood())
        await until(lambda: len(acknowledged) > 50)
        assert await made.stop(daemon) == 0
        with pytest.raises(aiohttp.ClientError):
            await task
        stored = {wa_id for (wa_id,) in await made.rows("SELECT wa_id FROM interactions")}
        assert acknowledged <= stored
        assert await made.violations() == []
