"""SIGKILL in the middle of a command, beside a running daemon: called again, it goes on where it was."""

import asyncio
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from tests.process.daemon_log import until
from tests.site import ROOT, Site, site
from wamsg2.sandbox import SandboxSettings
from wamsg2.sandbox.server import Sandbox
from wamsg2.work.campaigning import CHUNK_ROWS

#: Each command commits in chunks, and is killed after each of them but the last.
CHUNKS = 4
PHONES = [f"+346{n:08d}" for n in range(CHUNKS * CHUNK_ROWS)]


async def command(made: Site, *arguments: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "wamsg2", "--config", str(made.config), *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
    )
    made.processes.append(process)
    return process


async def killed_and_called_again(made: Site, progress: str, *arguments: str) -> int:
    """The command is killed at every chunk that it is seen to have done; how many times it was."""
    kills = 0
    with closing(sqlite3.connect(made.database, isolation_level=None)) as database:
        for chunk in range(1, CHUNKS):
            process = await command(made, *arguments)

            def is_there(process: asyncio.subprocess.Process = process, rows: int = chunk * CHUNK_ROWS) -> bool:
                return process.returncode is not None or database.execute(progress).fetchone()[0] >= rows

            await until(is_there)
            if process.returncode is None:
                process.kill()
                kills += 1
            await process.wait()
    last = await command(made, *arguments)
    assert await last.wait() in {0, 1}  # 1: it had come to its end when it was killed, and says so
    return kills


async def test_commands_are_killed(tmp_path: Path) -> None:
    file = tmp_path / "contacts.csv"
    file.write_text("phone\n" + "\n".join(PHONES), encoding="utf-8")
    async with (
        Sandbox(SandboxSettings()) as sandbox,
        site(tmp_path, sandbox, wassenger__rate_limit_seconds="0.02") as made,
    ):
        daemon = await made.start()
        texts = ("--message-1", "Hello", "--message-2", "More")
        assert await (await command(made, "campaign", "create", "spring", *texts)).wait() == 0
        imported = "SELECT contacts FROM campaign_counts"
        kills = await killed_and_called_again(made, imported, "campaign", "import", "spring", str(file))
        assert sandbox.accepted == []
        launched = "SELECT count(*) FROM messages"
        kills += await killed_and_called_again(made, launched, "campaign", "launch", "spring", "--yes")
        assert kills
        assert await made.rows("SELECT status FROM campaigns") == [("running",)]
        assert await made.rows("SELECT count(*), count(DISTINCT contact_id), min(step), max(step) FROM messages") == [
            (len(PHONES), len(PHONES), 1, 1)
        ]
        await until(lambda: len(sandbox.accepted) >= 50)
        assert await made.stop(daemon) == 0
        assert set(Counter(m.phone for m in sandbox.accepted).values()) == {1}
        assert await made.violations() == []
