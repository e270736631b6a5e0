"""A row that nobody can read, made with a SQL prompt or by a bad disk, keeps nobody waiting."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.process.daemon_log import logged, until
from tests.site import site
from wamsg2.sandbox import SandboxSettings
from wamsg2.sandbox.server import Sandbox

PHONES = [f"+3460000000{n}" for n in range(4)]
BROKEN = {
    "variables are not JSON": "UPDATE recipients SET variables = '{' WHERE contact_id = 1",
    "variables are no object": "UPDATE recipients SET variables = '[]' WHERE contact_id = 1",
    "variables are not UTF-8": "UPDATE recipients SET variables = CAST(x'7bff7d' AS TEXT) WHERE contact_id = 1",
    "a number that is not UTF-8": "UPDATE contacts SET phone = CAST(x'2b33ff' AS TEXT) WHERE id = 1",
    "a time before all calendars": "UPDATE messages SET due_at = -9000000000000000000 WHERE contact_id = 1",
}


@pytest.mark.parametrize("sql", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_row(tmp_path: Path, sql: str) -> None:
    async with Sandbox(SandboxSettings()) as sandbox, site(tmp_path, sandbox) as made:
        await made.campaign("spring", PHONES)
        with closing(sqlite3.connect(made.database)) as connection:
            connection.execute(sql)
            connection.commit()
        daemon = await made.start(ready=False)
        log = tmp_path / "daemon.log"
        await until(
            lambda: daemon.returncode is not None or len(sandbox.accepted) == 3 or "sending.held" in log.read_text()
        )
        assert daemon.returncode is None
        assert Counter(m.phone for m in sandbox.accepted) == Counter(PHONES[1:])
        await made.wait_for("SELECT status FROM messages WHERE contact_id = 1", "failed")
        assert len(logged(made, "message.dropped", message_id=1)) == 1
        assert (await made.status())["status"] == "ok"
        assert await made.stop(daemon) == 0
