"""SIGKILL at every step of a send and of a webhook: nothing twice, nothing lost, no operator needed."""

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.process.daemon_log import logged, until
from tests.site import Site, site
from wamsg2.sandbox import Faults, Habits, SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox
from wamsg2.sandbox.state import Notice
from wamsg2.wassenger.events import parse_row

PHONES = ("+34600000001", "+34600000002", "+34600000003")
SETTINGS = SandboxSettings(
    habits=Habits(reply_rate=1.0), webhooks=WebhookRules(backoff_seconds=0.1, backoff_max_seconds=0.5)
)
ANSWERED = "SELECT count(*) FROM messages WHERE step = 2 AND status IN ('sent', 'delivered', 'read')"


async def all_is_well(made: Site, sandbox: Sandbox) -> None:
    """Everybody got each message once, every acknowledged event is stored, and the database says so too."""
    await made.wait_for(ANSWERED, len(PHONES))
    await made.wait_for("SELECT count(*) FROM messages WHERE status IN ('queued', 'sending', 'uncertain')", 0)
    await sandbox.settle()
    accepted = Counter((m.phone, m.priority) for m in sandbox.accepted)
    assert accepted == Counter({(p, priority): 1 for p in PHONES for priority in ("normal", "high")})
    assert all(d.is_acknowledged for d in sandbox.deliveries)
    stored = {identity for (identity,) in await made.rows("SELECT identity FROM events")}
    told = {event.identity for d in sandbox.deliveries for event in parse_row(d.raw, device=None)}
    assert told
    assert told <= stored
    assert await made.violations() == []


async def killed_around_a_commit(directory: Path, point: str, count: int) -> None:
    directory.mkdir()  # noqa: ASYNC240 - nothing else runs yet
    async with Sandbox(SETTINGS) as sandbox, site(directory, sandbox, wassenger__resend_after_seconds="1") as made:
        await made.campaign("spring", PHONES)
        await made.killed(await made.start(point, str(count), ready=False))
        last = await made.start()
        await all_is_well(made, sandbox)
        assert await made.stop(last) == 0


@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.soak)])
@pytest.mark.parametrize("unit", ["claim", "settle", "receive_row"])
async def test_killed_around_a_commit(tmp_path: Path, unit: str, count: int) -> None:
    """Early or in the middle of the campaign; the two daemons of a unit mostly wait, so they run side by side."""
    await asyncio.gather(
        *(killed_around_a_commit(tmp_path / when, f"{when}:{unit}", count) for when in ("before", "after"))
    )


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_around_the_settling_of_a_doubt(tmp_path: Path, when: str) -> None:
    async with Sandbox(SETTINGS) as sandbox, site(tmp_path, sandbox, wassenger__resend_after_seconds="1") as made:
        await made.campaign("spring", PHONES)
        await made.killed(await made.start("after:claim", ready=False))
        await made.killed(await made.start(f"{when}:settle_look_up", ready=False))
        last = await made.start()
        await all_is_well(made, sandbox)
        assert await made.stop(last) == 0


async def killed_during_a_request(directory: Path, kind: str, nth: int) -> None:
    directory.mkdir()  # noqa: ASYNC240 - nothing else runs yet
    kill: Callable[[], None] = lambda: None  # noqa: E731 - replaced once there is a process
    seen = Counter[str]()

    def watch(notice: Notice) -> None:
        seen[notice.kind] += 1
        if notice.kind == kind and seen[kind] == nth:
            kill()

    async with (
        Sandbox(SETTINGS, watch=watch) as sandbox,
        site(directory, sandbox, wassenger__resend_after_seconds="1") as made,
    ):
        await made.campaign("spring", PHONES)
        first = await made.start(ready=False)
        kill = first.kill
        await made.killed(first)
        last = await made.start()
        await all_is_well(made, sandbox)
        assert await made.stop(last) == 0


@pytest.mark.parametrize("nth", [pytest.param(1, marks=pytest.mark.soak), 2, pytest.param(3, marks=pytest.mark.soak)])
@pytest.mark.parametrize("kind", ["accepted", "sent", "reply"])
async def test_killed_during_a_request(tmp_path: Path, kind: str, nth: int) -> None:
    """At the moment at which the provider has taken a message, reports it, or a contact answers."""
    await killed_during_a_request(tmp_path / "site", kind, nth)


async def test_sigterm_settles_what_is_under_way(tmp_path: Path) -> None:
    """A request that is being answered is waited for: it is not left in doubt."""
    asked = asyncio.Event()

    def watch(notice: Notice) -> None:
        if notice.kind == "accepted":
            asked.set()

    async with Sandbox(SETTINGS, watch=watch) as sandbox, site(tmp_path, sandbox) as made:
        sandbox.faults = type(sandbox.faults)(slow_answer=1.0, slow_answer_seconds=0.5)
        await made.campaign("spring", PHONES)
        daemon = await made.start(ready=False)
        await asked.wait()
        assert await made.stop(daemon) == 0
        assert await made.rows("SELECT count(*) FROM messages WHERE status IN ('sending', 'uncertain')") == [(0,)]


async def test_killed_while_it_stops(tmp_path: Path) -> None:
    """The answers that it was waiting for are looked up by the next one."""
    unhurried = {"wassenger__timeout_seconds": "60", "wassenger__resend_after_seconds": "1"}
    async with Sandbox(SandboxSettings()) as sandbox, site(tmp_path, sandbox, **unhurried) as made:
        sandbox.faults = Faults(slow_answer=1.0, slow_answer_seconds=60, drop_event=1.0)
        await made.campaign("spring", PHONES)
        daemon = await made.start()
        await until(lambda: len(sandbox.accepted) == len(PHONES))
        daemon.send_signal(signal.SIGTERM)
        await until(lambda: logged(made, "daemon.stopping", in_flight=len(PHONES)))
        daemon.kill()
        await made.killed(daemon)
        sandbox.faults = Faults()
        last = await made.start()
        assert logged(made, "daemon.started")[-1]["doubts"] == len(PHONES)
        await made.wait_for("SELECT count(*) FROM messages WHERE status = 'uncertain'", 0)
        assert Counter(m.phone for m in sandbox.accepted) == Counter(PHONES)
        assert await made.violations() == []
        assert await made.stop(last) == 0


async def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    async with Sandbox(SETTINGS) as sandbox, site(tmp_path, sandbox) as made:
        first = await made.start()
        second = await made.start(ready=False)
        assert await second.wait() == 1
        assert await made.stop(first) == 0
