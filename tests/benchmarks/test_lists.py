"""Large lists: the import of a file, and the launch of a campaign beside a daemon that takes webhooks."""

import asyncio
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.benchmarks import children, databases, generator, machine, sizes
from tests.benchmarks.figures import Figure, at_most
from tests.benchmarks.ground import Bench
from wamsg2.store import database

ROWS = sizes.LARGE
IMPORT_BAR_SECONDS = 45 if sizes.IS_FULL else 4
PER_SECOND = 50
#: Before a launch the daemon takes webhooks for so long.
_BEFORE_SECONDS = 1.0
_READ_CSV = "import csv, sys; print(sum(1 for _ in csv.reader(open(sys.argv[1], newline=''))))"


def write_list(path: Path) -> None:
    """A list of contacts with two variables, one of them used."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("phone,name,city\n")
        stream.writelines(f"{databases.phone(n)},Name {n},City {n % 100}\n" for n in range(1, ROWS + 1))


@pytest.mark.benchmark
async def test_import(bench: Bench) -> None:
    async with bench.ground() as made:
        contacts = made.directory / "contacts.csv"
        write_list(contacts)
        wamsg2 = ("-m", "wamsg2", "--config", str(made.config), "campaign")
        await children.command(*wamsg2, "create", "spring", "--message-1", "Hello {{name}}", "--message-2", "More")
        read = await children.command("-c", _READ_CSV, str(contacts))
        assert int(read.output) == ROWS + 1
        imported = await children.command(*wamsg2, "import", "spring", str(contacts), "--json")
        assert json.loads(imported.output)["added"] == ROWS
        assert await made.rows("SELECT count(*) FROM recipients") == [(ROWS,)]
        contacts.unlink()
    key, reading = f"import.{ROWS}", "reading the file with csv"
    seconds = Figure(f"{key}.seconds", f"import of {ROWS:,} rows", imported.seconds, "s", read.seconds, reading)
    memory = Figure(f"{key}.memory", "memory at the most", imported.peak_mib, "MiB", read.peak_mib, reading)
    bench.report.add(replace(seconds, bar=at_most(IMPORT_BAR_SECONDS)))
    bench.report.add(replace(memory, bar=at_most(120)))


def insert_all(path: Path) -> float:
    """Seconds for the rows of a launch in one statement and one commit, with the daemon's settings of SQLite."""
    with closing(database.connect(path)) as connection, machine.stopwatch() as seconds:
        connection.execute(
            """INSERT INTO messages (contact_id, campaign_id, step, status, reference, created_at, due_at)
               SELECT contact_id, campaign_id, 1, 'queued', 'w2-' || lower(hex(randomblob(15))), 0, 0
               FROM recipients WHERE campaign_id = (SELECT id FROM campaigns WHERE name = 'bulk')"""
        )
    return seconds[0]


@pytest.mark.benchmark
async def test_launch_beside_webhooks(bench: Bench) -> None:
    async with bench.ground(databases.draft(ROWS), "scratch") as scratch:
        inserted_seconds = await asyncio.to_thread(insert_all, scratch.database)
    async with bench.ground(databases.draft(ROWS)) as made:
        daemon = await made.start()
        # More than the slowest launch leaves time for: the generator is ended with it.
        task = replace(made.webhooks, count=20_000, per_second=PER_SECOND, connections=16)
        theirs = await generator.run(replace(task, count=400, port=bench.bare.port))
        async with generator.running(task) as webhooks:
            await made.until("SELECT count(*) > 0 FROM events", 1)
            await asyncio.sleep(_BEFORE_SECONDS)
            wamsg2 = ("-m", "wamsg2", "--config", str(made.config))
            launched = await children.command(*wamsg2, "campaign", "launch", "bulk", "--yes")
            ours = await webhooks.end()
        await made.finished(daemon)
        bulk = "SELECT count(*) FROM messages WHERE campaign_id = 3 AND status IN ('queued', 'sent')"
        assert await made.rows(bulk) == [(ROWS,)]
        events = await made.rows("SELECT count(*) FROM events WHERE name IN ('message:in:new', 'message:out:ack')")
        assert events == [(len(ours.latencies) - ours.duplicates,)]
        await bench.far_end.arrivals()
    key, insert = f"launch.{ROWS}", "one INSERT of the rows"
    seconds = Figure(
        f"{key}.seconds", f"launch of {ROWS:,} contacts", launched.seconds, "s", inserted_seconds, insert
    )
    what = f"slowest of {len(ours.latencies)} webhooks meanwhile"
    slowest = Figure(f"{key}.webhooks", what, ours.percentile_ms(1), "ms", theirs.percentile_ms(1), "a bare handler")
    bench.report.add(replace(seconds, bar=at_most(15)))
    bench.report.add(replace(slowest, bar=at_most(100)))
    what = "of them sent away with 503 meanwhile, to come again"
    bench.report.add(Figure(f"{key}.postponed", what, ours.postponed, "answers", bar=at_most(0)))
