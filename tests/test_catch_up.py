"""What webhooks did not tell is found by asking: once, in whatever order, and never past what was not read."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.support import START, House, Simulation, ack, house, inbound, memory, receipt, run_virtually
from wamsg2 import catch_up as catch_up_module
from wamsg2.arrivals import Arrivals
from wamsg2.catch_up import CatchUp, CaughtUp
from wamsg2.clock import Clock
from wamsg2.inbox import Inbox
from wamsg2.model import Absent, Event, InboundMessage, Policy, Uncertain, Unknown
from wamsg2.sender import LEAD_SECONDS
from wamsg2.store.database import Store
from wamsg2.store.writer import StoreUnavailableError, WriterStoppedError
from wamsg2.wassenger.events import parse
from wamsg2.wassenger.history import Page

ONE, TWO, THREE = "+34600000001", "+34600000002", "+34600000003"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(hours=24)
NOTHING = CaughtUp()
Body = dict[str, Any]


def event(body: Body) -> Event:
    return parse(json.dumps(body).encode())


@dataclass
class Memory:
    """A provider that remembers everything, and tells it in pages, the newest first."""

    size: int = 2
    written: list[tuple[datetime, str, Body]] = field(default_factory=list)
    reports: dict[str, Event | Absent | Unknown] = field(default_factory=dict)
    broken_pages: set[int] = field(default_factory=set)
    ignores_page: bool = False
    on_page: Callable[[int], None] = lambda _: None
    pages: list[tuple[datetime, int]] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)

    def wrote(self, number: str, text: str = "yes", *, at: datetime, wa_id: str, **changes: Any) -> Body:
        """Somebody wrote; whether its webhook comes is another matter."""
        body = inbound(number, text, at=at, wa_id=wa_id, **changes)
        self.written.append((at, wa_id, body))
        return body

    async def inbound(self, since: datetime, page: int) -> Page | Unknown:
        self.pages.append((since, page))
        assert len(self.pages) < 5000, "asked without an end"
        self.asked_at.append(asyncio.get_running_loop().time())
        self.on_page(page)
        if page in self.broken_pages:
            return Unknown("HTTP 503")
        start = 0 if self.ignores_page else page * self.size
        newest_first = sorted(self.written, key=lambda item: item[:2], reverse=True)
        shown = [item for item in newest_first if item[0] >= since][start : start + self.size]
        events = [event(body) for _, _, body in reversed(shown)]
        return Page([wa_id for _, wa_id, _ in shown], events, max((at for at, *_ in shown), default=None))

    async def report(self, reference: str) -> Event | Absent | Unknown:
        self.questions.append(reference)
        self.asked_at.append(asyncio.get_running_loop().time())
        return self.reports.get(reference, Absent())

    def tell(self, status: str, reference: str, *, at: datetime, reason: str | None = None) -> None:
        """What the provider says of a message when it is asked."""
        body = receipt("failed" if status == "failed" else "sent", at=at, reference=reference, reason=reason)
        if status not in {"sent", "failed"}:
            body["event"] = "message:out:ack"
            body["data"] |= {"ack": status, "deliveryStatus": status, "status": status}
        self.reports[reference] = event(body)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


@pytest.fixture
def provider() -> Memory:
    return Memory()


def over(
    store: Store,
    provider: Memory,
    inbox: Inbox,
    clock: Clock,
    policy: Policy,
    *,
    interval: float = 300,
    gap: float = 0,
    arrivals: Arrivals | None = None,
) -> CatchUp:
    return CatchUp(
        store=store,
        history=provider,
        inbox=inbox,
        clock=clock,
        policy=policy,
        arrivals=arrivals or Arrivals(clock),
        interval_seconds=interval,
        gap_seconds=gap,
    )


def of(home: House, provider: Memory) -> CatchUp:
    return over(home.store, provider, home.inbox, home.clock, home.policy)


@pytest.fixture
def catch_up(home: House, provider: Memory) -> CatchUp:
    return of(home, provider)


@pytest.fixture
async def sent(home: House) -> House:
    """One Message 1 has gone out."""
    await home.campaign(ONE)
    await home.send_one()
    return home


async def mark(home: House) -> list[int]:
    return [at for (at,) in await home.rows("SELECT at FROM marks WHERE name = 'inbound_listed'")]


def ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


async def totals(home: House) -> dict[str, int]:
    found = await home.rows("SELECT name, value FROM totals")
    return {name: value for name, value in found if name in {"webhooks_received", "webhooks_duplicates", "caught_up"}}


# --- replies -------------------------------------------------------------------------------------------------


async def test_a_lost_reply_is_found_and_answered(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    provider.wrote(ONE, at=START + MINUTE, wa_id="A1")
    sent.clock.advance(300)
    assert await catch_up.step() == CaughtUp(messages=1)
    assert await sent.outcomes() == ["message_2_queued"]
    ((due_at,),) = await sent.rows("SELECT due_at FROM messages WHERE step = 2")
    assert due_at == ms(sent.clock.now() + timedelta(seconds=2)), "at once"
    assert await sent.rows("SELECT source, name FROM events") == [("catch_up", "message:in:new")]
    assert await totals(sent) == {"webhooks_received": 0, "webhooks_duplicates": 0, "caught_up": 1}


async def test_its_message_2_goes_out(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    provider.wrote(ONE, at=START + MINUTE, wa_id="A1")
    sent.clock.advance(300)
    await catch_up.step()
    sent.clock.advance(2)
    await sent.sender.step()
    await sent.sender.settle_all()
    assert await sent.statuses() == [(ONE, 1, "sent"), (ONE, 2, "sent")]


async def test_what_is_known_counts_as_nothing(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    await sent.receive(provider.wrote(ONE, at=START + MINUTE, wa_id="A1"))
    sent.clock.advance(300)
    with capture_logs() as logs:
        assert await catch_up.step() == NOTHING
        assert await catch_up.step() == NOTHING
    assert logs == []
    assert await totals(sent) == {"webhooks_received": 1, "webhooks_duplicates": 0, "caught_up": 0}
    assert await sent.outcomes() == ["message_2_queued"]


async def test_a_webhook_that_comes_later_is_a_duplicate(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    body = provider.wrote(ONE, at=START + MINUTE, wa_id="A1")
    sent.clock.advance(300)
    await catch_up.step()
    assert await sent.receive(body) == "duplicate"
    assert await sent.outcomes() == ["message_2_queued"]
    assert await totals(sent) == {"webhooks_received": 0, "webhooks_duplicates": 1, "caught_up": 1}


@pytest.mark.parametrize(
    ("written", "found", "outcome"),
    [
        (23 * HOUR, 23 * HOUR + MINUTE, "message_2_queued"),
        (HOUR, 20 * HOUR, "message_2_queued"),
        (HOUR, 50 * HOUR, "message_2_queued"),  # the window judges when it was written
        (DAY, 6 * DAY, "message_2_queued"),
        (DAY + timedelta(seconds=1), DAY + MINUTE, "no_recent_message_1"),
    ],
)
async def test_a_late_reply_counts_if_it_was_written_in_time(
    sent: House, provider: Memory, *, written: timedelta, found: timedelta, outcome: str
) -> None:
    provider.wrote(ONE, at=START + written, wa_id="A1")
    sent.clock.advance(found.total_seconds())
    assert await of(sent, provider).step() == CaughtUp(messages=1)
    assert await sent.outcomes() == [outcome]


async def test_what_strangers_wrote_is_found_too(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    provider.wrote("+34699999999", at=START, wa_id="A1")
    assert await catch_up.step() == CaughtUp(messages=1)
    assert await sent.outcomes() == ["unknown_contact"]


async def test_a_stop_that_is_found_opts_out(home: House, provider: Memory, catch_up: CatchUp) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.campaign(ONE, TWO, name="autumn")
    provider.wrote(ONE, "STOP", at=START + MINUTE, wa_id="A1")
    home.clock.advance(300)
    assert await catch_up.step() == CaughtUp(messages=1)
    assert await home.statuses() == [(ONE, 1, "sent"), (ONE, 1, "cancelled"), (TWO, 1, "queued")]
    assert await home.rows("SELECT opted_out FROM contacts ORDER BY id") == [(1,), (0,)]


async def test_a_stop_that_is_found_withdraws_what_is_claimed(
    home: House, provider: Memory, catch_up: CatchUp
) -> None:
    await home.campaign(ONE)
    home.clock.advance(1 - LEAD_SECONDS / 2)
    stepping = asyncio.get_running_loop().create_task(home.sender.step())
    while await home.statuses() != [(ONE, 1, "sending")]:
        pass
    provider.wrote(ONE, "STOP", at=START, wa_id="A1")
    await catch_up.step()
    home.clock.advance(1)
    await stepping
    await home.sender.settle_all()
    assert home.client.sent == []
    assert await home.rows("SELECT status, reason FROM messages") == [("cancelled", "contact opted out")]


@pytest.mark.parametrize("size", [1, 2, 50])
@pytest.mark.parametrize(
    ("words", "opted_out", "message_2s"),
    [
        (("yes", "STOP"), 1, 0),  # nothing goes out to whoever has written STOP, however it came to us
        (("STOP", "START"), 0, 0),
        (("START", "STOP"), 1, 0),
        (("STOP", "START", "yes"), 0, 1),
    ],
)
async def test_the_order_of_writing_decides_whatever_the_order_of_pages(
    sent: House, provider: Memory, *, size: int, words: tuple[str, ...], opted_out: int, message_2s: int
) -> None:
    provider.size = size
    for n, word in enumerate(words):
        provider.wrote(ONE, word, at=START + n * MINUTE, wa_id=f"A{n}")
    sent.clock.advance(3600)
    assert await of(sent, provider).step() == CaughtUp(messages=len(words))
    assert await sent.rows("SELECT opted_out FROM contacts") == [(opted_out,)]
    queued = await sent.rows("SELECT count(*) FROM messages WHERE step = 2 AND status = 'queued'")
    assert queued == [(message_2s,)]


# --- pages ---------------------------------------------------------------------------------------------------


async def test_a_list_is_read_to_its_end(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    for n in range(5):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n}")
    sent.clock.advance(3600)
    assert await catch_up.step() == CaughtUp(messages=5)
    assert [page for _, page in provider.pages] == [0, 1, 2, 3]
    assert await mark(sent) == [ms(START + 4 * MINUTE)]


async def test_an_empty_list_sets_no_mark(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    assert await catch_up.step() == NOTHING
    assert provider.pages == [(START - DAY - HOUR, 0)]
    assert await mark(sent) == []


async def test_a_provider_that_ignores_the_page_is_not_asked_for_ever(
    sent: House, provider: Memory, catch_up: CatchUp
) -> None:
    provider.ignores_page = True
    for n in range(5):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n}")
    sent.clock.advance(3600)
    assert await catch_up.step() == CaughtUp(messages=2)
    assert [page for _, page in provider.pages] == [0, 1, 2]


async def test_what_comes_in_meanwhile_shifts_the_pages_and_hides_nothing(
    sent: House, provider: Memory, catch_up: CatchUp
) -> None:
    """The newest first: what is new moves an old one onto the next page, where it is seen again."""
    for n in range(6):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n}")

    def one_more(page: int) -> None:
        if page == 1:
            provider.wrote("+34699999999", at=START + HOUR, wa_id="B1")

    provider.on_page = one_more
    sent.clock.advance(7200)
    assert await catch_up.step() == CaughtUp(messages=6)
    assert await catch_up.step() == CaughtUp(messages=1), "the new one is on the first page of the next list"
    assert await totals(sent) == {"webhooks_received": 0, "webhooks_duplicates": 0, "caught_up": 7}


async def test_a_list_longer_than_a_round_is_read_over_several(
    sent: House, provider: Memory, catch_up: CatchUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up_module, "_MOST_PAGES", 3)
    for n in range(14):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n:02}")
    provider.tell("delivered", await reference_of(sent), at=START)
    sent.clock.advance(3600)
    assert await catch_up.step() == CaughtUp(messages=6, receipts=1, is_unfinished=True)
    assert (catch_up.problem, catch_up.last_at, await mark(sent)) == (None, None, [])
    assert await catch_up.step() == CaughtUp(messages=6, is_unfinished=True)
    assert await catch_up.step() == CaughtUp(messages=2)
    assert [page for _, page in provider.pages] == [0, 1, 2, 0, 3, 4, 5, 0, 6, 7]
    assert await mark(sent) == [ms(START + 13 * MINUTE)]
    assert catch_up.last_at == sent.clock.now()


async def test_the_pages_that_were_read_are_known_after_a_restart(
    sent: House, provider: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up_module, "_MOST_PAGES", 2)
    for n in range(10):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n:02}")
    sent.clock.advance(3600)
    found = [await of(sent, provider).step() for _ in range(3)]
    assert [(each.messages, each.is_unfinished) for each in found] == [(4, True), (4, True), (2, False)]
    assert len({since for since, _ in provider.pages}) == 1


async def test_what_is_lost_while_a_long_list_is_read_is_found_at_once(
    sent: House, provider: Memory, catch_up: CatchUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up_module, "_MOST_PAGES", 2)
    for n in range(10):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n:02}")
    sent.clock.advance(3600)
    await catch_up.step()
    provider.wrote(ONE, "STOP", at=START + HOUR, wa_id="B1")
    await catch_up.step()
    assert await sent.rows("SELECT opted_out FROM contacts WHERE phone = ?", ONE) == [(1,)]
    while (await catch_up.step()).is_unfinished:
        pass
    assert await mark(sent) == [ms(START + 9 * MINUTE)], (
        "what came in behind the pages that had been read is not past"
    )


async def test_a_page_that_cannot_be_had_is_not_waited_for(
    sent: House, provider: Memory, catch_up: CatchUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A provider may refuse the pages beyond some number: then the list is read again from its beginning."""
    monkeypatch.setattr(catch_up_module, "_MOST_PAGES", 3)
    for n in range(20):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n:02}")
    sent.clock.advance(3600)
    provider.broken_pages = {4}
    problem = "inbound messages: HTTP 503"
    assert await catch_up.step() == CaughtUp(messages=6, is_unfinished=True)
    assert await catch_up.step() == CaughtUp(messages=2, problem=problem)
    assert await catch_up.step() == CaughtUp(problem=problem)
    provider.broken_pages, provider.pages = set(), []
    assert (await catch_up.finish()).messages == 12
    assert [page for _, page in provider.pages if page][:3] == [1, 2, 3]
    assert await mark(sent) == [ms(START + 19 * MINUTE)]


async def test_an_outage_takes_nothing_back(
    sent: House, provider: Memory, catch_up: CatchUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up_module, "_MOST_PAGES", 3)
    for n in range(12):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n:02}")
    sent.clock.advance(3600)
    await catch_up.step()
    provider.broken_pages = set(range(10))
    for _ in range(5):
        assert (await catch_up.step()).problem is not None
    provider.broken_pages, provider.pages = set(), []
    assert await catch_up.finish() == CaughtUp(messages=6)
    assert [page for _, page in provider.pages] == [0, 3, 4, 5, 0, 6]


async def test_what_has_become_too_old_since_a_list_began_is_left_out(
    sent: House, provider: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its raw event may be gone: it would be taken in a second time."""
    monkeypatch.setattr(catch_up_module, "_MOST_PAGES", 1)
    for n in range(6):
        provider.wrote("+34699999999", at=START + n * DAY, wa_id=f"A{n}")
    sent.clock.advance(5.5 * 86_400)
    assert (await of(sent, provider).step()).messages == 2
    sent.clock.advance(4 * 86_400)
    assert await of(sent, provider).finish() == CaughtUp(messages=1), "of the third to the sixth day"
    assert await sent.rows("SELECT wa_id FROM interactions ORDER BY wa_id") == [("A3",), ("A4",), ("A5",)]


async def test_a_list_that_began_too_long_ago_is_not_gone_on_with(
    sent: House, provider: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up_module, "_MOST_PAGES", 1)
    for n in range(6):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n}")
    await of(sent, provider).step()
    sent.clock.advance(7 * 86_400)
    provider.pages = []
    await of(sent, provider).step()
    assert provider.pages == [(START, 0)]


async def test_who_asks_while_a_long_list_is_read_gets_a_thorough_one_after_it(
    sent: House, provider: Memory, catch_up: CatchUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phone brings old messages onto pages that have been read."""
    await catch_up.step()
    monkeypatch.setattr(catch_up_module, "_MOST_PAGES", 2)
    for n in range(8):
        provider.wrote("+34699999999", at=START + n * HOUR, wa_id=f"A{n}")
    sent.clock.advance(8 * 3600)
    await catch_up.step()
    provider.wrote("+34699999999", at=START + 5.5 * HOUR, wa_id="B1")
    catch_up.ask()
    assert await catch_up.finish() == CaughtUp(messages=4)
    assert await catch_up.finish() == CaughtUp(messages=1)


@dataclass
class Archive:
    """A provider that shows many messages, one on a page, in the order of a key; a new one comes every 10 pages."""

    order: Callable[[int], int]
    ids: list[int]
    shown: set[int] = field(default_factory=set)
    asked: int = 0

    async def inbound(self, since: datetime, page: int) -> Page | Unknown:
        self.asked += 1
        if self.asked % 10 == 0:
            self.ids.append(len(self.ids))
            self.ids.sort(key=self.order)
        if page >= len(self.ids):
            return Page((), (), None)
        number = self.ids[page]
        self.shown.add(number)
        at = START + number * timedelta(seconds=1)
        return Page([f"A{number}"] if at >= since else [], (), at)

    async def report(self, reference: str) -> Event | Absent | Unknown:
        raise AssertionError(reference)


@pytest.mark.parametrize(
    "order",
    [lambda n: -n, lambda n: n, lambda n: n * 7919 % 503],
    ids=["newest first", "oldest first", "in no order"],
)
def test_a_list_of_any_length_is_finished(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch, order: Callable[[int], int]
) -> None:
    """Seventeen times the pages of a round, while people write."""
    monkeypatch.setattr(catch_up_module, "_MOST_PAGES", 30)

    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 1)
        simulation.clock.step_wall(500)
        began_at = simulation.clock.now()
        archive = Archive(order, sorted(range(500), key=order))
        made = over(simulation.store, archive, simulation.inbox, simulation.clock, simulation.policy)  # type: ignore[arg-type] # another provider
        asked, is_unfinished = [0], True
        while is_unfinished and len(asked) < 25:
            is_unfinished = (await made.step()).is_unfinished
            asked.append(archive.asked)
        assert not is_unfinished
        assert max(after - before for before, after in pairwise(asked)) == 31, "and then receipts are asked for"
        assert set(range(500)) <= archive.shown
        ((marked_at,),) = connection.execute("SELECT at FROM marks WHERE name = 'inbound_listed'").fetchall()
        assert began_at - MINUTE <= START + timedelta(milliseconds=marked_at - ms(START)) <= began_at
        assert connection.execute("SELECT * FROM listings").fetchall() == []

    run_virtually(main())


async def test_no_answer_in_the_middle_keeps_the_mark(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    for n in range(6):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n}")
    sent.clock.advance(3600)
    provider.broken_pages = {1}
    with capture_logs() as logs:
        assert await catch_up.step() == CaughtUp(messages=2, problem="inbound messages: HTTP 503")
    assert [(line["event"], line["messages"], line["problem"]) for line in logs if "messages" in line] == [
        ("catch_up.done", 2, "inbound messages: HTTP 503")
    ]
    assert (catch_up.problem, catch_up.last_at, await mark(sent)) == ("inbound messages: HTTP 503", None, [])
    provider.broken_pages = set()
    sent.clock.advance(300)
    assert await catch_up.step() == CaughtUp(messages=4)
    assert len({since for since, _ in provider.pages}) == 1, "from the same time on"
    assert (catch_up.problem, catch_up.last_at) == (None, sent.clock.now())
    assert await mark(sent) == [ms(START + 5 * MINUTE)]


# --- the mark ------------------------------------------------------------------------------------------------


async def test_before_the_first_launch_nothing_is_asked(home: House, provider: Memory, catch_up: CatchUp) -> None:
    await home.campaign(ONE, launch=False)
    assert await catch_up.step() == NOTHING
    assert (provider.pages, provider.questions) == ([], [])
    assert catch_up.last_at == START
    home.clock.advance(86_400)
    await home.campaigns.launch("spring")
    await catch_up.step()
    assert provider.pages == [(START - HOUR, 0)]


async def test_the_next_list_begins_an_hour_before_the_newest(
    sent: House, provider: Memory, catch_up: CatchUp
) -> None:
    provider.wrote("+34699999999", at=START + 5 * HOUR, wa_id="A1")
    sent.clock.advance(6 * 3600)
    await catch_up.step()
    await catch_up.step()
    assert [since for since, page in provider.pages if page == 0] == [START - DAY - HOUR, START + 4 * HOUR]
    # A message that took its time to get into the list.
    provider.wrote(ONE, at=START + 4 * HOUR + MINUTE, wa_id="A0")
    assert await catch_up.step() == CaughtUp(messages=1)
    assert await mark(sent) == [ms(START + 5 * HOUR)], "and it does not go back"


async def test_the_mark_outlives_the_process(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    provider.wrote(ONE, at=START + 5 * HOUR, wa_id="A1")
    sent.clock.advance(6 * 3600)
    await catch_up.step()
    again = of(sent, provider)
    assert await again.step() == NOTHING
    assert provider.pages[-1][0] == START + 5 * HOUR - 26 * HOUR, "thoroughly after a start"
    assert await again.step() == NOTHING
    assert provider.pages[-1][0] == START + 4 * HOUR


async def test_what_a_phone_brings_after_a_long_time_offline_is_found(
    sent: House, provider: Memory, catch_up: CatchUp
) -> None:
    """Written five hours ago, and in the list only now, far behind the newest message."""
    provider.wrote("+34699999999", at=START + 10 * HOUR, wa_id="A2")
    sent.clock.advance(10 * 3600)
    await catch_up.step()
    provider.wrote(ONE, at=START + 5 * HOUR, wa_id="A1")
    sent.clock.advance(300)
    assert await catch_up.step() == NOTHING, "an hour back is far enough at every interval"
    catch_up.ask()  # as the watch does when the device is back
    assert await catch_up.step() == CaughtUp(messages=1)
    assert await catch_up.step() == NOTHING
    provider.wrote(ONE, "and", at=START + 4 * HOUR, wa_id="A0")
    sent.clock.advance(6 * 3600)
    assert await catch_up.step() == CaughtUp(messages=1), "every six hours too"


async def test_a_thorough_round_that_came_to_nothing_is_made_up_for(
    sent: House, provider: Memory, catch_up: CatchUp
) -> None:
    provider.wrote("+34699999999", at=START + 10 * HOUR, wa_id="A1")
    sent.clock.advance(10 * 3600)
    await catch_up.step()
    provider.broken_pages = {0}
    catch_up.ask()
    await catch_up.step()
    provider.broken_pages = set()
    await catch_up.step()
    assert provider.pages[-1][0] == START - 16 * HOUR


async def test_a_burst_between_two_pages_hides_nothing(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    """So many come in meanwhile that the second page is the first one again."""
    for n in range(4):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n}")

    def burst(page: int) -> None:
        if page == 1:
            for n in range(provider.size):
                provider.wrote("+34699999999", at=START + HOUR + n * MINUTE, wa_id=f"B{n}")

    provider.on_page = burst
    sent.clock.advance(2 * 3600)
    assert await catch_up.step() == CaughtUp(messages=4)
    assert await catch_up.step() == CaughtUp(messages=provider.size)


async def test_the_providers_time_moves_the_mark_and_ours_does_not(
    sent: House, provider: Memory, catch_up: CatchUp
) -> None:
    """Our clock is ten hours ahead: what is written after the list lies behind our own time, and is found."""
    provider.wrote("+34699999999", at=START + MINUTE, wa_id="A1")
    sent.clock.step_wall(10 * 3600)
    await catch_up.step()
    assert await mark(sent) == [ms(START + MINUTE)]
    provider.wrote(ONE, at=START + 2 * MINUTE, wa_id="A2")
    assert await catch_up.step() == CaughtUp(messages=1)


async def test_the_mark_never_lies_in_our_future(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    provider.wrote("+34699999999", at=START + 300 * DAY, wa_id="A1")  # a phone with a clock of its own
    sent.clock.advance(600)
    await catch_up.step()
    assert await mark(sent) == [ms(START + 10 * MINUTE)]
    provider.wrote(ONE, at=START + 20 * MINUTE, wa_id="A2")
    sent.clock.advance(3600)
    assert await catch_up.step() == CaughtUp(messages=1)


async def test_a_clock_that_is_ahead_when_the_first_campaign_is_launched_skips_nothing(
    home: House, provider: Memory, catch_up: CatchUp
) -> None:
    """By the provider's clock they replied before the launch: our clock is three hours ahead."""
    home.clock.step_wall(3 * 3600)
    await home.campaign(ONE)
    claim = await home.send_one()
    await home.receive(receipt("sent", at=START, reference=claim.reference))
    provider.wrote(ONE, at=START + MINUTE, wa_id="A1")
    home.clock.advance(300)
    assert await catch_up.step() == CaughtUp(messages=1)
    assert await home.outcomes() == ["message_2_queued"]


async def test_times_of_the_year_one_stop_nothing(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    """Some programs write it where they know no time. It is ignored, and the time of arrival is taken."""
    body = inbound(ONE, at=START, wa_id="A1", timestamp=None, date="0001-01-01T00:00:00Z")
    untimed = event({"object": "message", "event": "message:in:new", "data": body["data"]})
    assert isinstance(untimed.content, InboundMessage)
    assert untimed.content.written_at is None

    async def only_that(_since: datetime, page: int) -> Page:
        return Page(["A1"], [untimed], None) if page == 0 else Page((), [], None)

    provider.inbound = only_that  # type: ignore[method-assign, assignment]
    sent.clock.advance(300)
    assert (await catch_up.step()).messages == 1
    arrived_ms = ms(sent.clock.now())
    assert await sent.rows("SELECT reply_at, received_at, outcome FROM interactions") == [
        (arrived_ms, arrived_ms, "message_2_queued")
    ]
    sent.clock.advance(300)
    assert await catch_up.step() == NOTHING
    assert await mark(sent) == [], "a list without a time says nothing of how far it reaches"


# --- receipts ------------------------------------------------------------------------------------------------


async def reference_of(home: House, message_id: int = 1) -> str:
    return str((await home.rows("SELECT reference FROM messages WHERE id = ?", message_id))[0][0])


async def asked_minutes(home: House, provider: Memory, catch_up: CatchUp, hours: int) -> list[int]:
    """Look every minute for so many hours; the minutes at which the provider was asked."""
    found = []
    for minute in range(hours * 60 + 1):
        before = len(provider.questions)
        assert (await catch_up.step()).problem is None
        found += [minute] * (len(provider.questions) - before)
        home.clock.advance(60)
    return found


async def test_a_silent_message_is_asked_about_ever_later_and_not_once_its_window_is_over(
    sent: House, provider: Memory, catch_up: CatchUp
) -> None:
    provider.tell("sent", await reference_of(sent), at=START)
    assert await asked_minutes(sent, provider, catch_up, 48) == [10, 20, 40, 80, 160, 320, 640, 1280]
    assert set(provider.questions) == {await reference_of(sent)}
    assert await sent.rows("SELECT status, look_ups, look_up_at FROM messages") == [("sent", 8, None)]


async def test_of_one_that_the_provider_no_longer_knows_the_log_tells(
    sent: House, provider: Memory, catch_up: CatchUp
) -> None:
    with capture_logs() as logs:
        assert await asked_minutes(sent, provider, catch_up, 25) == [10, 20, 40, 80, 160, 320, 640, 1280]
    assert {(line["event"], line["message_id"]) for line in logs} == {("message.missing", 1)}
    assert await sent.statuses() == [(ONE, 1, "sent")], "it was accepted, and is never sent again"


@pytest.mark.parametrize("status", ["delivered", "read", "failed"])
async def test_a_lost_receipt_is_found(sent: House, provider: Memory, catch_up: CatchUp, status: str) -> None:
    reference = await reference_of(sent)
    provider.tell(status, reference, at=START + MINUTE, reason="not on WhatsApp")
    sent.clock.advance(599)
    assert await catch_up.step() == NOTHING
    assert provider.questions == []
    sent.clock.advance(1)
    assert await catch_up.step() == CaughtUp(receipts=1)
    assert await sent.statuses() == [(ONE, 1, status)]
    assert await asked_minutes(sent, provider, catch_up, 30) == []
    assert await totals(sent) == {"webhooks_received": 0, "webhooks_duplicates": 0, "caught_up": 1}
    assert await sent.rows("SELECT DISTINCT source FROM events") == [("catch_up",)]


async def test_a_receipt_of_a_message_2_is_found_too(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    await sent.receive(inbound(ONE, at=START, wa_id="A1"))
    await sent.receive(ack("read", at=START, wa_id=f"3EB0{1:016X}", number=ONE))
    sent.clock.advance(3)
    await sent.send_one()
    provider.tell("delivered", await reference_of(sent, 2), at=START)
    sent.clock.advance(600)
    assert await catch_up.step() == CaughtUp(receipts=1)
    assert provider.questions == [await reference_of(sent, 2)]
    assert (await sent.statuses())[1] == (ONE, 2, "delivered")


@pytest.mark.parametrize("status", ["delivered", "read"])
async def test_whatever_was_heard_of_is_not_asked_about(
    sent: House, provider: Memory, catch_up: CatchUp, status: str
) -> None:
    await sent.receive(ack(status, at=START, wa_id=f"3EB0{1:016X}", number=ONE))
    sent.clock.advance(3600)
    await catch_up.step()
    assert provider.questions == []


async def test_a_webhook_that_says_sent_begins_the_ten_minutes_anew(
    sent: House, provider: Memory, catch_up: CatchUp
) -> None:
    sent.clock.advance(500)
    await sent.receive(receipt("sent", at=START, reference=await reference_of(sent)))
    sent.clock.advance(599)
    await catch_up.step()
    assert provider.questions == []
    sent.clock.advance(1)
    provider.tell("sent", await reference_of(sent), at=START)
    assert await catch_up.step() == NOTHING, "it is known already that it was sent"
    assert len(provider.questions) == 1


async def test_no_answer_about_a_message_is_no_answer(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    reference = await reference_of(sent)
    provider.reports[reference] = Unknown("HTTP 503")
    sent.clock.advance(600)
    assert await catch_up.step() == CaughtUp(problem="receipts: HTTP 503")
    assert (catch_up.problem, catch_up.last_at) == ("receipts: HTTP 503", None)
    assert await sent.rows("SELECT status, look_ups FROM messages") == [("sent", 0)]
    provider.tell("delivered", reference, at=START)
    assert await catch_up.step() == NOTHING
    sent.clock.advance(600)
    assert await catch_up.step() == CaughtUp(receipts=1), "asked again after the same time as before"
    assert catch_up.problem is None


async def test_a_message_of_which_the_provider_never_tells_does_not_hold_up_the_others(
    home: House, provider: Memory, catch_up: CatchUp
) -> None:
    await home.campaign(ONE, TWO, THREE)
    for _ in range(3):
        await home.send_one()
        home.clock.advance(1)
    provider.reports[await reference_of(home, 1)] = Unknown("the answer has messages with other references")
    for message_id in (2, 3):
        provider.tell("delivered", await reference_of(home, message_id), at=START)
    for _ in range(12):
        home.clock.advance(300)
        await catch_up.step()
    assert [status for *_, status in await home.statuses()] == ["sent", "delivered", "delivered"]


async def test_a_provider_that_answers_nothing_is_not_asked_about_every_message(
    home: House, provider: Memory, catch_up: CatchUp
) -> None:
    phones = [f"+3460000{n:04}" for n in range(8)]
    await home.campaign(*phones)
    for n in range(8):
        claim = await home.send_one()
        provider.reports[claim.reference] = Absent() if n == 2 else Unknown("HTTP 503")
    home.clock.advance(600)
    assert await catch_up.step() == CaughtUp(problem="receipts: HTTP 503")
    assert len(provider.questions) == 6, "three in a row"


async def test_receipts_are_asked_for_even_where_no_list_can_be_had(
    sent: House, provider: Memory, catch_up: CatchUp
) -> None:
    provider.broken_pages = {0}
    provider.tell("delivered", await reference_of(sent), at=START)
    sent.clock.advance(600)
    assert await catch_up.step() == CaughtUp(receipts=1, problem="inbound messages: HTTP 503")
    assert await sent.statuses() == [(ONE, 1, "delivered")]


async def test_so_many_questions_in_one_round_and_the_longest_silence_first(
    home: House, provider: Memory, catch_up: CatchUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up_module, "_MOST_QUESTIONS", 2)
    await home.campaign(ONE, TWO, THREE)
    for _ in range(3):
        await home.send_one()
        home.clock.advance(1)
    home.clock.advance(600)
    await catch_up.step()
    assert provider.questions == [await reference_of(home, 1), await reference_of(home, 2)]
    await catch_up.step()
    assert provider.questions[2:] == [await reference_of(home, 3)]
    await catch_up.step()
    assert len(provider.questions) == 3


async def test_doubts_are_left_to_those_who_settle_them(home: House, provider: Memory, catch_up: CatchUp) -> None:
    await home.campaign(ONE, TWO)
    await home.send_one(Uncertain("no answer in time"))
    home.clock.advance(3600)
    await catch_up.step()
    assert provider.questions == []


async def test_a_receipt_that_comes_while_we_ask_stands(sent: House, provider: Memory, catch_up: CatchUp) -> None:
    """The answer is older than the webhook that overtook it."""
    reference = await reference_of(sent)
    provider.tell("sent", reference, at=START)
    report = provider.report

    async def overtaken(asked: str) -> Event | Absent | Unknown:
        await sent.receive(ack("read", at=START, wa_id=f"3EB0{1:016X}", number=ONE))
        return await report(asked)

    provider.report = overtaken  # type: ignore[method-assign, assignment]
    sent.clock.advance(600)
    await catch_up.step()
    assert await sent.rows("SELECT status, look_up_at FROM messages") == [("read", None)]


# --- what a webhook should have brought ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written_seconds", "is_lost"),
    [(-1, False), (0, True), (480, True), (481, False)],
    ids=["before the start", "at the start", "two minutes ago", "just now"],
)
async def test_a_message_that_a_webhook_should_have_brought(
    sent: House, provider: Memory, *, written_seconds: int, is_lost: bool
) -> None:
    arrivals = Arrivals(sent.clock)
    catch_up = over(sent.store, provider, sent.inbox, sent.clock, sent.policy, arrivals=arrivals)
    provider.wrote(ONE, at=sent.clock.now().replace(microsecond=0) + timedelta(seconds=written_seconds), wa_id="A1")
    sent.clock.advance(600)
    assert (await catch_up.step()).messages == 1
    assert (arrivals.lost is not None) == is_lost


async def test_what_webhooks_brought_is_not_lost(sent: House, provider: Memory) -> None:
    arrivals = Arrivals(sent.clock)
    await sent.receive(provider.wrote(ONE, at=sent.clock.now(), wa_id="A1"))
    sent.clock.advance(600)
    await over(sent.store, provider, sent.inbox, sent.clock, sent.policy, arrivals=arrivals).step()
    assert arrivals.lost is None


@pytest.mark.parametrize("is_told", [True, False])
async def test_a_receipt_of_a_message_of_which_no_webhook_told(
    home: House, provider: Memory, *, is_told: bool
) -> None:
    """Some plans have no webhooks for receipts, and all have one for what is sent."""
    arrivals = Arrivals(home.clock)
    await home.campaign(ONE)
    await home.send_one()
    if is_told:
        arrivals.accept()
    provider.tell("delivered", await reference_of(home), at=home.clock.now())
    home.clock.advance(3600)
    catch_up = over(home.store, provider, home.inbox, home.clock, home.policy, arrivals=arrivals)
    assert (await catch_up.step()).receipts == 1
    assert (arrivals.lost is not None) == (not is_told)


async def test_what_is_asked_for_because_webhooks_failed_is_expected(sent: House, provider: Memory) -> None:
    arrivals = Arrivals(sent.clock)
    catch_up = over(sent.store, provider, sent.inbox, sent.clock, sent.policy, arrivals=arrivals)
    provider.wrote(ONE, at=sent.clock.now(), wa_id="A1")
    sent.clock.advance(600)
    catch_up.ask()
    assert (await catch_up.step()).messages == 1
    assert arrivals.lost is None


# --- the disk ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("refused_from", range(7))
async def test_a_refusing_disk_ends_the_round_and_loses_nothing(
    sent: House, provider: Memory, catch_up: CatchUp, monkeypatch: pytest.MonkeyPatch, refused_from: int
) -> None:
    for n in range(3):
        provider.wrote("+34699999999", at=START + n * MINUTE, wa_id=f"A{n}")
    provider.tell("delivered", await reference_of(sent), at=START)
    sent.clock.advance(3600)
    write, count = sent.store.write, 0

    async def refuse(work: Callable[[Any], Any]) -> Any:
        nonlocal count
        count += 1
        if count > refused_from:
            raise StoreUnavailableError("the database cannot be written: disk full")
        return await write(work)

    with monkeypatch.context() as full:
        full.setattr(sent.store, "write", refuse)
        assert (await catch_up.step()).problem == "the database cannot be written: disk full"
    assert catch_up.last_at is None
    assert await mark(sent) == []
    await catch_up.step()
    assert await totals(sent) == {"webhooks_received": 0, "webhooks_duplicates": 0, "caught_up": 4}
    assert await mark(sent) == [ms(START + 2 * MINUTE)]
    assert await sent.statuses() == [(ONE, 1, "delivered")]
    assert catch_up.problem is None


async def test_a_writer_that_has_stopped_ends_it(
    sent: House, catch_up: CatchUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stopped(_: object) -> None:
        raise WriterStoppedError("the writer has stopped")

    monkeypatch.setattr(sent.store, "write", stopped)
    with pytest.raises(WriterStoppedError):
        await catch_up.step()


# --- when ----------------------------------------------------------------------------------------------------


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = memory()
    yield made
    made.close()


def rounds(
    connection: sqlite3.Connection,
    provider: Memory,
    seconds: float,
    *,
    ask_at: float = 0,
    interval: float = 300,
    gap: float = 0,
) -> list[float]:
    """When lists were begun in so many seconds, counted from the start."""

    async def main() -> list[float]:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 1)
        loop = asyncio.get_running_loop()
        store, inbox, clock = simulation.store, simulation.inbox, simulation.clock
        made = over(store, provider, inbox, clock, simulation.policy, interval=interval, gap=gap)
        began = loop.time()
        if ask_at:
            loop.call_later(ask_at, made.ask)
        running = loop.create_task(made.run())
        await asyncio.sleep(seconds)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        starts = [at for at, (_, page) in zip(provider.asked_at, provider.pages, strict=True) if page == 0]
        return [round(at - began, 3) for at in starts]

    return run_virtually(main())


def test_at_the_start_and_at_intervals(connection: sqlite3.Connection, provider: Memory) -> None:
    assert rounds(connection, provider, 1000) == [0, 300, 600, 900]


def test_somebody_wants_it(connection: sqlite3.Connection, provider: Memory) -> None:
    assert rounds(connection, provider, 500, ask_at=100) == [0, 100, 400]


@pytest.mark.parametrize("interval", [300.0, 0.0])
def test_a_long_list_is_gone_on_with_at_once(
    connection: sqlite3.Connection, provider: Memory, monkeypatch: pytest.MonkeyPatch, interval: float
) -> None:
    monkeypatch.setattr(catch_up_module, "_MOST_PAGES", 2)
    for n in range(9):
        provider.wrote("+34699999999", at=START - n * timedelta(seconds=1), wa_id=f"A{n}")
    assert rounds(connection, provider, 250, interval=interval, gap=1) == [0, 2, 5]


def test_without_an_interval_only_at_the_start_and_on_request(
    connection: sqlite3.Connection, provider: Memory
) -> None:
    assert rounds(connection, provider, 1_000_000, interval=0, ask_at=5000) == [0, 5000]


def test_the_next_round_comes_after_a_problem_too(connection: sqlite3.Connection, provider: Memory) -> None:
    provider.broken_pages = {0}
    assert rounds(connection, provider, 1000) == [0, 300, 600, 900]


def test_between_two_questions_the_provider_has_peace(connection: sqlite3.Connection, provider: Memory) -> None:
    for n in range(9):
        provider.wrote("+34699999999", at=START - n * timedelta(seconds=1), wa_id=f"A{n}")
    rounds(connection, provider, 250, gap=1)
    assert [b - a for a, b in pairwise(provider.asked_at)] == [pytest.approx(1)] * 5


def test_between_two_questions_about_messages_too(connection: sqlite3.Connection, provider: Memory) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 5)
        sending = asyncio.get_running_loop().create_task(simulation.sender.run())
        await asyncio.sleep(700)
        made = over(simulation.store, provider, simulation.inbox, simulation.clock, simulation.policy, gap=1)
        await made.step()
        simulation.sender.stop()
        await sending

    run_virtually(main())
    assert len(provider.questions) == 5
    times = provider.asked_at[1:]
    assert [b - a for a, b in pairwise(times)] == [pytest.approx(1)] * 4


# --- whatever is lost ----------------------------------------------------------------------------------------

chances = st.lists(
    st.tuples(
        st.integers(0, 5 * 3600),  # seconds until it is written
        st.sampled_from([ONE, TWO, "+34699999999"]),
        st.sampled_from(["yes", "yes", "STOP", "START", "what?"]),
        st.sampled_from(["webhook", "lost", "late"]),
        st.booleans(),  # whether somebody asks then
    ),
    max_size=14,
)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(chances, st.integers(1, 4), st.integers(-86_400, 86_400), st.sampled_from([1, 2, 1000]))
def test_in_the_end_everything_is_known_exactly_once(
    lives: list[tuple[int, str, str, str, bool]], size: int, our_clock_is_ahead: int, most_pages: int
) -> None:
    """Webhooks come, come late, or never, and somebody asks now and then: each message is one interaction."""

    async def main() -> None:
        connection = memory()
        simulation = Simulation(connection)
        await simulation.campaign("spring", 3)
        provider = Memory(size)
        made = over(simulation.store, provider, simulation.inbox, simulation.clock, simulation.policy)
        truth, late = simulation.clock.now(), list[Body]()
        simulation.clock.step_wall(our_clock_is_ahead)
        for n, (seconds, number, words, way, asks) in enumerate(lives):
            await asyncio.sleep(seconds)
            truth += timedelta(seconds=seconds)
            body = provider.wrote(number, words, at=truth, wa_id=f"A{n:02}")
            if way == "webhook":
                await simulation.receive(body)
            elif way == "late":
                late.append(body)
            if asks:
                assert (await made.step()).problem is None
        for body in late[::2]:
            await simulation.receive(body)
        for _ in range(2):  # what came in while a long list was read is on the next
            assert (await made.finish()).problem is None
        for body in late:
            assert await simulation.receive(body) == "duplicate"
        known = [wa_id for (wa_id,) in simulation.rows("SELECT wa_id FROM interactions ORDER BY wa_id")]
        assert known == [f"A{n:02}" for n in range(len(lives))]
        connection.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catch_up_module, "_MOST_PAGES", most_pages)
        run_virtually(main())
