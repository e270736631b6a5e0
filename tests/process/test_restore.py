"""The drill: a backup beside the running daemon, more of everything, a SIGKILL, the disk gone, a restore."""

import asyncio
import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.site import ROOT, Site, site
from tests.support import PROCESS_SECONDS
from wamsg2.sandbox import SILENT, Behaviour, Faults, Reply, SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox

SPRING = [f"+346000000{n:02d}" for n in range(1, 61)]
PAUSED = SPRING[8:40]  # of a campaign that is paused until all is over
JOINED = [f"+346000001{n:02d}" for n in range(1, 5)]  # imported after the backup, and again after the restore
AUTUMN = [f"+346000002{n:02d}" for n in range(1, 7)]  # of a draft that is launched after the backup
QUIET = SPRING[5]  # answers only when all is over
OPEN = "SELECT count(*) FROM messages WHERE status IN ('queued', 'sending', 'uncertain')"


async def wamsg2(made: Site, *arguments: str | Path) -> Any:
    """What a command prints, as JSON where it is JSON."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "wamsg2", "--config", str(made.config), *map(str, arguments)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, (arguments, out, err)
    return json.loads(out) if "--json" in arguments else out.decode()


def contacts(made: Site, phones: Sequence[str]) -> Path:
    file = made.directory / "contacts.csv"
    file.write_text("\n".join(["phone", *phones]) + "\n", encoding="utf-8")
    return file


async def draft(made: Site, name: str, phones: Sequence[str]) -> None:
    texts = ("--message-1", f"Message 1 of {name}", "--message-2", f"Message 2 of {name}")
    await wamsg2(made, "campaign", "create", name, *texts)
    await wamsg2(made, "campaign", "import", name, contacts(made, phones))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PROCESS_SECONDS):
        while not condition():  # noqa: ASYNC110 - the sandbox has no bell
            await asyncio.sleep(0.01)


def set_limit(made: Site, before: str, after: str) -> None:
    text = made.config.read_text(encoding="utf-8")
    made.config.write_text(text.replace(f"limit_seconds = {before}", f"limit_seconds = {after}"), encoding="utf-8")


def lose_everything(made: Site) -> None:
    for file in made.directory.glob("wamsg2.db*"):
        file.unlink()


@pytest.mark.parametrize("dropped", [pytest.param(0.0, marks=pytest.mark.soak), 0.5])
async def test_nothing_is_sent_twice_and_nobody_is_forgotten(tmp_path: Path, dropped: float) -> None:
    stopped = ""  # writes STOP after the backup

    def behaviour(number: str) -> Behaviour:
        if number == QUIET:
            return SILENT
        # Who is in two campaigns says which one they mean; of the others, only some.
        quotes = number in PAUSED or number[-1] in "13579"
        return Behaviour((Reply("STOP" if number == stopped else "yes", 0.1, quotes=quotes),))

    rules = WebhookRules(backoff_seconds=0.1, backoff_max_seconds=0.5)
    async with (
        Sandbox(SandboxSettings(script=behaviour, webhooks=rules)) as sandbox,
        site(
            tmp_path,
            sandbox,
            wassenger__rate_limit_seconds="0.2",
            wassenger__resend_after_seconds="1",
            watch__catch_up_seconds="1",
        ) as made,
    ):
        accepted, backup = sandbox.accepted, tmp_path / "backup.db"
        await made.campaign("spring", SPRING)
        await made.campaign("paused", PAUSED)
        await wamsg2(made, "campaign", "pause", "paused")
        await draft(made, "autumn", AUTUMN)
        first = await made.start()
        await until(lambda: len(accepted) >= 3)
        await wamsg2(made, "backup", backup)
        known = {m.phone for m in accepted}
        stopped = [number for number in PAUSED if number not in known][1]

        # What the backup knows nothing of; some of it a webhook tells, some is lost and found by asking.
        sandbox.faults = Faults(drop_event=dropped)
        await wamsg2(made, "campaign", "launch", "autumn", "--yes")
        await wamsg2(made, "campaign", "import", "spring", contacts(made, JOINED))
        await made.wait_for("SELECT count(*) FROM interactions WHERE outcome = 'opt_out'", 1)
        await until(lambda: any(m.phone == AUTUMN[1] and m.priority == "high" for m in accepted))
        first.kill()
        await made.killed(first)
        assert len(SPRING) > len({m.phone for m in accepted} & set(SPRING)) > len(known & set(SPRING))
        lose_everything(made)

        assert "restored" in await wamsg2(made, "restore", backup, "--yes")
        set_limit(made, "0.2", "0.02")
        last = await made.start()
        await wamsg2(made, "campaign", "launch", "autumn", "--yes")
        await wamsg2(made, "campaign", "import", "spring", contacts(made, JOINED))
        await wamsg2(made, "campaign", "resume", "paused")
        sandbox.faults = Faults()
        await sandbox.inbound(QUIET, "now I have time")

        wanted = Counter((number, "Message 1 of spring") for number in [*SPRING, *JOINED])
        wanted.update((number, "Message 1 of autumn") for number in AUTUMN)
        wanted.update((number, "Message 1 of paused") for number in PAUSED if number != stopped)
        wanted.update([(number, text.replace("1", "2")) for number, text in wanted if number != stopped])
        await until(lambda: len(accepted) >= wanted.total())
        await made.wait_for(OPEN, 0)
        await sandbox.settle()
        await made.wait_for(OPEN, 0)
        assert Counter((m.phone, m.message) for m in accepted) == wanted
        report = await wamsg2(made, "verify", "--json")
        assert report["violations"] == []
        assert await made.stop(last) == 0
