"""Durable webhooks with all rules, beside a bare handler; on a slow disk; and what one costs as contacts grow."""

import statistics
from asyncio.subprocess import Process
from dataclasses import replace

import pytest

from tests.benchmarks import databases, generator, machine, sizes, webhooks
from tests.benchmarks.figures import Figure, at_least, at_most, ratio_at_least, ratio_at_most
from tests.benchmarks.ground import Bench, Ground
from tests.benchmarks.load import Load

ROUNDS = 3
SLOW_COMMIT_SECONDS = 0.005
HANDLER = "a bare handler"


def per_round(contacts: int) -> int:
    """Requests of a round: as many as leave every contact one turn in all rounds."""
    return min(10_000, contacts // ROUNDS) // webhooks.PERIOD * webhooks.PERIOD


async def rounds(bench: Bench, made: Ground) -> tuple[list[Load], list[Load]]:
    """The same webhooks for the daemon and for the bare handler, in turns, so that both meet the same machine."""
    ours, theirs = [], []
    count = per_round(made.contacts)
    for n in range(ROUNDS):
        task = replace(made.webhooks, first=n * count, count=count)
        theirs.append(await generator.run(replace(task, port=bench.bare.port)))
        ours.append(await generator.run(task))
    return ours, theirs


async def check(made: Ground, runs: list[Load]) -> None:
    """Every webhook is stored once, with its effects."""
    due = webhooks.expected(made.contacts, 0, per_round(made.contacts) * len(runs))
    assert sum(run.duplicates for run in runs) == due.duplicates
    events = await made.rows("SELECT count(*) FROM events WHERE name IN ('message:in:new', 'message:out:ack')")
    assert events == [(due.events,)]
    assert await made.outcomes() == {"message_2_queued": due.answered, "no_recent_message_1": due.too_late}
    assert await made.rows("SELECT count(*) FROM messages WHERE step = 2") == [(due.answered,)]
    reported = "SELECT sum(n) FROM message_counts WHERE step = 1 AND campaign_id IN (1, 2) AND status <> 'sent'"
    assert await made.rows(reported) == [(due.receipts,)]
    if made.contacts <= sizes.SMALL:
        assert await made.violations() == []


def median_rate(runs: list[Load]) -> float:
    """Webhooks a second, of the round in the middle."""
    return statistics.median(run.rate for run in runs)


def worst_p99_ms(runs: list[Load]) -> float:
    """Of the worst round."""
    return max(run.percentile_ms(0.99) for run in runs)


@pytest.mark.benchmark
@pytest.mark.parametrize("contacts", sizes.CONTACTS)
async def test_durable_intake(bench: Bench, contacts: int) -> None:
    async with bench.ground(databases.mature(contacts)) as made:
        daemon = await made.start()
        ours, theirs = await rounds(bench, made)
        peak_mib, bare_mib = (machine.memory_mib(p.pid, "VmHWM") for p in (daemon, bench.bare.process))
        await made.finished(daemon)
        await check(made, ours)
        await bench.far_end.arrivals()
    key, add = f"intake.{contacts}", bench.report.add
    what = f"durable webhooks, all rules, 64 connections, {contacts:,} contacts"
    rates, p99s = (median_rate(ours), median_rate(theirs)), (worst_p99_ms(ours), worst_p99_ms(theirs))
    add(Figure(f"{key}.rate", what, rates[0], "/s", rates[1], HANDLER, ratio_at_least(0.7)))
    add(Figure(f"{key}.p99", "p99 of their answers, worst round", p99s[0], "ms", p99s[1], HANDLER, at_most(30)))
    add(Figure(f"{key}.memory", "memory at the most, under it", peak_mib, "MiB", bare_mib, HANDLER, at_most(110)))
    spent = sum(run.cpu_seconds for run in theirs) / sum(run.seconds for run in theirs)
    add(Figure(f"{key}.generator", "what the load itself takes, against the bare handler", spent, "cores"))


@pytest.mark.benchmark
async def test_intake_on_a_slow_disk(bench: Bench) -> None:
    async with bench.ground(databases.mature(sizes.MEDIUM)) as made:
        never = made.directory / "gate"  # while it is there, commits are held
        slow = ("tests.process.slow_daemon", str(made.config), str(SLOW_COMMIT_SECONDS), str(never))
        daemon = await made.run(*slow)
        ours, theirs = await rounds(bench, made)
        await made.finished(daemon)
        await check(made, ours)
    rates, p99s = (median_rate(ours), median_rate(theirs)), (worst_p99_ms(ours), worst_p99_ms(theirs))
    what = "durable webhooks, commits 5 ms slower, 64 connections"
    bench.report.add(Figure("intake.slow.rate", what, rates[0], "/s", rates[1], HANDLER, at_least(2000)))
    bench.report.add(Figure("intake.slow.p99", "p99 of their answers, worst round", p99s[0], "ms", p99s[1], HANDLER))


async def cost_us(made: Ground, daemon: Process, first: int, count: int) -> tuple[float, float]:
    """Microseconds of a core, and of time, for each webhook of a round."""
    before = machine.cpu_seconds(daemon.pid)
    run = await generator.run(replace(made.webhooks, first=first, count=count))
    spent = machine.cpu_seconds(daemon.pid) - before
    return spent / count * 1e6, run.seconds / count * 1e6


@pytest.mark.benchmark
async def test_cost_of_a_webhook_as_contacts_grow(bench: Bench) -> None:
    count = per_round(sizes.SMALL)
    costs: dict[int, list[tuple[float, float]]] = {sizes.SMALL: [], sizes.LARGE: []}
    async with (
        bench.ground(databases.mature(sizes.SMALL), "small") as small,
        bench.ground(databases.mature(sizes.LARGE), "large") as large,
    ):
        daemons = [(made, await made.start()) for made in (small, large)]
        for n in range(ROUNDS):
            for made, daemon in daemons:
                costs[made.contacts].append(await cost_us(made, daemon, n * count, count))
        for made, daemon in daemons:
            await made.finished(daemon)
            await check_events(made, count * ROUNDS)
    few, many = ([statistics.median(x) for x in zip(*each, strict=True)] for each in costs.values())
    of, baseline = f"{sizes.LARGE:,} contacts and {5 * sizes.LARGE:,} messages", f"{sizes.SMALL:,} contacts"
    for key, what, a, b in (("cpu", "processor time", many[0], few[0]), ("wall", "time", many[1], few[1])):
        figure = Figure(f"cost.{sizes.LARGE}.{key}", f"{what} for a webhook, {of}", a, "us", b, baseline)
        bench.report.add(replace(figure, bar=ratio_at_most(1.25)))


async def check_events(made: Ground, count: int) -> None:
    """Every webhook but the repeated ones is stored."""
    events = await made.rows("SELECT count(*) FROM events WHERE name IN ('message:in:new', 'message:out:ack')")
    assert events == [(webhooks.expected(made.contacts, 0, count).events,)]
