"""A disk that is full, read-only or broken for a while: nothing is acknowledged that is not on it."""

import asyncio
import errno
import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
import pytest

from tests.process.daemon_log import logged, until
from tests.process.test_crash_matrix import FAULTS as PROVIDER_FAULTS
from tests.site import Site, site
from tests.support import inbound
from wamsg2.sandbox import Habits, SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox
from wamsg2.wassenger.events import parse, parse_row

PHONES = [f"+3460000000{n}" for n in range(6)]
SETTINGS = SandboxSettings(webhooks=WebhookRules(backoff_seconds=0.1, backoff_max_seconds=0.3, disable_after=0))
TIMES = {"wassenger__resend_after_seconds": "1", "wassenger__rate_limit_seconds": "0.2"}
HUNTED = {"wassenger__rate_limit_seconds": "0.1"}
FAULTS_A_HUNT = 14
_SENT = "SELECT count(*) >= {} FROM messages WHERE status IN ('sent', 'delivered', 'read')"
_OPEN = "SELECT count(*) FROM messages WHERE status IN ('queued', 'sending', 'uncertain')"
FAULTS = {
    "full": ("write", errno.ENOSPC),
    "read-only": ("write", errno.EROFS),
    "I-O error on write": ("write", errno.EIO),
    "I-O error on commit": ("fsync", errno.EIO),
}


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`disk.c`, compiled."""
    if (compiler := shutil.which("cc") or shutil.which("gcc")) is None:
        pytest.skip("there is no C compiler to make the failing disk with")
    library = tmp_path_factory.mktemp("disk") / "disk.so"
    source = Path(__file__).with_name("disk.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


@dataclass
class Rig:
    """A site whose disk can be made to fail."""

    made: Site
    sandbox: Sandbox
    control: Path

    def environment(self, shim: Path) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(shim),
            "DISK_DIRECTORY": str(self.made.directory),
            "DISK_FAULT": str(self.control),
        }

    def fail(self, calls: str, code: int) -> None:
        self._command(f"{calls} {code} 0")

    def slow_down(self, milliseconds: int) -> None:
        self._command(f"none 0 {milliseconds}")

    def _command(self, text: str) -> None:
        new = self.control.with_suffix(".new")  # never read half written
        new.write_text(text, encoding="ascii")
        new.replace(self.control)

    def heal(self) -> None:
        self.control.unlink()

    async def post(self, body: dict[str, Any]) -> tuple[int, str | None]:
        """A webhook: status and Retry-After."""
        async with aiohttp.ClientSession() as session, session.post(self.made.webhook_url, json=body) as response:
            return response.status, response.headers.get("Retry-After")

    async def health(self) -> list[int]:
        """Of both listeners."""
        codes = []
        async with aiohttp.ClientSession() as session:
            for base in (self.made.admin_url, self.made.webhook_url.partition("/webhooks")[0]):
                async with session.get(f"{base}/healthz") as response:
                    codes.append(response.status)
        return codes

    async def stored(self, body: dict[str, Any]) -> int:
        identity = parse(json.dumps(body).encode()).identity
        ((count,),) = await self.made.rows("SELECT count(*) FROM events WHERE identity = ?", identity)
        return int(count)

    async def is_as_if_nothing_had_been(self, repliers: int, phones: Sequence[str] = PHONES) -> None:
        """Everyone has each message once, and nothing is open, doubtful or lost."""
        await self.made.wait_for(_SENT.format(len(phones) + repliers), 1)
        await self.made.wait_for(_OPEN, 0)
        await self.sandbox.settle(timeout_seconds=60)
        accepted = Counter((m.phone, m.priority) for m in self.sandbox.accepted)
        assert accepted == Counter({(p, "normal"): 1 for p in phones} | {(p, "high"): 1 for p in phones[:repliers]})
        acknowledged = {
            e.identity for d in self.sandbox.deliveries if d.is_acknowledged for e in parse_row(d.raw, device=None)
        }
        assert acknowledged <= {identity for (identity,) in await self.made.rows("SELECT identity FROM events")}
        assert await self.made.violations() == []


@pytest.fixture
async def rig(tmp_path: Path, shim: Path) -> AsyncIterator[Rig]:
    async with Sandbox(SETTINGS) as sandbox, site(tmp_path, sandbox, **TIMES) as made:
        made_rig = Rig(made, sandbox, tmp_path / "fault")
        made.environment |= made_rig.environment(shim)
        await made.campaign("spring", PHONES)
        yield made_rig


def reply_of(phone: str) -> dict[str, Any]:
    return inbound(phone, at=datetime.now(UTC), wa_id=f"A{phone[1:]}")


@pytest.mark.parametrize("name", FAULTS)
async def test_a_disk_that_fails_for_a_while(rig: Rig, name: str) -> None:
    daemon = await rig.made.start()
    await rig.made.wait_for(_SENT.format(2), 1)
    rig.fail(*FAULTS[name])
    first, second = reply_of(PHONES[0]), reply_of(PHONES[1])
    for body in (first, second, first):
        status, retry_after = await rig.post(body)
        assert (status, retry_after) == (503, "5")
    report = await rig.made.status()
    assert report["status"] == "failing"
    assert any(problem.startswith("the database cannot be written") for problem in report["problems"])
    await until(lambda: logged(rig.made, "database.refused"))
    assert await rig.health() == [503, 503]
    assert len(rig.sandbox.accepted) < len(PHONES)  # the queue is held
    rig.heal()
    await until(lambda: logged(rig.made, "database.back"))
    assert [await rig.post(body) for body in (first, second)] == [(200, None), (200, None)]
    assert [await rig.stored(body) for body in (first, second)] == [1, 1]
    await rig.is_as_if_nothing_had_been(repliers=2)
    assert (await rig.made.status())["status"] == "ok"
    assert await rig.health() == [200, 200]
    assert await rig.made.stop(daemon) == 0


@pytest.mark.parametrize("name", ["full", "I-O error on commit"])
async def test_killed_while_the_disk_fails(rig: Rig, name: str) -> None:
    daemon = await rig.made.start()
    await rig.made.wait_for(_SENT.format(2), 1)
    taken, refused = reply_of(PHONES[0]), reply_of(PHONES[1])
    assert await rig.post(taken) == (200, None)
    rig.fail(*FAULTS[name])
    assert (await rig.post(refused))[0] == 503
    daemon.send_signal(signal.SIGKILL)
    await rig.made.killed(daemon)
    rig.heal()
    daemon = await rig.made.start()
    assert await rig.stored(taken) == 1
    assert await rig.post(refused) == (200, None)  # accepted, or a duplicate of what the log kept after all
    await rig.is_as_if_nothing_had_been(repliers=2)
    assert await rig.made.stop(daemon) == 0


async def test_a_disk_that_fails_at_the_start(rig: Rig) -> None:
    """One clear line and exit 1, so that the supervisor tries again; then all is as it was."""
    rig.fail(*FAULTS["full"])
    daemon = await rig.made.start(ready=False)
    assert await daemon.wait() == 1
    last = (rig.made.directory / "daemon.log").read_text(encoding="utf-8").splitlines()[-1]
    assert last.startswith("wamsg2: ")
    assert "wamsg2.db" in last
    assert "No space left" in last
    rig.heal()
    daemon = await rig.made.start()
    await rig.is_as_if_nothing_had_been(repliers=0)
    assert await rig.made.stop(daemon) == 0


async def test_a_slow_disk_slows_nothing_down(rig: Rig) -> None:
    """Commits of 50 ms: claims are made ahead, so the pace is kept, and nothing is held."""
    rig.slow_down(50)
    daemon = await rig.made.start()
    assert await rig.post(reply_of("+34999999999")) == (200, None)
    await rig.is_as_if_nothing_had_been(repliers=0)
    assert not logged(rig.made, "sending.held")
    assert await rig.made.stop(daemon) == 0


async def test_acknowledged_only_once_it_is_on_disk(rig: Rig) -> None:
    """A webhook is answered after the disk has said that it has it, however long that takes."""
    daemon = await rig.made.start()
    await rig.made.wait_for(_OPEN, 0)
    rig.slow_down(500)
    for number in range(3):
        began = time.monotonic()
        assert await rig.post(reply_of(f"+3499999999{number}")) == (200, None)
        assert time.monotonic() - began >= 0.5
    rig.heal()
    assert await rig.made.stop(daemon) == 0


async def test_stopped_while_the_disk_fails(rig: Rig) -> None:
    """It ends all the same, and the next one goes on."""
    daemon = await rig.made.start()
    await rig.made.wait_for(_SENT.format(2), 1)
    rig.fail(*FAULTS["full"])
    await until(lambda: logged(rig.made, "sending.held"))
    assert await rig.made.stop(daemon) == 0
    rig.heal()
    daemon = await rig.made.start()
    await rig.is_as_if_nothing_had_been(repliers=0)
    assert await rig.made.stop(daemon) == 0


# --- all of it at random ----------------------------------------------------------------------------------------


async def hunt(directory: Path, shim: Path, seed: int) -> str:
    """A disk that fails every now and then, sometimes to the end of the daemon, and a provider that misbehaves."""
    directory.mkdir()  # noqa: ASYNC240 - nothing else runs yet
    random, kills = Random(seed), 0
    phones = [f"+346{seed:02d}{n:06d}" for n in range(40)]
    settings = SandboxSettings(
        seed=seed,
        faults=PROVIDER_FAULTS,
        habits=Habits(reply_rate=1.0, duplicate_reply_rate=0.2, reply_delay_seconds=(0.0, 1.0)),
        webhooks=WebhookRules(backoff_seconds=0.1, backoff_max_seconds=0.5, disable_after=0),
    )
    async with Sandbox(settings) as sandbox, site(directory, sandbox, **(TIMES | HUNTED)) as made:
        rig = Rig(made, sandbox, directory / "fault")
        made.environment |= rig.environment(shim)
        await made.campaign("spring", phones)
        daemon = await made.start()
        for _ in range(FAULTS_A_HUNT):
            await asyncio.sleep(random.uniform(0.0, 0.6))
            rig.fail(*random.choice(list(FAULTS.values())))
            await asyncio.sleep(random.choice((0.01, 0.05, 0.3, 1.2)))
            assert daemon.returncode is None, f"seed {seed}"
            if random.random() < 0.65:
                rig.heal()
                continue
            os.kill(daemon.pid, signal.SIGKILL)
            await made.killed(daemon)
            rig.heal()
            daemon = await made.start()
            kills += 1
        await rig.is_as_if_nothing_had_been(len(phones), phones)
        assert await made.rows("PRAGMA integrity_check") == [("ok",)]
        assert await made.stop(daemon) == 0
        refused = sum(delivery.answers.count(503) for delivery in sandbox.deliveries)
        return f"seed {seed}: {FAULTS_A_HUNT} faults, {kills} kills, {refused} webhooks sent away for a while"


@pytest.mark.soak
@pytest.mark.parametrize("seed", [0, 3, 6, 9])
async def test_a_disk_that_fails_at_random(tmp_path: Path, shim: Path, seed: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        hunts = [tasks.create_task(hunt(tmp_path / str(n), shim, seed + n)) for n in range(3)]
    print("", *(each.result() for each in hunts), sep="\n")
