"""Promise P8 beside a running daemon: people are forgotten while everybody writes, and no file knows them then."""

import asyncio
import json
import sys
from pathlib import Path

from tests.site import ROOT, Site, site
from tests.support import readable
from wamsg2.sandbox import Behaviour, Faults, Reply, SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox

PHONES = [f"+346{n * 7919 % 100_000_000:08d}" for n in range(1, 61)]
GONE = PHONES[7::20]
OPEN = "SELECT count(*) FROM messages WHERE status IN ('queued', 'sending', 'uncertain')"


def words_of(number: str) -> str:
    """What only this person writes."""
    return f"moonlight-{int(number[1:]) ** 3}"


async def wamsg2(made: Site, *arguments: str | Path, code: int = 0) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "wamsg2", "--config", str(made.config), *map(str, arguments)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == code, (arguments, out, err)
    return out.decode()


def left(made: Site, *numbers: str) -> set[str]:
    """Whose number, id or words stand in a file of the database, or in the log."""
    everything = readable([*made.directory.glob("wamsg2.db*"), made.directory / "daemon.log"])
    return {n for n in numbers if n[1:].encode() in everything or words_of(n).encode() in everything}


async def test_people_are_forgotten_while_everybody_writes(tmp_path: Path) -> None:
    settings = SandboxSettings(
        script=lambda number: Behaviour((Reply(words_of(number), 0.05), Reply(f"{words_of(number)} again", 0.3))),
        webhooks=WebhookRules(backoff_seconds=0.1, backoff_max_seconds=0.5),
        faults=Faults(duplicate_event=0.3, drop_event=0.1, lid_sender=0.3),
    )
    async with (
        Sandbox(settings) as sandbox,
        site(tmp_path, sandbox, wassenger__rate_limit_seconds="0.03", watch__catch_up_seconds="1") as made,
    ):
        people = made.directory / "people.csv"
        people.write_text("\n".join(["phone,name", *(f"{p},{words_of(p)}" for p in PHONES)]), encoding="utf-8")
        texts = ("--message-1", "Hello {{name}}", "--message-2", "Here it is, {{name}}")
        await wamsg2(made, "campaign", "create", "spring", *texts)
        await wamsg2(made, "campaign", "import", "spring", people)
        await wamsg2(made, "campaign", "launch", "spring", "--yes")
        daemon = await made.start()
        await made.wait_for("SELECT count(*) > 20 FROM messages WHERE step = 2", 1)
        early, late = GONE[:2], GONE[2:]  # who got both messages by then, and who got none or is about to
        assert left(made, *GONE) == set(GONE)
        for number in GONE:
            await wamsg2(made, "contact", "forget", number, "--yes")
        sent = {m.phone for m in sandbox.accepted}
        assert set(early) <= sent

        # They write again, by number and by an id that hides it, and the catch-up asks for all that they ever wrote.
        # (Whose id nobody was ever told, and who writes from it alone, is a stranger.)
        for number in sent.intersection(GONE):
            await sandbox.inbound(number, words_of(number))
        await made.wait_for(OPEN, 0)
        await sandbox.settle()
        await wamsg2(made, "catch-up")
        await made.wait_for(OPEN, 0)
        assert left(made, *GONE) == set()
        assert len(left(made, *PHONES)) == len(PHONES) - len(GONE)
        assert not {m.phone for m in sandbox.accepted if m.phone in late} - sent

        # Nothing was lost for the others, and every count is right.
        status = json.loads(await wamsg2(made, "status", "--json"))
        (campaign,) = status["campaigns"]
        assert campaign["contacts"] == sum(campaign["message_1"].values()) == len(PHONES)
        assert await wamsg2(made, "verify") != ""
        people.write_text("\n".join(["phone,name", *(f"{p},x" for p in GONE)]), encoding="utf-8")
        refused = await wamsg2(made, "campaign", "import", "spring", people, code=1)
        assert refused.splitlines()[1:] == [
            "3 rows refused (rows 2, 3, 4)",
            "  phone: was forgotten on request (`wamsg2 contact remember` takes that back)",
        ]
        assert await made.stop(daemon) == 0
        assert left(made, *GONE) == set()
        again = await made.start()
        assert await made.stop(again) == 0
        assert left(made, *GONE) == set()
