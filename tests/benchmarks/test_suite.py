"""The benchmarks' own parts, in every ordinary run: a measure that is wrong is worse than none."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.benchmarks import compare, databases, webhooks
from tests.benchmarks.databases import Batch, Shape, State
from tests.benchmarks.figures import Figure, Report, at_least, at_most, number, percentile, ratio_at_least
from wamsg2 import rules
from wamsg2.clock import SystemClock
from wamsg2.model import InboundMessage, Receipt
from wamsg2.store import verify
from wamsg2.store.database import Store
from wamsg2.wassenger import events


@pytest.mark.parametrize(
    "shape",
    [
        databases.mature(100),
        databases.draft(100),
        databases.replying(10, 20),
        Shape("mixed", 9, (Batch("next", 1, 5, State.QUEUED), Batch("old", 3, 9, State.READ, 1000))),
    ],
    ids=lambda shape: str(shape.name),
)
async def test_a_built_database_keeps_every_promise(tmp_path: Path, shape: Shape) -> None:
    path = tmp_path / "built.db"
    databases.build(path, shape)
    async with await Store.open(path) as store:
        found = await verify.violations(
            store.reader,
            window=timedelta(hours=24),
            tolerance=rules.TOLERANCE,
            now=SystemClock().now(),
            inbound_events=events.INBOUND_EVENTS,
        )
        assert found == []
        ((contacts,),) = await store.reader.execute_fetchall("SELECT count(*) FROM contacts")
        assert contacts == shape.contacts


async def test_a_built_database_has_the_schema_of_a_migrated_one(tmp_path: Path) -> None:
    databases.build(tmp_path / "built.db", databases.mature(10))
    async with await Store.open(tmp_path / "built.db") as built, await Store.open(tmp_path / "new.db") as new:
        schema = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
        assert list(await built.reader.execute_fetchall(schema)) == list(await new.reader.execute_fetchall(schema))


def test_the_waiting_database_has_a_million_old_messages() -> None:
    for open_rows in (100_000, 1_000_000):
        batches = databases.waiting(open_rows).batches
        assert sum(batch.last - batch.first + 1 for batch in batches if batch.state is State.READ) == 1_000_000
        assert max(batch.last for batch in batches) == open_rows


def test_the_mix_is_what_it_says() -> None:
    contacts, count = 400, 200
    made = webhooks.Mix(contacts, "/webhook", "key").requests(0, count)
    assert len(made) == count
    due = webhooks.expected(contacts, 0, count)
    assert (due.answered + due.too_late, due.receipts, due.duplicates) == (100, 90, 10)
    assert len(set(made)) == due.events
    parsed = [events.parse(request.partition(b"\r\n\r\n")[2]) for request in dict.fromkeys(made)]
    assert len({event.identity for event in parsed}) == due.events
    assert sum(isinstance(event.content, InboundMessage) for event in parsed) == 100
    assert sum(isinstance(event.content, Receipt) for event in parsed) == 90
    people = {content.sender.phone for event in parsed if isinstance(content := event.content, InboundMessage)}
    assert people == {databases.phone(webhooks.contact_of(n, contacts)) for n in range(0, count, 2)}


@pytest.mark.parametrize("contacts", [10_000, 100_000, 1_000_000])
def test_the_walk_meets_everyone_once(contacts: int) -> None:
    assert {webhooks.contact_of(n, contacts) for n in range(contacts)} == set(range(1, contacts + 1))


def test_bars() -> None:
    assert Figure("a", "", 2.0, "s", bar=at_most(2)).verdict == "met"
    assert Figure("a", "", 1.9, "s", bar=at_least(2)).verdict == "NOT MET"
    assert Figure("a", "", 7.0, "/s", 10.0, "bare", ratio_at_least(0.7)).verdict == "met"
    assert Figure("a", "", 6.9, "/s", 10.0, "bare", ratio_at_least(0.7)).verdict == "NOT MET"
    assert Figure("a", "", 6.9, "/s").verdict == "-"


def test_numbers() -> None:
    assert [number(x) for x in (0, 0.0123, 2.0, 2.0049, 34.567, 123.45, 12345.6)] == [
        *("0", "0.012", "2", "2.005", "34.57", "123.5", "12,346")
    ]
    assert percentile(range(1000), 0.99) == 990
    assert percentile([3, 1, 2], 1) == 3


def test_results_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rate = Figure("rate", "Rate", 50.0, "/s", 100.0, "bare", ratio_at_least(0.7))
    figures = [rate, Figure("gone", "Old", 1.0, "s")]
    Report({"python": "3.11", "cpus": 2}, figures).write(tmp_path / "old.json")
    better = [replace(rate, value=60.0, baseline=80.0), Figure("new", "New", 1.0, "s")]
    Report({"python": "3.12", "cpus": 2}, better).write(tmp_path / "new.json")
    assert Report.read(tmp_path / "old.json").figures == figures
    compare.main([str(tmp_path / "old.json"), str(tmp_path / "new.json")])
    printed = capsys.readouterr().out
    assert "python: 3.11 -> 3.12" in printed
    assert "cpus: 2\n" in printed
    (line,) = [line for line in printed.splitlines() if line.startswith("rate")]
    assert line.split() == ["rate", "50", "/s", "60", "/s", "0.5", "0.75", "+50%", "NOT", "MET", "->", "met"]
