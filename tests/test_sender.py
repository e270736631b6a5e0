"""The loop that sends: its pace, its order, and what it does with each outcome."""

import asyncio
import math
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support import House, Simulation, house, inbound, memory, receipt, run_virtually
from wamsg2.model import Accepted, Claim, Deferred, Held, Outcome, Policy, Rejected, Step, Uncertain
from wamsg2.pacing import FailureRun, TokenBucket
from wamsg2.sender import LEAD_SECONDS
from wamsg2.store import verify
from wamsg2.store.database import Store
from wamsg2.store.writer import StoreUnavailableError, Work
from wamsg2.work import receiving, settling

ONE, TWO = "+34600000001", "+34600000002"
#: Of binary fractions of a second, added up over hours.
ROUNDING = 1e-6


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = memory()
    yield made
    made.close()


async def step(home: House) -> float:
    """One step, and what it started is settled."""
    seconds = await home.sender.step()
    await home.sender.settle_all()
    return seconds


async def run_for(simulation: Simulation, seconds: float) -> None:
    """Let the sender run so long, then stop it as the daemon does."""
    sending = asyncio.get_running_loop().create_task(simulation.sender.run())
    await asyncio.sleep(seconds)
    simulation.sender.stop()
    await sending


# --- one step at a time --------------------------------------------------------------------------------------


async def test_the_bucket_starts_empty(home: House) -> None:
    await home.campaign(ONE)
    assert await step(home) == pytest.approx(1.0 - LEAD_SECONDS)
    assert home.client.sent == []
    home.clock.advance(1)
    assert await step(home) == 0
    assert [claim.phone for claim in home.client.sent] == [ONE]
    assert await home.statuses() == [(ONE, 1, "sent")]


async def test_an_empty_queue_waits_to_be_woken(home: House) -> None:
    home.clock.advance(1)
    assert await step(home) == math.inf


async def test_the_row_says_sending_before_the_request_leaves(home: House) -> None:
    await home.campaign(ONE)
    seen: list[tuple[str, int, str]] = []

    async def look(_: object) -> None:
        seen.extend(await home.rows("SELECT status, attempt, reference FROM messages"))

    home.client.on_send = look
    home.clock.advance(1)
    await step(home)
    assert seen == [("sending", 1, home.client.sent[0].reference)]


async def test_the_next_step_waits_for_the_limit(home: House) -> None:
    await home.campaign(ONE, TWO)
    home.clock.advance(1)
    await step(home)
    assert await step(home) == pytest.approx(1 - LEAD_SECONDS)
    assert len(home.client.sent) == 1


def stall(home: House, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Whenever the sender has taken a token, the process stands still before it goes on."""
    bucket = home.sender._bucket

    def take(now_seconds: float) -> None:
        TokenBucket.take(bucket, now_seconds)
        home.clock.advance(seconds)

    monkeypatch.setattr(bucket, "take", take)


async def test_a_request_that_starts_late_keeps_the_next_one_away(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit counts from the request, not from the token."""
    await home.campaign(ONE, TWO)
    stall(home, monkeypatch, 0.5)
    home.clock.advance(1)
    await step(home)
    home.clock.advance(0.9)
    assert await step(home) == pytest.approx(0.1 - LEAD_SECONDS)
    assert len(home.client.sent) == 1


async def test_requests_of_one_step_keep_their_distance_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path, rate_limit_seconds=0.01) as home:
        await home.campaign(ONE, TWO, "+34600000003")
        stall(home, monkeypatch, 0.02)

        async def sleep(seconds: float) -> None:
            home.clock.advance(seconds)
            await yield_once(0)

        yield_once = asyncio.sleep
        monkeypatch.setattr(asyncio, "sleep", sleep)
        home.clock.advance(1)
        await step(home)
        assert len(home.client.sent) == 3
        assert await home.rows("SELECT min(gap_ms) FROM messages WHERE id > 1") == [(30,)]


async def test_the_next_step_waits_for_what_falls_due(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A1"))
    assert await step(home) == pytest.approx(2 - LEAD_SECONDS)
    home.clock.advance(2)
    assert await step(home) == 0
    assert home.client.sent[0].step is Step.MESSAGE_2


@pytest.mark.parametrize(
    ("outcome", "status", "held", "wait_seconds"),
    [
        pytest.param(Accepted("a" * 24), "sent", None, None, id="accepted"),
        pytest.param(Rejected("HTTP 400"), "failed", None, None, id="rejected"),
        pytest.param(Uncertain("no answer in time"), "uncertain", None, None, id="uncertain"),
        pytest.param(Deferred("HTTP 429", timedelta(seconds=60)), "queued", "HTTP 429", (60, 60), id="rate limited"),
        pytest.param(Deferred("refused"), "queued", "refused", (1.0, 1.2), id="cannot connect: short back-off"),
        pytest.param(Held("HTTP 402"), "queued", "HTTP 402", (60, 72), id="held"),
    ],
)
async def test_outcomes(
    home: House, outcome: Outcome, status: str, held: str | None, wait_seconds: tuple[float, float] | None
) -> None:
    await home.campaign(ONE, TWO)
    home.client.outcomes = [outcome]
    home.clock.advance(1)
    await step(home)
    assert await home.statuses() == [(ONE, 1, status), (TWO, 1, "queued")]
    assert home.sender.held == held
    home.clock.advance(1)
    if wait_seconds is None:
        await step(home)
        assert len(home.client.sent) == 2
        return
    low, high = wait_seconds
    assert low - 1 <= await step(home) <= high - 1 + ROUNDING
    assert len(home.client.sent) == 1
    home.clock.advance(high)
    await step(home)
    await step(home)
    assert len(home.client.sent) >= 2
    assert home.sender.held is None


async def test_back_off_grows_and_ends_with_the_first_success(home: House) -> None:
    await home.campaign(ONE)
    home.client.outcomes = [Deferred("refused")] * 8
    waits = []
    for _ in range(8):
        home.clock.advance(120)
        await step(home)
        waits.append(await step(home))
    assert all(1.6 <= b / a <= 2.4 for a, b in pairwise(waits[:5]))
    assert max(waits) <= 60
    home.clock.advance(120)
    await step(home)
    assert home.sender.held is None
    assert (await home.statuses())[0][2] == "sent"


async def test_while_it_fails_only_one_request_tries(tmp_path: Path) -> None:
    async with house(tmp_path, rate_limit_seconds=0) as home:
        await home.campaign(*(f"+346{n:08d}" for n in range(30)))
        home.client.outcomes = [Held("HTTP 401")] * 16
        await step(home)
        tried = len(home.client.sent)
        assert tried == 16
        home.client.outcomes = [Held("HTTP 401")]
        home.clock.advance(10_000)
        await step(home)
        assert len(home.client.sent) == tried + 1


def test_without_a_limit_claims_wait_for_company_and_for_nobody_who_hangs() -> None:
    """Of sixteen requests nine are never answered: the others go on, and share the commits of their claims."""

    async def scenario() -> None:
        connection = memory()
        simulation = Simulation(connection, rate_limit_seconds=0, most_in_flight=16)
        answer_after = (math.inf,) * 9 + (0.0101, 0.0103, 0.0105, 0.0107, 0.0109, 0.0111, 0.0113)
        simulation.answer_seconds = lambda claim: (*answer_after, *[0.01] * 91)[claim.message_id - 1]
        await simulation.campaign("c", 100)
        running = asyncio.get_running_loop().create_task(simulation.sender.run())
        await asyncio.sleep(1)
        assert len(simulation.requests) == 100
        begun = [at for at, _ in simulation.requests[16:]]
        assert len(set(begun)) <= 91 / 3  # claimed together, they begin together
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        connection.close()

    run_virtually(scenario())


async def test_a_client_that_breaks_leaves_a_doubt(home: House) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("a bug")

    await home.campaign(ONE)
    home.client.on_send = broken
    home.clock.advance(1)
    await step(home)
    ((status, reason),) = await home.rows("SELECT status, reason FROM messages")
    assert (status, reason) == ("uncertain", "internal error (RuntimeError)")


async def test_a_stop_between_claim_and_request_withdraws_it(home: House) -> None:
    await home.campaign(ONE)
    home.clock.advance(1 - LEAD_SECONDS / 2)
    stepping = asyncio.get_running_loop().create_task(step(home))
    while await home.statuses() != [(ONE, 1, "sending")]:
        pass
    await home.receive(inbound(ONE, "STOP", at=home.clock.now(), wa_id="A1"))
    home.clock.advance(1)
    await stepping
    assert home.client.sent == []
    assert await home.rows("SELECT status, reason FROM messages") == [("cancelled", "contact opted out")]


class Disk:
    """A commit hook for the commits of webhooks: it keeps them waiting, or refuses them."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()
        self.refuses = False

    def __call__(self, when: str, works: Sequence[Work[Any]]) -> None:
        if when == "before" and any(getattr(work, "func", None) is receiving.receive_row for work in works):
            self.entered.set()
            self.opened.wait()
            if self.refuses:
                raise sqlite3.OperationalError("disk I/O error")


async def test_a_stop_in_the_commit_of_the_claim_withdraws_it(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "test.db", grouped=True) as store:
        home = House(store, policy=Policy(), rate_limit_seconds=1.0)
        await home.campaign(ONE)
        home.clock.advance(1)
        stop = inbound(ONE, "STOP", at=home.clock.now(), wa_id="A1")
        await asyncio.gather(home.sender.step(), home.receive(stop))
        await home.sender.settle_all()
        assert home.client.sent == []
        assert await home.rows("SELECT status, reason FROM messages") == [("cancelled", "contact opted out")]


@pytest.mark.parametrize("refuses", [False, True])
async def test_no_request_starts_while_a_stop_is_committed(tmp_path: Path, *, refuses: bool) -> None:
    """On a slow disk; where it refuses the word, nothing is lost either."""
    disk = Disk()
    disk.refuses = refuses
    async with await Store.open(tmp_path / "test.db", grouped=True, hook=disk) as store:
        home = House(store, policy=Policy(), rate_limit_seconds=1.0)
        await home.campaign(ONE)
        home.clock.advance(0.96)
        claiming = asyncio.create_task(home.sender.step())  # claims, and waits for its turn
        await until_claimed(home)
        stop = asyncio.create_task(home.receive(inbound(ONE, "STOP", at=home.clock.now(), wa_id="A1")))
        await asyncio.to_thread(disk.entered.wait)
        home.clock.advance(0.04)
        await claiming
        await asyncio.sleep(0)
        sent = list(home.client.sent)
        disk.opened.set()
        assert sent == []
        await asyncio.gather(stop, return_exceptions=True)
        await home.sender.settle_all()
        assert home.client.sent == []
        assert await home.statuses() == [(ONE, 1, "queued" if refuses else "cancelled")]
        home.clock.advance(120)
        await step(home)
        assert len(home.client.sent) == refuses


async def until_claimed(home: House) -> None:
    while await home.rows("SELECT status FROM messages") != [("sending",)]:  # noqa: ASYNC110 - the store has no bell
        await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_a_message_that_cannot_be_rendered_blocks_nobody(home: House) -> None:
    await home.campaign(ONE, TWO, message_1="Hello {{name}}")
    await home.store.write(
        lambda tx: tx.execute("""UPDATE recipients SET variables = '{"name":"Bo"}' WHERE contact_id = 2""")
    )
    home.clock.advance(1)
    await step(home)
    assert await home.statuses() == [(ONE, 1, "failed"), (TWO, 1, "sent")]
    assert home.client.sent[0].text == "Hello Bo"


async def test_a_refused_claim_is_tried_again(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await home.campaign(ONE)
    home.clock.advance(1)

    async def refuse(_: object) -> None:
        raise StoreUnavailableError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(home.store, "write", refuse)
        assert await step(home) == 1.0
        assert home.sender.held == "disk full"
    home.clock.advance(1)
    await step(home)
    assert await home.statuses() == [(ONE, 1, "sent")]
    assert home.sender.held is None


async def test_an_endless_pause_ends_when_woken(home: House) -> None:
    running = asyncio.get_running_loop().create_task(home.sender.run())
    await asyncio.sleep(0)
    home.sender.stop()
    await running


# --- hours of virtual time -----------------------------------------------------------------------------------


def test_an_outcome_is_kept_while_the_disk_refuses(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 1)
        write, refusals = simulation.store.write, [0]

        async def write_or_refuse(work: Work[Any]) -> object:
            if simulation.requests and refusals[0] < 5:
                refusals[0] += 1
                raise StoreUnavailableError("disk full")
            return await write(work)

        simulation.store.write = write_or_refuse  # type: ignore[method-assign, assignment]
        await run_for(simulation, 30)
        assert refusals == [5]
        assert len(simulation.requests) == 1

    run_virtually(main())
    assert connection.execute("SELECT status, attempt FROM messages").fetchall() == [("sent", 1)]


def test_the_pace_is_kept_exactly(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        started = simulation.clock.monotonic()
        await simulation.campaign("spring", 300)
        await run_for(simulation, 400)
        assert len(simulation.requests) == 300
        assert simulation.requests[0][0] == pytest.approx(started + 1)
        assert min(simulation.gaps) >= 1 - ROUNDING
        assert max(simulation.gaps) <= 1 + 0.002

    run_virtually(main())


@pytest.mark.parametrize("limit_seconds", [0.1, 0.02, 2.5])
def test_other_limits(connection: sqlite3.Connection, limit_seconds: float) -> None:
    async def main() -> None:
        simulation = Simulation(connection, rate_limit_seconds=limit_seconds)
        await simulation.campaign("spring", 200)
        await run_for(simulation, 200 * limit_seconds + 1)
        assert min(simulation.gaps) >= limit_seconds - ROUNDING
        assert len(simulation.requests) >= 0.95 * 200

    run_virtually(main())


def test_steps_of_the_time_of_day_change_no_gap(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 120)
        sending = asyncio.get_running_loop().create_task(simulation.sender.run())
        for seconds in (3600, -1800, 86_400, -7200, 0.4, -0.4):
            await asyncio.sleep(15.3)
            simulation.clock.step_wall(seconds)
        await asyncio.sleep(60)
        simulation.sender.stop()
        await sending
        assert min(simulation.gaps) >= 1 - ROUNDING
        assert len(simulation.requests) == 120

    run_virtually(main())


def test_a_restart_does_not_shorten_the_gap(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        first = Simulation(connection)
        await first.campaign("spring", 100)
        requests = []
        for lifetime in (5.0, 0.5, 0.99, 1.0, 1.01, 7.3, 0.0, 3.97):
            life = Simulation(connection, clock=first.clock)
            await run_for(life, lifetime)
            requests += life.requests
        starts = [at for at, _ in requests]
        assert len(starts) >= 15
        assert min(b - a for a, b in pairwise(starts)) >= 1 - ROUNDING

    run_virtually(main())


def test_a_crash_loop_sends_nothing_and_loses_nothing(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        first = Simulation(connection)
        await first.campaign("spring", 20)
        for _ in range(30):
            life = Simulation(connection, clock=first.clock)
            await life.store.write(lambda tx: settling.recover(tx, first.clock.now(), first.policy))
            sending = asyncio.get_running_loop().create_task(life.sender.run())
            await asyncio.sleep(0.9)
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            assert life.requests == []
        assert first.rows("SELECT status, count(*) FROM messages GROUP BY status") == [("queued", 20)]

    run_virtually(main())


def test_the_rows_show_that_the_limit_was_kept(connection: sqlite3.Connection) -> None:
    """Whatever became of the requests, and of claims that no request followed."""
    chance = Random(5)

    async def main() -> None:
        first = Simulation(connection)
        await first.campaign("c", 400)
        for simulation in (first, Simulation(connection, rate_limit_seconds=0.25, clock=first.clock)):
            simulation.answer_seconds = lambda _: chance.uniform(0, 5)
            simulation.client.outcomes = chance.choices(
                [Accepted(), Rejected("x"), Uncertain("x"), Deferred("x", timedelta(seconds=1)), Held("x")],
                weights=[20, 5, 5, 5, 1],
                k=100,
            )
            sending = asyncio.get_running_loop().create_task(simulation.sender.run())
            for reason in ("no device", None) * 150:
                await asyncio.sleep(chance.uniform(0, 4))
                simulation.sender.block(reason)
            simulation.sender.stop()
            await sending

    run_virtually(main())
    (query,) = (query for promise, _, query in verify._CHECKS if promise == "P4")
    assert connection.execute("SELECT count(DISTINCT limit_ms) FROM messages").fetchone() == (2,)
    assert connection.execute("SELECT count(*) FROM messages WHERE attempt > 1").fetchone() > (0,)
    assert connection.execute(query).fetchall() == []
    connection.execute("UPDATE messages SET limit_ms = 2000 WHERE limit_ms = 1000")
    assert connection.execute(query).fetchall()


def test_slow_answers_do_not_slow_the_pace(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection, most_in_flight=32)
        simulation.answer_seconds = lambda claim: 29.0 if claim.message_id % 3 else 0.2
        await simulation.campaign("spring", 200)
        await run_for(simulation, 250)
        assert len(simulation.requests) == 200
        assert max(simulation.gaps) <= 1.002
        assert 16 <= simulation.most_under_way <= 30

    run_virtually(main())


def test_no_more_in_flight_than_the_bound(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection, most_in_flight=4)
        simulation.answer_seconds = lambda _: 29.0
        await simulation.campaign("spring", 40)
        await run_for(simulation, 400)
        assert simulation.most_under_way == 4
        assert len(simulation.requests) == 40

    run_virtually(main())


def test_a_stop_settles_what_is_under_way_and_starts_nothing(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        simulation.answer_seconds = lambda _: 20.0
        await simulation.campaign("spring", 50)
        await run_for(simulation, 10.99)  # one is claimed already for the eleventh second
        assert len(simulation.requests) == 10
        assert simulation.sender.in_flight == 0
        assert simulation.rows("SELECT status, count(*) FROM messages GROUP BY status") == [
            ("queued", 40),
            ("sent", 10),
        ]

    run_virtually(main())


def test_two_campaigns_take_turns(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("large", 200)
        sending = asyncio.get_running_loop().create_task(simulation.sender.run())
        await asyncio.sleep(50)
        await simulation.campaign("small", 20, first=1000)
        await asyncio.sleep(41)
        simulation.sender.stop()
        await sending
        late = Counter(claim.campaign for at, claim in simulation.requests if at > simulation.requests[49][0])
        assert late["small"] == 20
        assert abs(late["large"] - late["small"]) <= 2

    run_virtually(main())


def test_message_2_waits_behind_no_message_1(connection: sqlite3.Connection) -> None:
    """2.00 s from the reply to the request, and at most one interval more while 2,000 others wait."""

    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 2000)
        loop = asyncio.get_running_loop()
        sending = loop.create_task(simulation.sender.run())
        await asyncio.sleep(200)
        replied_at: dict[str, float] = {}
        for n in range(60):
            await asyncio.sleep(3.0 + (n * 37 % 100) / 100)  # at every phase of the pace
            phone = f"+346{n:08d}"
            replied_at[phone] = simulation.clock.monotonic()
            await simulation.receive(inbound(phone, at=simulation.clock.now(), wa_id=f"R{n}"))
        await asyncio.sleep(10)
        simulation.sender.stop()
        await sending
        waits = {c.phone: at - replied_at[c.phone] for at, c in simulation.requests if c.step is Step.MESSAGE_2}
        assert len(waits) == 60
        assert min(waits.values()) >= 2.0 - 0.001  # times are stored in whole milliseconds
        assert max(waits.values()) <= 2.0 + 1.0 + 0.001
        assert min(simulation.gaps) >= 1 - ROUNDING
        assert max(simulation.gaps) <= 1.002
        assert simulation.rows("SELECT count(*) > 1000 FROM messages WHERE status = 'queued'") == [(1,)]

    run_virtually(main())


def test_an_idle_sender_sends_message_2_after_two_seconds(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 20)
        sending = asyncio.get_running_loop().create_task(simulation.sender.run())
        await asyncio.sleep(60)
        replied_at: dict[str, float] = {}
        for n in range(20):
            await asyncio.sleep(5.0 + n * 0.013)
            phone = f"+346{n:08d}"
            replied_at[phone] = simulation.clock.monotonic()
            await simulation.receive(inbound(phone, at=simulation.clock.now(), wa_id=f"R{n}"))
        await asyncio.sleep(10)
        simulation.sender.stop()
        await sending
        waits = [at - replied_at[c.phone] for at, c in simulation.requests if c.step is Step.MESSAGE_2]
        assert len(waits) == 20
        assert all(wait == pytest.approx(2.0, abs=0.0011) for wait in waits)

    run_virtually(main())


def test_replies_at_once_are_answered_in_their_order(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 30)
        sending = asyncio.get_running_loop().create_task(simulation.sender.run())
        await asyncio.sleep(20)
        for n in (7, 3, 12, 1, 9):
            await simulation.receive(inbound(f"+346{n:08d}", at=simulation.clock.now(), wa_id=f"R{n}"))
            await asyncio.sleep(0.01)
        await asyncio.sleep(30)
        simulation.sender.stop()
        await sending
        answered = [claim.phone[-2:] for _, claim in simulation.requests if claim.step is Step.MESSAGE_2]
        assert answered == ["07", "03", "12", "01", "09"]
        assert len(simulation.requests) == 35

    run_virtually(main())


def test_without_limit_nothing_waits(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection, rate_limit_seconds=0)
        await simulation.campaign("spring", 100)
        await run_for(simulation, 1)
        assert len(simulation.requests) == 100

    run_virtually(main())


def test_held_tries_once_in_a_while_and_then_goes_on(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 10)
        simulation.client.outcomes = [Held("HTTP 402")] * 4
        await run_for(simulation, 4000)
        assert [round(gap, 3) >= 60 for gap in simulation.gaps[:4]] == [True] * 4
        assert max(simulation.gaps) <= 600 * 1.2
        assert len(simulation.requests) == 14
        assert simulation.rows("SELECT DISTINCT status FROM messages") == [("sent",)]

    run_virtually(main())


def test_a_bulk_after_a_long_idle_does_not_keep_message_2_waiting(connection: sqlite3.Connection) -> None:
    """The token that has lain there for an hour is one token: no more than the next send is claimed ahead."""

    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 1)
        sending = asyncio.get_running_loop().create_task(simulation.sender.run())
        await asyncio.sleep(3600)
        await simulation.receive(inbound("+34600000000", at=simulation.clock.now(), wa_id="R"))
        replied_at = simulation.clock.monotonic()
        await asyncio.sleep(1.5)
        await simulation.campaign("bulk", 100, first=1)
        simulation.sender.wake()
        await asyncio.sleep(20)
        simulation.sender.stop()
        await sending
        (wait,) = [at - replied_at for at, claim in simulation.requests if claim.step is Step.MESSAGE_2]
        assert wait <= 3.0

    run_virtually(main())


@pytest.mark.parametrize("refusal", [Deferred("HTTP 429", timedelta(seconds=60)), Held("HTTP 402")])
def test_a_slow_success_does_not_lift_a_hold(connection: sqlite3.Connection, refusal: Deferred | Held) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 5)
        # Outcomes in the order of the answers: the second request is refused while the first is under way.
        simulation.client.outcomes = [refusal, Accepted("1" * 24)]
        simulation.answer_seconds = lambda claim: 5.0 if claim.message_id == 1 else 0.0
        await run_for(simulation, 300)
        starts = [at for at, _ in simulation.requests]
        assert starts[2] - starts[1] >= 60
        assert simulation.rows("SELECT DISTINCT status FROM messages") == [("sent",)]

    run_virtually(main())


@pytest.mark.parametrize("refusal", [Deferred("HTTP 429", timedelta(seconds=60)), Held("HTTP 402")])
def test_a_disk_that_refuses_for_a_second_shortens_no_hold(
    connection: sqlite3.Connection, refusal: Deferred | Held
) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 2)
        simulation.client.outcomes = [refusal]
        write, refusals = simulation.store.write, [0]

        async def write_or_refuse(work: Work[Any]) -> object:
            if simulation.requests and refusals[0] < 1:
                refusals[0] += 1
                raise StoreUnavailableError("disk full")
            return await write(work)

        simulation.store.write = write_or_refuse  # type: ignore[method-assign, assignment]
        await run_for(simulation, 300)
        assert refusals == [1]
        starts = [at for at, _ in simulation.requests]
        assert starts[1] - starts[0] >= 60
        assert simulation.rows("SELECT DISTINCT status FROM messages") == [("sent",)]

    run_virtually(main())


# --- a run of failures ---------------------------------------------------------------------------------------

REFUSED = Rejected("HTTP 400 no such number")


def many(count: int) -> list[str]:
    return [f"+346{n:08d}" for n in range(count)]


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[House]:
    """A house whose sender notices when sends go wrong in a row, as the daemon's does."""
    async with house(tmp_path, failures=FailureRun(10, 0.8)) as made:
        await made.campaign(*many(40))
        yield made


async def send_some(home: House, *outcomes: Outcome) -> None:
    """As many sends as outcomes, unless something holds them up."""
    home.client.outcomes = list(outcomes)
    for _ in outcomes:
        home.clock.advance(1)
        await step(home)


@pytest.mark.parametrize(("outcome", "status"), [(REFUSED, "failed"), (Uncertain("no answer in time"), "uncertain")])
async def test_a_run_of_failures_holds_the_queue(watched: House, outcome: Rejected | Uncertain, status: str) -> None:
    await send_some(watched, *[outcome] * 9)
    assert watched.sender.held is None
    await send_some(watched, outcome)
    assert watched.sender.held == f"10 of the last 10 sends failed, the last: {outcome.reason}"
    assert 60 <= await step(watched) <= 72
    watched.clock.advance(59)
    await step(watched)
    assert len(watched.client.sent) == 10
    rows = await watched.rows("SELECT status, count(*) FROM messages GROUP BY status ORDER BY 1")
    assert sorted(rows) == sorted([(status, 10), ("queued", 30)])


async def test_refusals_and_doubts_are_failures_alike(watched: House) -> None:
    alternating: list[Outcome] = [REFUSED, Uncertain("no answer in time")]
    await send_some(watched, *alternating * 5)
    assert watched.sender.held == "10 of the last 10 sends failed, the last: no answer in time"


async def test_a_list_with_bad_numbers_goes_on(watched: House) -> None:
    """Seven of ten is no good list, and still no broken account."""
    for _ in range(4):
        await send_some(watched, *[REFUSED] * 7, *[Accepted()] * 3)
        assert watched.sender.held is None
    assert len(watched.client.sent) == 40


async def test_good_ones_between_do_not_hide_that_nearly_all_fail(watched: House) -> None:
    await send_some(watched, *[REFUSED] * 5, Accepted(), *[REFUSED] * 4, Accepted(), REFUSED)
    assert watched.sender.held == "10 of the last 12 sends failed, the last: HTTP 400 no such number"


@pytest.mark.parametrize("refusal", [Deferred("HTTP 429", timedelta(seconds=1)), Held("HTTP 402")])
async def test_what_was_put_back_did_not_fail(watched: House, refusal: Deferred | Held) -> None:
    """They hold the queue by themselves: they say something of the account, and nothing of the messages."""
    await send_some(watched, *[REFUSED] * 5)
    for _ in range(10):
        watched.client.outcomes = [refusal]
        watched.clock.advance(1000)
        await step(watched)
        assert watched.sender.held == refusal.reason
    watched.clock.advance(1000)
    await step(watched)
    assert watched.sender.held is None


async def test_a_doubt_lifts_no_hold(watched: House) -> None:
    """Nobody knows whether it went its way."""
    await send_some(watched, Held("HTTP 402"))
    watched.clock.advance(100)
    watched.client.outcomes = [Uncertain("no answer in time")]
    await step(watched)
    assert (watched.sender.held, len(watched.client.sent)) == ("HTTP 402", 2)


async def test_a_doubt_whose_receipt_was_faster_is_no_failure(watched: House) -> None:
    """No answer came in time, and yet it is known that the message went out."""

    async def reported(claim: Claim) -> None:
        await watched.receive(receipt("sent", at=watched.clock.now(), reference=claim.reference))

    watched.client.on_send = reported
    await send_some(watched, *[Uncertain("no answer in time")] * 12)
    assert watched.sender.held is None
    watched.client.on_send = None
    await send_some(watched, *[REFUSED] * 9)
    assert watched.sender.held is None, "there are nine"
    assert [status for *_, status in await watched.statuses()].count("sent") == 12


async def test_a_refusal_during_a_claim_that_finds_nothing_is_not_forgotten(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await home.campaign(ONE)
    answered = asyncio.Event()
    home.client.on_send = lambda _: answered.wait()
    home.client.outcomes = [Deferred("HTTP 429", timedelta(seconds=60))]
    home.clock.advance(1)
    await home.sender.step()
    await asyncio.sleep(0)
    assert len(home.client.sent) == 1, "under way"
    home.clock.advance(1)
    write = home.store.write

    async def write_meanwhile(work: Work[Any]) -> Any:
        result = await write(work)
        if not answered.is_set():
            answered.set()
            while home.sender.held is None:  # noqa: ASYNC110 - turns of the loop, until the answer is taken in
                await asyncio.sleep(0)
        return result

    monkeypatch.setattr(home.store, "write", write_meanwhile)
    await home.sender.step()
    assert answered.is_set()
    assert home.sender.held == "HTTP 429"
    await home.sender.settle_all()
    assert await step(home) == 60


async def test_a_success_resumes_and_counts_anew(watched: House) -> None:
    await send_some(watched, *[REFUSED] * 10)
    watched.clock.advance(100)
    await step(watched)
    assert watched.sender.held is None
    assert len(watched.client.sent) == 11
    await send_some(watched, *[REFUSED] * 9)
    assert watched.sender.held is None
    await send_some(watched, REFUSED)
    assert str(watched.sender.held).startswith("10 of the last ")


async def test_without_a_count_failures_hold_nothing(tmp_path: Path) -> None:
    async with house(tmp_path, failures=FailureRun(0, 0.8)) as home:
        await home.campaign(*many(30))
        await send_some(home, *[REFUSED] * 30)
        assert (home.sender.held, len(home.client.sent)) == (None, 30)


async def test_a_held_queue_is_said_once_for_each_hold(watched: House) -> None:
    with capture_logs() as logs:
        await send_some(watched, *[REFUSED] * 10)
        watched.clock.advance(100)
        await step(watched)
    said = [line for line in logs if line["event"].startswith("sending.")]
    assert [line["event"] for line in said] == ["sending.held", "sending.resumed"]
    assert said[0]["reason"] == "10 of the last 10 sends failed, the last: HTTP 400 no such number"
    assert 60 <= said[0]["next_try_seconds"] <= 72


def test_after_the_back_off_one_message_at_a_time_is_tried_ever_later(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection, failures=FailureRun(10, 0.8))
        await simulation.campaign("spring", 40)
        simulation.client.outcomes = [REFUSED] * 16
        simulation.answer_seconds = lambda claim: 20.0 if 10 < claim.message_id <= 16 else 0.0
        await run_for(simulation, 4000)
        assert max(simulation.gaps[:9]) <= 1.002  # until ten have failed
        waits = [simulation.gaps[9], *(gap - 20 for gap in simulation.gaps[10:16])]
        assert all(
            least <= wait <= least * 1.2 + 0.001 for least, wait in zip((60, 120, 240, 480), waits, strict=False)
        )
        assert waits[4:] == [pytest.approx(600, abs=0.001)] * 3
        assert simulation.most_under_way == 1
        # The seventeenth was accepted: the others follow at the pace.
        assert len(simulation.requests) == 40
        assert max(simulation.gaps[16:]) <= 1.002
        assert simulation.sender.held is None

    run_virtually(main())


def test_a_slow_success_from_before_does_not_end_a_run(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection, failures=FailureRun(3, 1.0))
        await simulation.campaign("spring", 20)
        # Outcomes in the order of the answers: the first message is accepted long after the next three are refused.
        simulation.client.outcomes = [REFUSED] * 3
        simulation.answer_seconds = lambda claim: 30.0 if claim.message_id == 1 else 0.0
        await run_for(simulation, 300)
        assert 60 <= simulation.gaps[3] <= 72.001
        assert len(simulation.requests) == 20

    run_virtually(main())


@pytest.mark.parametrize(
    ("outcome", "least", "most"),
    [(REFUSED, 60, 72), (Held("HTTP 402"), 60, 72), (Deferred("could not connect: no answer in time"), 1, 1.2)],
    ids=["refused", "no credit", "no connection"],
)
def test_slow_failures_from_before_make_no_hold_longer(
    connection: sqlite3.Connection, outcome: Outcome, least: float, most: float
) -> None:
    """When it becomes known that sends fail, ten others are under way that will fail too: still one hold."""

    async def main() -> None:
        simulation = Simulation(connection, failures=FailureRun(3, 1.0))
        await simulation.campaign("spring", 30)
        # A single refusal holds nothing: it takes three, and so two more requests have begun by then.
        failing = 13 if outcome is REFUSED else 11
        simulation.client.outcomes = [outcome] * failing
        simulation.answer_seconds = lambda _: 10.5 if len(simulation.requests) <= failing else 0.0
        await run_for(simulation, 2000)
        assert len(simulation.requests) >= 30
        # The hold begins half a second behind the last request; what was under way then is waited for.
        assert least <= max(simulation.gaps) <= max(0.5 + most, 10.5) + ROUNDING

    run_virtually(main())


# --- blocked -------------------------------------------------------------------------------------------------

OFFLINE = "device: operative, session offline"


async def test_blocked_nothing_is_sent(home: House) -> None:
    await home.campaign(ONE)
    home.sender.block(OFFLINE)
    home.clock.advance(3600)
    assert await step(home) == math.inf
    assert home.client.sent == []
    assert home.sender.held == OFFLINE
    assert await home.rows("SELECT status, attempt, reason FROM messages") == [("queued", 0, None)]
    home.sender.block(None)
    assert home.sender.held is None
    await step(home)
    assert await home.statuses() == [(ONE, 1, "sent")]


async def test_a_block_is_said_before_a_hold_and_leaves_it_in_place(home: House) -> None:
    await home.campaign(ONE, TWO)
    await send_some(home, Held("HTTP 402"))
    home.sender.block(OFFLINE)
    assert home.sender.held == OFFLINE
    home.sender.block(None)
    assert home.sender.held == "HTTP 402"
    assert 60 <= await step(home) <= 72


async def test_a_block_is_logged_when_it_begins_changes_and_ends(home: House) -> None:
    with capture_logs() as logs:
        for reason in (None, OFFLINE, OFFLINE, "device: HTTP 404", None, None):
            home.sender.block(reason)
    assert [(line["event"], line.get("reason")) for line in logs] == [
        ("sending.held", OFFLINE),
        ("sending.held", "device: HTTP 404"),
        ("sending.resumed", None),
    ]


def test_what_is_claimed_when_the_block_comes_keeps_its_place(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        loop = asyncio.get_running_loop()
        await simulation.campaign("spring", 6)
        began = simulation.clock.monotonic()
        sending = loop.create_task(simulation.sender.run())
        await asyncio.sleep(2.97)
        assert simulation.rows("SELECT id FROM messages WHERE status = 'sending'") == [(3,)]
        simulation.sender.block(OFFLINE)
        await asyncio.sleep(600)
        assert len(simulation.requests) == 2
        assert simulation.rows("SELECT status, attempt, reason FROM messages WHERE id = 3") == [
            ("queued", 1, OFFLINE)
        ]
        assert simulation.rows("SELECT count(*) FROM messages WHERE status = 'queued'") == [(4,)]
        simulation.sender.block(None)
        await asyncio.sleep(10)
        simulation.sender.stop()
        await sending
        assert [claim.message_id for _, claim in simulation.requests] == [1, 2, 3, 4, 5, 6]
        third_at, third = simulation.requests[2]
        assert third_at - began == pytest.approx(602.97), "at once"
        assert third.attempt == 2
        assert simulation.rows("SELECT reference FROM messages WHERE id = 3") == [(third.reference,)]
        assert min(simulation.gaps) >= 1 - ROUNDING

    run_virtually(main())


def test_what_is_under_way_when_the_block_comes_is_settled(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        simulation.answer_seconds = lambda _: 20.0
        await simulation.campaign("spring", 10)
        sending = asyncio.get_running_loop().create_task(simulation.sender.run())
        await asyncio.sleep(3.5)
        simulation.sender.block(OFFLINE)
        await asyncio.sleep(60)
        assert simulation.rows("SELECT status, count(*) FROM messages GROUP BY status") == [
            ("queued", 7),
            ("sent", 3),
        ]
        assert simulation.sender.held == OFFLINE, "an answer from before lifts no block"
        assert not sending.done()
        simulation.sender.stop()
        await sending
        assert len(simulation.requests) == 3

    run_virtually(main())


def test_replies_while_blocked_are_answered_first_when_it_ends(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        simulation = Simulation(connection)
        await simulation.campaign("spring", 20)
        sending = asyncio.get_running_loop().create_task(simulation.sender.run())
        await asyncio.sleep(3.5)
        simulation.sender.block(OFFLINE)
        for n in (1, 0):
            await simulation.receive(inbound(f"+346{n:08d}", at=simulation.clock.now(), wa_id=f"R{n}"))
            await asyncio.sleep(5)
        assert len(simulation.requests) == 3
        simulation.sender.block(None)
        await asyncio.sleep(5)
        simulation.sender.stop()
        await sending
        assert [(c.phone[-1], c.step) for _, c in simulation.requests[3:6]] == [
            ("1", Step.MESSAGE_2),
            ("0", Step.MESSAGE_2),
            ("3", Step.MESSAGE_1),
        ]

    run_virtually(main())


# --- refusals that are about one message, one person, or the device -----------------------------------------------


def sent_by(
    connection: sqlite3.Connection,
    contacts: int,
    answer: Callable[[Claim], Outcome],
    hours: float,
    *,
    others: int = 0,
) -> list[Claim]:
    """Everything that was tried in so many hours."""
    tried: list[Claim] = []

    async def send(claim: Claim) -> Outcome:
        tried.append(claim)
        return answer(claim)

    async def main() -> None:
        simulation = Simulation(connection, failures=FailureRun(10, 0.8))
        simulation.client.send = send  # type: ignore[method-assign] # scripted
        await simulation.campaign("spring", contacts)
        if others:
            await simulation.campaign("other", others, first=1000)
        task = asyncio.create_task(simulation.sender.run())
        await asyncio.sleep(hours * 3600)
        simulation.sender.stop()
        await task

    run_virtually(main())
    return tried


def accepted_as(claim: Claim) -> Accepted:
    return Accepted(queue_id=f"{claim.message_id:024x}", wa_id=f"W{claim.message_id}")


@pytest.mark.parametrize("bad", [1, 7])
def test_one_message_that_is_refused_for_itself_fails_and_the_others_go_out(
    connection: sqlite3.Connection, bad: int
) -> None:
    def answer(claim: Claim) -> Outcome:
        return Held("HTTP 403 not allowed") if claim.message_id == bad else accepted_as(claim)

    tried = [claim.message_id for claim in sent_by(connection, 20, answer, 1, others=200)]
    assert 3 <= tried.count(bad) <= 4
    assert sorted(set(tried) - {bad}) == [n for n in range(1, 221) if n != bad]
    assert connection.execute("SELECT status, reason FROM messages WHERE id = ?", (bad,)).fetchone() == (
        "failed",
        "refused 3 times while others went out: HTTP 403 not allowed",
    )


def test_one_that_is_refused_with_nobody_left_to_compare_it_with_waits(connection: sqlite3.Connection) -> None:
    """Perhaps the account is refused: nobody can tell."""

    def answer(claim: Claim) -> Outcome:
        return Held("HTTP 403 not allowed") if claim.message_id == 1 else accepted_as(claim)

    tried = [claim.message_id for claim in sent_by(connection, 20, answer, 24)]
    assert sorted(set(tried)) == list(range(1, 21))
    assert tried[1:20] == list(range(2, 21)), "the others go out first"
    assert connection.execute("SELECT status, refusals FROM messages WHERE id = 1").fetchone() == ("queued", 1)


def test_a_refused_account_fails_nobody(connection: sqlite3.Connection) -> None:
    went = 0

    def answer(claim: Claim) -> Outcome:
        nonlocal went
        went += 1
        return accepted_as(claim) if went <= 5 else Held("HTTP 402 no credit")

    tried = sent_by(connection, 20, answer, 24)
    assert len(tried) < 200
    assert connection.execute(
        "SELECT status, count(*), max(refusals) <= 1 FROM messages GROUP BY status"
    ).fetchall() == [
        ("queued", 15, 1),
        ("sent", 5, 1),
    ]


@pytest.mark.parametrize("first", [0, 10])
def test_forty_bad_numbers_in_a_row_slow_nobody(connection: sqlite3.Connection, first: int) -> None:

    def answer(claim: Claim) -> Outcome:
        if first < claim.message_id <= first + 40:
            return Rejected("HTTP 400 number:notfound", is_about_person=True)
        return accepted_as(claim)

    assert len(sent_by(connection, 60, answer, 70 / 3600)) == 60
    assert connection.execute("SELECT status, count(*) FROM messages GROUP BY status ORDER BY 1").fetchall() == [
        ("failed", 40),
        ("sent", 20),
    ]


def test_a_refusal_about_the_device_spends_no_message(connection: sqlite3.Connection) -> None:
    went = 0

    def answer(claim: Claim) -> Outcome:
        nonlocal went
        went += 1
        return Held("HTTP 404 device:notfound", is_about_device=True) if 1 < went < 30 else accepted_as(claim)

    sent_by(connection, 3, answer, 12)
    assert connection.execute("SELECT DISTINCT status, refusals FROM messages").fetchall() == [("sent", 0)]
