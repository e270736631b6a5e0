"""A disk that is full, read-only or broken for a while: nothing is acknowledged that is not on it."""

import errno
import json
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.process.daemon_log import logged, until
from tests.site import Site, site
from tests.support import inbound
from wamsg2.sandbox import SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox
from wamsg2.wassenger.events import parse

PHONES = [f"+3460000000{n}" for n in range(6)]
SETTINGS = SandboxSettings(webhooks=WebhookRules(backoff_seconds=0.1, backoff_max_seconds=0.3, disable_after=0))
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

    def fail(self, calls: str, code: int) -> None:
        self.control.write_text(f"{calls} {code} 0", encoding="ascii")

    def slow_down(self, milliseconds: int) -> None:
        self.control.write_text(f"none 0 {milliseconds}", encoding="ascii")

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

    async def is_as_if_nothing_had_been(self, repliers: int) -> None:
        """Everyone has each message once, and nothing is open, doubtful or lost."""
        await self.made.wait_for(_SENT.format(len(PHONES) + repliers), 1)
        await self.made.wait_for(_OPEN, 0)
        await self.sandbox.settle(timeout_seconds=60)
        accepted = Counter((m.phone, m.priority) for m in self.sandbox.accepted)
        assert accepted == Counter({(p, "normal"): 1 for p in PHONES} | {(p, "high"): 1 for p in PHONES[:repliers]})
        acknowledged = {parse(d.raw).identity for d in self.sandbox.deliveries if d.is_acknowledged}
        assert acknowledged <= {identity for (identity,) in await self.made.rows("SELECT identity FROM events")}
        assert await self.made.violations() == []


@pytest.fixture
async def rig(tmp_path: Path, shim: Path) -> AsyncIterator[Rig]:
    times = {"wassenger__resend_after_seconds": "1", "wassenger__rate_limit_seconds": "0.2"}
    async with Sandbox(SETTINGS) as sandbox, site(tmp_path, sandbox, **times) as made:
        control = tmp_path / "fault"
        made.environment |= {
            "LD_PRELOAD": str(shim),
            "DISK_DIRECTORY": str(tmp_path),
            "DISK_FAULT": str(control),
        }
        await made.campaign("spring", PHONES)
        yield Rig(made, sandbox, control)


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
    requests = len(rig.sandbox.accepted)
    rig.heal()
    await until(lambda: logged(rig.made, "database.back"))
    assert requests <= len(rig.sandbox.accepted) < len(PHONES)
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
