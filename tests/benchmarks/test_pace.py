"""The gap between two sends, the pace with slow answers, and the pace without a limit."""

import statistics
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.benchmarks import bare_sender, databases, sizes
from tests.benchmarks.figures import Figure, at_least, at_most, ratio_at_least, ratio_at_most
from tests.benchmarks.ground import Bench, Ground

LIMIT_SECONDS = 0.02
SENDS = 10_000 if sizes.IS_FULL else 1_500
SLOW_LIMIT_SECONDS = 0.2
SLOW_ANSWER_SECONDS = 3.0
SLOW_SENDS = 400 if sizes.IS_FULL else 100
UNLIMITED_SENDS = 5_000
IN_FLIGHT = 16  #: the daemon's, without a limit


async def send_all(bench: Bench, made: Ground) -> list[float]:
    """Run a daemon until every message has gone out, once; monotonic times of their requests at the far end."""
    daemon = await made.start()
    await made.until("SELECT coalesce(sum(n), 0) FROM message_counts WHERE status = 'sent'", made.contacts)
    await made.finished(daemon)
    began = await arrived(bench)
    assert len(began) == made.contacts
    return began


async def send_bare(bench: Bench, task: bare_sender.Task) -> list[float]:
    """The same of a bare sender."""
    await bare_sender.run(task)
    began = await arrived(bench)
    assert len(began) == task.count
    return began


async def arrived(bench: Bench) -> list[float]:
    """When each request began at the far end, which forgets them."""
    began = sorted(arrival.began for arrival in await bench.far_end.arrivals())
    await bench.far_end.forget()
    return began


def gaps_ms(times: list[float]) -> list[float]:
    """Milliseconds between each two."""
    return [(b - a) * 1000 for a, b in pairwise(times)]


def rate(times: list[float]) -> float:
    """How many a second, from the first to the last."""
    return (len(times) - 1) / (times[-1] - times[0])


@pytest.mark.benchmark
async def test_gap_between_two_sends(bench: Bench) -> None:
    task = bare_sender.Task(base_url=bench.far_end.base_url, count=250, interval_seconds=LIMIT_SECONDS)
    theirs = gaps_ms(await send_bare(bench, task))
    limit = {"wassenger__rate_limit_seconds": str(LIMIT_SECONDS)}
    async with bench.ground(databases.queued(SENDS), **limit) as made:
        wire = gaps_ms(await send_all(bench, made))
        # The daemon's own clock at the start of each request, in whole milliseconds, rounded down.
        rows = await made.rows("SELECT attempted_at FROM messages ORDER BY attempted_at")
    starts = [float(b[0] - a[0]) for a, b in pairwise(rows)]
    limit_ms, timer = LIMIT_SECONDS * 1000, "a bare timer, at the far end"
    figures = [
        Figure("gap.start.least", f"least gap of {SENDS:,} sends, by the client's clock", min(starts), "ms"),
        Figure("gap.start.mean", "mean gap, by the client's clock", statistics.mean(starts), "ms"),
        Figure("gap.wire.least", "least gap, at the far end, where jitter may shorten it", min(wire), "ms"),
        Figure("gap.wire.mean", "mean gap, at the far end", statistics.mean(wire), "ms"),
    ]
    short = sum(gap < limit_ms for gap in starts)
    bench.report.add(
        Figure("gap.start.short", "gaps below the limit, by the client's clock", short, "gaps", bar=at_most(0))
    )
    for figure, baseline, of, bar in zip(
        figures,
        (limit_ms, limit_ms, min(theirs), statistics.mean(theirs)),
        ("the limit", "the limit", timer, timer),
        (at_least(limit_ms), ratio_at_most(1.02), None, None),
        strict=True,
    ):
        bench.report.add(replace(figure, baseline=baseline, baseline_what=of, bar=bar))


@pytest.mark.benchmark
async def test_pace_with_slow_answers(bench: Bench) -> None:
    await bench.far_end.answer_after(SLOW_ANSWER_SECONDS)
    task = bare_sender.Task(
        base_url=bench.far_end.base_url, count=30, interval_seconds=SLOW_LIMIT_SECONDS, in_flight=SLOW_SENDS
    )
    theirs = rate(await send_bare(bench, task))
    limit = {"wassenger__rate_limit_seconds": str(SLOW_LIMIT_SECONDS)}
    async with bench.ground(databases.queued(SLOW_SENDS), **limit) as made:
        ours = rate(await send_all(bench, made))
    what = f"pace at a limit of {SLOW_LIMIT_SECONDS} s, answers take {SLOW_ANSWER_SECONDS:.0f} s"
    bar = at_least(0.99 / SLOW_LIMIT_SECONDS)
    bench.report.add(Figure("pace.slow_answers", what, ours, "/s", theirs, "a bare timer", bar))


@pytest.mark.benchmark
async def test_sends_without_a_limit(bench: Bench) -> None:
    task = bare_sender.Task(base_url=bench.far_end.base_url, count=UNLIMITED_SENDS, in_flight=IN_FLIGHT)
    kept = rate(await send_bare(bench, task))
    async with bench.ground(databases.queued(UNLIMITED_SENDS), wassenger__rate_limit_seconds="0") as made:
        ours = rate(await send_all(bench, made))
    connecting = rate(await send_bare(bench, replace(task, keeps_alive=False)))
    figure = Figure("sends.unlimited", f"sends without a limit, {IN_FLIGHT} in flight", ours, "/s")
    figure = replace(figure, bar=ratio_at_least(0.6))
    bench.report.add(replace(figure, baseline=kept, baseline_what="a bare client, connections kept"))
    again = replace(figure, baseline=connecting, baseline_what="a bare client, a connection for each")
    bench.report.add(replace(again, key="sends.unlimited.connecting"))
