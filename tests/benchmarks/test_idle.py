"""What a daemon costs that has nothing to do."""

import asyncio

import pytest

from tests.benchmarks import machine
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.ground import Bench

MEASURED_SECONDS = 20.0
SETTLE_SECONDS = 2.0


async def busy_percent(pids: list[int]) -> list[float]:
    """What each process takes of a core, over the time measured."""
    before = [machine.cpu_seconds(pid) for pid in pids]
    await asyncio.sleep(MEASURED_SECONDS)
    spent = [machine.cpu_seconds(pid) - was for pid, was in zip(pids, before, strict=True)]
    return [seconds / MEASURED_SECONDS * 100 for seconds in spent]


@pytest.mark.benchmark
async def test_idle(bench: Bench) -> None:
    async with bench.ground() as made:
        daemon = await made.start()
        await made.status()
        await asyncio.sleep(SETTLE_SECONDS)
        pids = [daemon.pid, bench.bare.process.pid]
        percent = await busy_percent(pids)
        mib = [machine.memory_mib(pid) for pid in pids]
        await made.finished(daemon)
    add, handler = bench.report.add, "a bare handler"
    add(Figure("idle.memory", "memory, idle", mib[0], "MiB", mib[1], handler, at_most(50)))
    add(
        Figure("idle.cpu", "processor, idle, over 20 s", percent[0], "% of a core", percent[1], handler, at_most(0.2))
    )
