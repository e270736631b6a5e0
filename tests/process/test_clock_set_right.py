"""A server that starts with a wrong time of day, and is set right before the next start."""

from datetime import timedelta
from pathlib import Path

from tests.process.daemon_log import until
from tests.site import site
from wamsg2.sandbox import SandboxSettings
from wamsg2.sandbox.server import Sandbox

PHONES = [f"+3460000000{n}" for n in range(4)]
EARLY, LATE = PHONES[:2], PHONES[2:]
INTERACTIONS = "SELECT count(*) FROM interactions WHERE outcome = 'message_2_queued'"


async def test_an_hour_ahead_until_the_restart(tmp_path: Path) -> None:
    offset = tmp_path / "offset"
    offset.write_text(str(timedelta(hours=1).total_seconds()), encoding="ascii")
    async with Sandbox(SandboxSettings()) as sandbox, site(tmp_path, sandbox, message_2__delay_seconds="1") as made:

        def has_message_2(phones: list[str]) -> bool:
            return {m.phone for m in sandbox.accepted if m.priority == "high"} >= set(phones)

        async def replies(phones: list[str], so_far: int) -> None:
            for phone in phones:
                await sandbox.inbound(phone, "Yes")
            await made.wait_for(INTERACTIONS, so_far + len(phones))

        await made.campaign("spring", PHONES)
        daemon = await made.run("tests.process.stepped_daemon", str(made.config), str(offset))
        await made.wait_for("SELECT count(*) FROM messages WHERE status = 'read'", len(PHONES))
        await replies(EARLY, 0)
        daemon.kill()
        await made.killed(daemon)
        offset.write_text("0", encoding="ascii")
        daemon = await made.run("tests.process.stepped_daemon", str(made.config), str(offset))
        await replies(LATE, len(EARLY))
        await until(lambda: has_message_2(LATE))
        assert has_message_2(EARLY)  # they wrote first
        assert await made.violations() == []
        assert await made.stop(daemon) == 0
