"""Where a daemon is measured: a configuration, a copy of a database, and the way to both."""

import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from tests.benchmarks.bare_listener import BareListener
from tests.benchmarks.databases import Databases, Shape
from tests.benchmarks.far_end import API_KEY, DEVICE, FarEnd
from tests.benchmarks.figures import Report
from tests.benchmarks.generator import Task
from tests.site import Site, free_port
from tests.support import PROCESS_SECONDS
from wamsg2.store.database import Store

SIGNING_KEY = "signing-key"
_SECRET = "s3cret"
_PATH = "/webhooks/wassenger"
#: Production's, where a benchmark says nothing else.
_DEFAULTS = {
    "wassenger.rate_limit_seconds": "1",
    "wassenger.timeout_seconds": "30",
    "message_2.delay_seconds": "2",
}


@dataclass
class Ground(Site):
    """A site whose daemon talks to a far end of the benchmarks; its database is deleted at the end."""

    contacts: int = 0  #: in the database at the start

    @property
    def webhooks(self) -> Task:
        """The mix of webhooks (see `webhooks`) from the first one on, at full speed; to be changed with `replace`."""
        return Task(
            port=urlsplit(self.webhook_url).port or 0,
            target=f"{_PATH}?secret={_SECRET}",
            count=0,
            contacts=self.contacts,
            signing_key=SIGNING_KEY,
        )

    async def run(self, module: str, *arguments: str, ready: bool = True) -> Process:
        """Start a module that is a daemon on this site; the test fails with its last words if it ends at once."""
        process = await super().run(module, *arguments, ready=ready)
        assert process.returncode is None, (self.directory / "daemon.log").read_text(encoding="utf-8")[-2000:]
        return process

    async def finished(self, process: Process) -> None:
        """Stop the daemon; it must end well."""
        assert await self.stop(process) == 0

    async def until(self, sql: str, expected: int) -> None:
        """Wait until a query's one number is as expected, as long as it keeps changing."""
        async with await Store.open(self.database) as store:
            last, changed_at = -1, time.monotonic()
            while last != expected:
                ((value,),) = await store.reader.execute_fetchall(sql)
                if value != last:
                    last, changed_at = int(value), time.monotonic()
                assert time.monotonic() < changed_at + PROCESS_SECONDS, f"{sql}: stands still at {last}"
                await asyncio.sleep(0.1)

    async def outcomes(self) -> dict[str, int]:
        """How many interactions came to which outcome."""
        return dict(await self.rows("SELECT outcome, count(*) FROM interactions GROUP BY outcome"))


@dataclass(frozen=True, slots=True)
class Bench:
    """What a benchmark works with; `far_end` and `bare` are processes of its own."""

    directory: Path
    report: Report
    databases: Databases
    far_end: FarEnd
    bare: BareListener

    def ground(
        self, shape: Shape | None = None, name: str = "site", **changes: str
    ) -> AbstractAsyncContextManager[Ground]:
        """A ground with a copy of a database of this shape, or with none; no daemon runs yet.

        Args:
            shape: of the database.
            name: of its directory; its database goes at the end, for a few of them would fill a disk.
            changes: settings, with ``__`` for the dot.
        """
        return _prepared(self.directory / name, self.far_end, self.databases, shape, **changes)


@asynccontextmanager
async def _prepared(
    directory: Path, far_end: FarEnd, databases: Databases, shape: Shape | None, **changes: str
) -> AsyncIterator[Ground]:
    directory.mkdir()  # noqa: ASYNC240 - nothing else runs yet
    webhook_port, admin_port = free_port(), free_port()
    database = directory / "wamsg2.db"
    if shape:
        databases.copy(shape, database)
    config = directory / "config.toml"
    settings = _DEFAULTS | {name.replace("__", "."): value for name, value in changes.items()}
    config.write_text("\n".join(_config(far_end, database, webhook_port, admin_port, settings)), encoding="utf-8")
    made = Ground(
        directory,
        config,
        f"http://127.0.0.1:{webhook_port}{_PATH}?secret={_SECRET}",
        f"http://127.0.0.1:{admin_port}",
        contacts=shape.contacts if shape else 0,
    )
    try:
        yield made
    finally:
        for process in made.processes:
            if process.returncode is None:
                process.kill()
                await process.wait()
        for left in directory.glob("wamsg2.db*"):  # noqa: ASYNC240 - nothing else runs any more
            left.unlink()


def _config(
    far_end: FarEnd, database: Path, webhook_port: int, admin_port: int, settings: dict[str, str]
) -> Sequence[str]:
    return [
        f'wassenger.api_key = "{API_KEY}"',
        f'wassenger.device = "{DEVICE}"',
        f'wassenger.base_url = "{far_end.base_url}"',
        'webhook.host = "127.0.0.1"',
        f"webhook.port = {webhook_port}",
        f'webhook.secrets = ["{_SECRET}"]',
        f'webhook.signing_secrets = ["{SIGNING_KEY}"]',
        f"admin.port = {admin_port}",
        f'database.path = "{database}"',
        *(f"{name} = {value}" for name, value in settings.items()),
    ]
