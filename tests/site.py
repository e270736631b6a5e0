"""Real processes: the daemon as a child, Wassenger's stand-in in the test's own loop."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import aiohttp
import pytest

from tests.support import PROCESS_SECONDS
from wamsg2 import phone, rules
from wamsg2.campaigns import Campaigns
from wamsg2.clock import SystemClock
from wamsg2.sandbox.server import Sandbox
from wamsg2.store import verify
from wamsg2.store.database import Store
from wamsg2.wassenger import events
from wamsg2.work import campaigning

ROOT = Path(__file__).parents[1]


#: Below what Linux gives to connections, not among those of another worker of the same run, and none twice in a row.
_FIRST_PORT = 15_000 + 1000 * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 17)
_PORTS = cycle(SystemRandom().sample(range(_FIRST_PORT, _FIRST_PORT + 1000), 1000))


def free_port() -> int:
    """A port that nobody listens on, and that nobody is given by chance while a daemon is restarted."""
    for port in _PORTS:
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError


@dataclass
class Site:
    """A directory with a configuration, and whatever daemon runs on it."""

    directory: Path
    config: Path
    webhook_url: str
    admin_url: str
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)  #: of the daemons, beside the test's own
    started_seconds: float = 0.0  #: monotonic: before the first process

    @property
    def database(self) -> Path:
        return self.directory / "wamsg2.db"

    async def start(self, *point: str, ready: bool = True) -> asyncio.subprocess.Process:
        """Start the daemon, to be killed at a point if one is given."""
        if point:
            return await self.run("tests.process.daemon", str(self.config), *point, ready=ready)
        return await self.run("wamsg2", "--config", str(self.config), "serve", ready=ready)

    async def run(self, module: str, *arguments: str, ready: bool = True) -> asyncio.subprocess.Process:
        """Start a module that is a daemon on this site."""
        self.started_seconds = self.started_seconds or time.monotonic()
        with (self.directory / "daemon.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", module, *arguments),
                cwd=ROOT,
                env={k: v for k, v in os.environ.items() if not k.startswith("WAMSG2_")} | self.environment,
                stderr=log,
            )
        self.processes.append(process)
        if ready:
            await self.wait_ready(process)
        return process

    async def wait_ready(self, process: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(PROCESS_SECONDS), aiohttp.ClientSession() as session:
            while process.returncode is None:
                try:
                    async with session.get(f"{self.admin_url}/healthz"):
                        return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.02)

    async def stop(self, process: asyncio.subprocess.Process) -> int:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PROCESS_SECONDS):
            return await process.wait()

    async def killed(self, process: asyncio.subprocess.Process) -> None:
        async with asyncio.timeout(PROCESS_SECONDS):
            assert await process.wait() == -signal.SIGKILL

    async def status(self) -> dict[str, Any]:
        async with aiohttp.ClientSession() as session, session.get(f"{self.admin_url}/status") as response:
            report: dict[str, Any] = await response.json()
            return report

    async def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        async with await Store.open(self.database) as store:
            return [tuple(row) for row in await store.reader.execute_fetchall(sql, parameters)]

    async def violations(self) -> list[verify.Violation]:
        async with await Store.open(self.database) as store:
            return await verify.violations(
                store.reader,
                window=timedelta(hours=24),
                tolerance=rules.TOLERANCE,
                now=SystemClock().now(),
                inbound_events=events.INBOUND_EVENTS,
            )

    async def campaign(self, name: str, phones: Sequence[str]) -> None:
        """A launched campaign with these contacts."""
        async with await Store.open(self.database) as store:
            campaigns = Campaigns(store=store, clock=SystemClock(), random=Random(name))
            await campaigns.create(name, "Message 1 of " + name, "Message 2 of " + name)
            rows = [campaigning.Row(n, p, phone.key(p), {}) for n, p in enumerate(phones, start=2)]
            for start in range(0, len(rows), campaigning.CHUNK_ROWS):
                chunk = rows[start : start + campaigning.CHUNK_ROWS]
                now = SystemClock().now()
                await store.write(lambda tx, chunk=chunk, now=now: campaigning.add_rows(tx, name, chunk, now))  # type: ignore[misc] # a lambda has no annotations
            await campaigns.launch(name)

    async def wait_for(self, sql: str, expected: object) -> None:
        """Until the query's one value is as expected; on a slow machine for as long as it comes nearer."""
        value: object = None
        try:
            async with asyncio.timeout(PROCESS_SECONDS) as patience, await Store.open(self.database) as store:
                while True:
                    before = value
                    ((value,),) = await store.reader.execute_fetchall(sql)
                    if value == expected:
                        return
                    if value != before:
                        patience.reschedule(asyncio.get_running_loop().time() + PROCESS_SECONDS)
                    await asyncio.sleep(0.02)
        except TimeoutError:
            log = (self.directory / "daemon.log").read_text(encoding="utf-8")[-3000:]
            statuses = await self.rows("SELECT step, status, count(*), max(reason) FROM messages GROUP BY 1, 2")
            pytest.fail(f"{sql}: not {expected} but {value}; messages {statuses}; log:\n{log}")


@asynccontextmanager
async def site(directory: Path, sandbox: Sandbox, **changes: str) -> AsyncIterator[Site]:
    """A configured site; whatever still runs at the end is killed."""
    webhook_port, admin_port = free_port(), free_port()
    values = {
        "wassenger.rate_limit_seconds": "0.005",
        "wassenger.timeout_seconds": "2",
        "wassenger.resend_after_seconds": "2",
        "message_2.delay_seconds": "0.05",
        "watch.hold_after_failures": "0",  # the time-outs of a busy machine are no broken provider
    } | {name.replace("__", "."): value for name, value in changes.items()}
    config = directory / "config.toml"
    lines = [
        f'wassenger.api_key = "{sandbox.settings.api_key}"',
        f'wassenger.device = "{sandbox.settings.device_id}"',
        f'wassenger.base_url = "{sandbox.base_url}"',
        'webhook.host = "127.0.0.1"',
        f"webhook.port = {webhook_port}",
        'webhook.secrets = ["s3cret"]',
        f"admin.port = {admin_port}",
        f'database.path = "{directory / "wamsg2.db"}"',
        *(f"{name} = {value}" for name, value in values.items()),
    ]
    config.write_text("\n".join(lines), encoding="utf-8")
    made = Site(
        directory,
        config,
        f"http://127.0.0.1:{webhook_port}/webhooks/wassenger?secret=s3cret",
        f"http://127.0.0.1:{admin_port}",
    )
    sandbox.register_webhook(made.webhook_url)
    try:
        yield made
    finally:
        for process in made.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
