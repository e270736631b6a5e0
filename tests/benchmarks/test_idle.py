"""What a daemon costs that has nothing to do."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.site import site
from wamsg2.sandbox.server import Sandbox

MEASURED_SECONDS = 10.0
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid: int) -> float:
    (line,) = [
        x for x in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines() if x.startswith("VmRSS")
    ]
    return int(line.split()[1]) / 1024


@pytest.mark.benchmark
async def test_idle(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, site(tmp_path, sandbox) as made:
        daemon = await made.start()
        await made.status()
        await asyncio.sleep(2)
        before = cpu_seconds(daemon.pid)
        await asyncio.sleep(MEASURED_SECONDS)
        share = (cpu_seconds(daemon.pid) - before) / MEASURED_SECONDS
        print(f"\nidle: {resident_mib(daemon.pid):.1f} MiB resident, {share:.2%} of a core")
        assert await made.stop(daemon) == 0
