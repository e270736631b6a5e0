"""How soon a webhook is acknowledged at an ordinary pace, and how soon a reply is answered."""

import asyncio
from dataclasses import replace

import pytest

from tests.benchmarks import databases, generator, sizes
from tests.benchmarks.bare_listener import DELAY_SECONDS
from tests.benchmarks.figures import Figure, at_most, percentile
from tests.benchmarks.generator import Task
from tests.benchmarks.ground import Bench

PER_SECOND = 50
WEBHOOKS = 1000
BARE_REPLIES = 10
#: Between two replies: more than a turn, so that no two wait for the same one, and out of step with the pace.
REPLY_GAP_SECONDS = 1.37
IDLE_REPLIES = 60 if sizes.IS_FULL else 25
BUSY_REPLIES = 55 if sizes.IS_FULL else 35
_MOST_SECONDS = 60.0  #: an answer that takes longer never comes


@pytest.mark.benchmark
async def test_acknowledgement_at_an_ordinary_pace(bench: Bench) -> None:
    async with bench.ground(databases.mature(sizes.MEDIUM)) as made:
        daemon = await made.start()
        task = replace(made.webhooks, count=WEBHOOKS, per_second=PER_SECOND, connections=16)
        theirs = await generator.run(replace(task, count=WEBHOOKS // 2, port=bench.bare.port))
        ours = await generator.run(task)
        await made.finished(daemon)
    for key, share, bar in (("p50", 0.5, None), ("p99", 0.99, at_most(10))):
        what = f"acknowledgement at {PER_SECOND} webhooks/s, {key}"
        values = ours.percentile_ms(share), theirs.percentile_ms(share)
        bench.report.add(Figure(f"acknowledged.{key}", what, values[0], "ms", values[1], "a bare handler", bar))


async def answered_after(bench: Bench, task: Task) -> list[float]:
    """Seconds from the writing of each reply to the first bytes, at the far end, of the request that answers it."""
    replied = await generator.run(task)
    async with asyncio.timeout(_MOST_SECONDS):
        while len(answers := await answered_at(bench)) < task.count:  # noqa: ASYNC110 - the far end cannot call
            await asyncio.sleep(0.1)
    return [answers[databases.phone(n)] - at for n, at in enumerate(replied.starts, start=1)]


async def answered_at(bench: Bench) -> dict[str, float]:
    """When the request of each Message 2 was at the far end, by phone."""
    return {arrival.phone: arrival.began for arrival in await bench.far_end.arrivals() if arrival.priority == "high"}


@pytest.mark.benchmark
@pytest.mark.parametrize(
    ("waiting", "count", "bar_seconds"),
    [(0, IDLE_REPLIES, 2.05), (100_000, BUSY_REPLIES, 3.05)],
    ids=["idle", "behind a campaign"],
)
async def test_reply_to_request(bench: Bench, waiting: int, count: int, bar_seconds: float) -> None:
    async with bench.ground(databases.replying(count, waiting)) as made:
        task = replace(made.webhooks, what="replies", count=count, per_second=1 / REPLY_GAP_SECONDS, connections=4)
        bare = replace(task, count=BARE_REPLIES, per_second=10.0, port=bench.bare.port, target="/answered")
        theirs = await answered_after(bench, bare)
        await bench.far_end.forget()
        daemon = await made.start()
        ours = await answered_after(bench, task)
        await made.finished(daemon)
        assert min(ours) >= DELAY_SECONDS, "answered before its time"
        assert await made.outcomes() == {"message_2_queued": count}
    key = "busy" if waiting else "idle"
    where = f"behind {waiting:,} Message 1 at 1/s" if waiting else "idle"
    for name, share, bar in (("p50", 0.5, None), ("p99", 0.99, at_most(bar_seconds))):
        what = f"reply to request, {where}, {name} of {count}"
        values = percentile(ours, share), percentile(theirs, share)
        bench.report.add(Figure(f"reply.{key}.{name}", what, values[0], "s", values[1], "a bare timer, idle", bar))
