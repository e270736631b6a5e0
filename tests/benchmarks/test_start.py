"""From the start of the process to the first request, with a large database and with a small one; and `--help`."""

import asyncio
import statistics
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from tests.benchmarks import children, databases, sizes
from tests.benchmarks.figures import Figure, Report, at_most
from tests.benchmarks.ground import Bench, Ground
from tests.support import PROCESS_SECONDS

ROUNDS = 3
SMALL_ROWS = 50
COMMANDS = 10
#: The bucket starts empty: the first send is due this long after the start.
LIMIT_SECONDS = 1.0


async def start_seconds(bench: Bench, made: Ground) -> tuple[float, float]:
    """From the start of a daemon until its webhook listener answers, and until its first request is there."""
    await bench.far_end.forget()
    began = time.monotonic()
    daemon = await made.start(ready=False)
    async with asyncio.timeout(PROCESS_SECONDS):
        ready = await listens_at(made)
        while not (arrived := await bench.far_end.arrivals()):  # noqa: ASYNC110 - the far end cannot call
            await asyncio.sleep(0.02)
    await made.finished(daemon)
    return ready - began, arrived[0].began - began


async def listens_at(made: Ground) -> float:
    """The monotonic time at which the webhook port is open."""
    url = urlsplit(made.webhook_url)
    while True:
        try:
            _, writer = await asyncio.open_connection(url.hostname, url.port)
        except ConnectionError:
            await asyncio.sleep(0.005)
        else:
            opened = time.monotonic()
            writer.close()
            return opened


@pytest.mark.benchmark
@pytest.mark.parametrize("open_rows", sizes.CONTACTS[1:])
async def test_start_with_a_million_old_messages(bench: Bench, open_rows: int) -> None:
    starts: dict[int, list[tuple[float, float]]] = {SMALL_ROWS: [], open_rows: []}
    async with (
        bench.ground(databases.queued(SMALL_ROWS), "small") as small,
        bench.ground(databases.waiting(open_rows), "large") as large,
    ):
        for _ in range(ROUNDS):  # in turns, so that both meet the same machine
            for made in (small, large):
                starts[made.contacts].append(await start_seconds(bench, made))
    few, many = ([statistics.median(x) for x in zip(*each, strict=True)] for each in starts.values())
    of, baseline = f"{open_rows:,} open rows and 1,000,000 old ones", f"{SMALL_ROWS} rows"
    what = f"start until the webhook port is open, {of}"
    bench.report.add(Figure(f"start.{open_rows}.ready", what, many[0], "s", few[0], baseline, at_most(2)))
    what, (ours, theirs) = "start until the first request, without its wait of 1 s", (many[1], few[1])
    figure = Figure(
        f"start.{open_rows}.first_send", what, ours - LIMIT_SECONDS, "s", theirs - LIMIT_SECONDS, baseline
    )
    bench.report.add(replace(figure, bar=at_most(1)))


@pytest.mark.benchmark
async def test_help(report: Report) -> None:
    seconds: dict[str, list[float]] = {"help": [], "pass": []}
    for _ in range(COMMANDS):
        seconds["pass"].append((await children.command("-c", "pass")).seconds)
        seconds["help"].append((await children.command("-m", "wamsg2", "--help")).seconds)
    ours, theirs = (statistics.median(seconds[name]) * 1000 for name in ("help", "pass"))
    report.add(Figure("help", "wamsg2 --help", ours, "ms", theirs, "python -c pass", at_most(150)))
