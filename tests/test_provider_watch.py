"""The device and the webhook: what is lost is noticed, what can be put right is, and no answer changes nothing."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from tests.support import START, ManualClock, Simulation, VirtualClock, house, memory, payload, run_virtually
from wamsg2.bell import Bell
from wamsg2.clock import Clock
from wamsg2.inbox import Inbox
from wamsg2.model import Finding, Unknown
from wamsg2.provider_watch import ProviderWatch
from wamsg2.wassenger.account import Account, State, WassengerAccount
from wamsg2.wassenger.client import WassengerClient
from wamsg2.wassenger.events import SUBSCRIBED_EVENTS

ONLINE = State(ok=True, detail="operative, session online")
OFFLINE = State(ok=False, detail="operative, session offline")
BANNED = State(ok=False, detail="banned, session offline")
STRANGE = State(ok=None, detail="ready, session syncing")
ACTIVE = State(ok=True, detail="registered, active")
DISABLED = State(ok=False, detail="registered, disabled", inactive_id="h1")
MISSING = State(ok=False, detail="none registered for …/webhooks/wassenger (events: …)")
REFUSED = State(ok=False, detail="disabled, and could not be enabled: HTTP 403")
SILENCE = Unknown("HTTP 503")
LOST = "device: operative, session offline"
Answer = State | Unknown


class ScriptedAccount:
    """A provider that answers as told; the last answer of each kind stands."""

    def __init__(self) -> None:
        self.devices: list[Answer] = [ONLINE]
        self.webhooks: list[Answer] = [ACTIVE]
        self.enabling: list[Answer] = [ACTIVE]
        self.enabled: list[str] = []
        self.device_looks: list[float] = []
        self.webhook_looks: list[float] = []

    @staticmethod
    def _next(answers: list[Answer]) -> Answer:
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def device(self) -> Answer:
        self.device_looks.append(asyncio.get_running_loop().time())
        return self._next(self.devices)

    async def webhook(self) -> Answer:
        self.webhook_looks.append(asyncio.get_running_loop().time())
        return self._next(self.webhooks)

    async def enable_webhook(self, webhook_id: str) -> Answer:
        self.enabled.append(webhook_id)
        return self._next(self.enabling)


class Desk:
    """A watch, and what it told others."""

    def __init__(
        self, account: Account, clock: Clock, *, device_seconds: float = 60, webhook_seconds: float = 300
    ) -> None:
        self.bell = Bell()
        self.blocks: list[str | None] = []
        self.catch_ups = 0
        self.retentions: list[timedelta | None] = []
        self.watch = ProviderWatch(
            account=account,
            clock=clock,
            device_changed=self.bell,
            block=self.blocks.append,
            catch_up=self._catch_up,
            note_retention=self.retentions.append,
            device_seconds=device_seconds,
            webhook_seconds=webhook_seconds,
        )

    def _catch_up(self) -> None:
        self.catch_ups += 1

    @property
    def blocked(self) -> str | None:
        """What was said last."""
        return self.blocks[-1] if self.blocks else None


@pytest.fixture
def account() -> ScriptedAccount:
    return ScriptedAccount()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def desk(account: ScriptedAccount, clock: ManualClock) -> Desk:
    return Desk(account, clock)


async def look(desk: Desk, clock: ManualClock, seconds: float = 3600) -> float:
    """Whatever is due so much later; seconds until the next look."""
    clock.advance(seconds)
    return await desk.watch.step()


# --- the device ----------------------------------------------------------------------------------------------


async def test_all_is_well(account: ScriptedAccount, desk: Desk) -> None:
    with capture_logs() as logs:
        assert await desk.watch.step() == 60
    assert desk.watch.device == Finding(ok=True, detail="operative, session online", checked_at=START)
    assert desk.watch.webhook == Finding(ok=True, detail="registered, active", checked_at=START)
    assert (desk.blocked, desk.catch_ups, account.enabled, logs) == (None, 0, [], [])


async def test_a_lost_device_holds_the_queue_and_is_looked_at_soon(
    account: ScriptedAccount, desk: Desk, clock: ManualClock
) -> None:
    account.devices = [ONLINE, OFFLINE]
    await desk.watch.step()
    with capture_logs() as logs:
        assert await look(desk, clock, 60) == 10
        for _ in range(5):
            assert await look(desk, clock, 10) == 10
    assert desk.blocked == LOST
    assert [(line["event"], line["detail"]) for line in logs] == [("device.lost", OFFLINE.detail)], "once"
    assert desk.watch.device == Finding(ok=False, detail=OFFLINE.detail, checked_at=clock.now())


async def test_a_device_that_is_lost_at_the_start(account: ScriptedAccount, desk: Desk) -> None:
    account.devices = [OFFLINE]
    await desk.watch.step()
    assert (desk.blocked, desk.catch_ups) == (LOST, 0)


async def test_a_device_that_is_banned_holds_the_queue(account: ScriptedAccount, desk: Desk) -> None:
    account.devices = [BANNED]
    await desk.watch.step()
    assert desk.blocked == "device: banned, session offline"


async def test_when_it_is_back_the_queue_goes_on_and_what_was_lost_is_asked_for(
    account: ScriptedAccount, desk: Desk, clock: ManualClock
) -> None:
    account.devices = [OFFLINE, OFFLINE, ONLINE]
    for seconds in (0, 10):
        await look(desk, clock, seconds)
    assert desk.catch_ups == 0
    with capture_logs() as logs:
        await look(desk, clock, 10)
    assert [line["event"] for line in logs] == ["device.back"]
    assert (desk.blocked, desk.catch_ups) == (None, 1)
    assert desk.blocks[-1:] == [None], "it was said"
    for _ in range(3):
        await look(desk, clock, 60)
    assert desk.catch_ups == 1


async def test_another_reason_is_said(account: ScriptedAccount, desk: Desk, clock: ManualClock) -> None:
    account.devices = [OFFLINE, BANNED]
    with capture_logs() as logs:
        await look(desk, clock, 0)
        await look(desk, clock, 10)
    assert [line["detail"] for line in logs] == [OFFLINE.detail, BANNED.detail]
    assert desk.blocked == "device: banned, session offline"


async def test_words_that_nobody_knows_hold_nothing_and_are_said_and_counted(
    account: ScriptedAccount, desk: Desk, clock: ManualClock
) -> None:
    account.devices = [ONLINE, STRANGE]
    with capture_logs() as logs:
        for _ in range(4):
            assert await look(desk, clock, 60) == 60
    assert (desk.blocks, desk.catch_ups, desk.watch.unclear_looks) == ([], 0, 3)
    assert [(line["event"], line["detail"]) for line in logs] == [("device.unclear", STRANGE.detail)], "once"
    assert desk.watch.device == Finding(ok=None, detail=STRANGE.detail, checked_at=clock.now())


async def test_words_that_nobody_knows_release_what_known_ones_held(
    account: ScriptedAccount, desk: Desk, clock: ManualClock
) -> None:
    """They are an answer, and the queue is held for known words only."""
    account.devices = [OFFLINE, STRANGE]
    for _ in range(2):
        await look(desk, clock, 10)
    assert (desk.blocks, desk.catch_ups) == ([LOST, None], 1)


async def test_how_long_the_provider_keeps_messages_is_passed_on(
    account: ScriptedAccount, desk: Desk, clock: ManualClock
) -> None:
    day = timedelta(days=1)
    account.devices = [replace(ONLINE, retention=day), replace(OFFLINE, retention=None), SILENCE]
    for _ in range(3):
        await look(desk, clock)
    assert desk.retentions == [day, None]


async def test_no_answer_does_not_hold_what_runs(account: ScriptedAccount, desk: Desk, clock: ManualClock) -> None:
    account.devices = [ONLINE, SILENCE]
    await desk.watch.step()
    assert await look(desk, clock, 60) == 60
    assert desk.blocks == []
    assert desk.watch.device == Finding(ok=True, detail=ONLINE.detail, checked_at=START), "the last that was told"


async def test_no_answer_does_not_release_what_is_held(
    account: ScriptedAccount, desk: Desk, clock: ManualClock
) -> None:
    account.devices = [OFFLINE, SILENCE]
    await desk.watch.step()
    for _ in range(5):
        assert await look(desk, clock, 10) == 10
    assert set(desk.blocks) == {LOST}
    account.devices = [ONLINE]
    await look(desk, clock, 10)
    assert (desk.blocked, desk.catch_ups) == (None, 1), "back is back, however long it said nothing"


async def test_nobody_ever_answers(account: ScriptedAccount, desk: Desk, clock: ManualClock) -> None:
    account.devices = account.webhooks = [SILENCE]
    await desk.watch.step()
    nothing = Finding(ok=None, detail="no answer: HTTP 503", checked_at=START)
    assert (desk.watch.device, desk.watch.webhook) == (nothing, nothing)
    account.devices = account.webhooks = [ONLINE]
    await look(desk, clock)
    assert (desk.blocks, desk.catch_ups) == ([], 0), "it was never known to be lost"


# --- the webhook ---------------------------------------------------------------------------------------------


async def test_a_disabled_webhook_is_enabled_and_what_was_lost_is_asked_for(
    account: ScriptedAccount, desk: Desk, clock: ManualClock
) -> None:
    account.webhooks = [ACTIVE, DISABLED, ACTIVE]
    await desk.watch.step()
    with capture_logs() as logs:
        await look(desk, clock, 300)
    assert account.enabled == ["h1"]
    assert desk.catch_ups == 1
    assert [line["event"] for line in logs] == ["webhook.disabled", "webhook.enabled"]
    assert desk.watch.webhook == Finding(ok=True, detail=ACTIVE.detail, checked_at=clock.now())
    await look(desk, clock, 300)
    assert (account.enabled, desk.catch_ups) == (["h1"], 1)
    assert desk.blocks == [], "sending does not depend on it"


async def test_enabling_is_refused_and_tried_again_soon(
    account: ScriptedAccount, desk: Desk, clock: ManualClock
) -> None:
    account.webhooks, account.enabling = [DISABLED], [REFUSED, REFUSED, ACTIVE]
    await desk.watch.step()
    assert desk.watch.webhook == Finding(ok=False, detail=REFUSED.detail, checked_at=START)
    assert desk.catch_ups == 0
    for _ in range(2):
        await look(desk, clock, 10)
    assert account.enabled == ["h1"] * 3
    assert desk.catch_ups == 1
    assert desk.watch.webhook is not None
    assert desk.watch.webhook.ok


async def test_a_webhook_that_stays_disabled_is_not_believed_to_be_enabled(
    account: ScriptedAccount, desk: Desk
) -> None:
    account.webhooks, account.enabling = [DISABLED], [DISABLED]
    await desk.watch.step()
    assert (desk.watch.webhook, desk.catch_ups) == (
        Finding(ok=False, detail=DISABLED.detail, checked_at=START),
        0,
    )


async def test_a_disabled_webhook_is_wrong_even_if_nobody_answers_whether_it_is_enabled(
    account: ScriptedAccount, desk: Desk, clock: ManualClock
) -> None:
    """That it is disabled has been told; only what became of the enabling has not."""
    account.webhooks, account.enabling = [ACTIVE, DISABLED], [SILENCE]
    await desk.watch.step()
    assert await look(desk, clock, 300) == 10, "looked at again soon"
    assert desk.watch.webhook is not None
    assert desk.watch.webhook.ok is False
    assert desk.catch_ups == 0


@pytest.mark.parametrize("wrong", [MISSING, State(ok=False, detail="registered without message:out:ack")])
async def test_what_only_a_person_can_put_right_is_reported(
    account: ScriptedAccount, desk: Desk, clock: ManualClock, wrong: State
) -> None:
    account.webhooks = [wrong]
    with capture_logs() as logs:
        for _ in range(5):
            await look(desk, clock, 300)
    assert (account.enabled, desk.catch_ups, desk.blocks) == ([], 0, [])
    assert [(line["event"], line["detail"]) for line in logs] == [("webhook.wrong", wrong.detail)], "once"
    assert desk.watch.webhook == Finding(ok=False, detail=wrong.detail, checked_at=clock.now())


async def test_no_answer_about_the_webhook_changes_nothing(
    account: ScriptedAccount, desk: Desk, clock: ManualClock
) -> None:
    account.webhooks = [MISSING, SILENCE]
    await desk.watch.step()
    assert await look(desk, clock, 10) == 10
    assert desk.watch.webhook == Finding(ok=False, detail=MISSING.detail, checked_at=START)
    account.webhooks = [ACTIVE, SILENCE]
    await look(desk, clock, 10)
    await look(desk, clock, 300)
    assert desk.watch.webhook is not None
    assert desk.watch.webhook.ok is True
    assert account.enabled == []


def failures(count: int) -> State:
    return State(ok=True, detail="registered, active", failures=count)


async def test_failures_that_grow_are_a_problem_until_a_delivery_goes_well(
    account: ScriptedAccount, desk: Desk, clock: ManualClock
) -> None:
    """The provider switches a webhook off that fails for too long: then it is too late to say so."""
    account.webhooks = [failures(n) for n in (3, 3, 5, 5, 9, 2, 2, 0, 1, 0)]
    seen = []
    with capture_logs() as logs:
        while len(account.webhook_looks) < 10:
            await look(desk, clock)
            assert desk.watch.webhook is not None
            seen.append((desk.watch.webhook.ok, desk.watch.webhook.detail.removeprefix("registered, active")))
    failing_5, failing_9 = "; its deliveries fail (5 in a row)", "; its deliveries fail (9 in a row)"
    assert seen == [
        *((True, ""), (True, "")),  # nobody knows when those failed
        *((False, failing_5), (False, failing_5), (False, failing_9)),  # nothing has gone well
        *((True, ""), (True, ""), (True, "")),  # fewer in a row: one went well between them
        *((False, "; its deliveries fail (1 in a row)"), (True, "")),
    ]
    assert [line["event"] for line in logs] == ["webhook.wrong"] * 3
    assert account.enabled == [], "there is nothing to enable yet"


async def test_failures_are_looked_at_soon(account: ScriptedAccount, desk: Desk, clock: ManualClock) -> None:
    account.devices = [SILENCE]
    account.webhooks = [failures(0), failures(1)]
    await desk.watch.step()
    await look(desk, clock, 300)
    assert desk.watch._webhook_at_seconds == clock.monotonic() + 10


async def test_a_wrong_webhook_does_not_hide_a_lost_device(account: ScriptedAccount, desk: Desk) -> None:
    account.devices, account.webhooks = [OFFLINE], [MISSING]
    await desk.watch.step()
    assert desk.blocked == LOST
    assert desk.watch.webhook is not None
    assert desk.watch.webhook.ok is False


# --- when ----------------------------------------------------------------------------------------------------


def watched(
    account: ScriptedAccount, seconds: float, *, rings: tuple[float, ...] = (), **options: float
) -> tuple[list[float], list[float]]:
    """When device and webhook were looked at in so many seconds."""

    async def main() -> tuple[list[float], list[float]]:
        loop = asyncio.get_running_loop()
        desk = Desk(account, VirtualClock(), **options)
        began = loop.time()
        for at in rings:
            loop.call_later(at, desk.bell.ring)
        running = loop.create_task(desk.watch.run())
        await asyncio.sleep(seconds)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        device, webhook = (
            [round(at - began, 3) for at in looks] for looks in (account.device_looks, account.webhook_looks)
        )
        return device, webhook

    return run_virtually(main())


def test_each_has_an_interval_of_its_own(account: ScriptedAccount) -> None:
    device, webhook = watched(account, 900.5)
    assert device == list(range(0, 901, 60))
    assert webhook == [0, 300, 600, 900]


def test_a_changed_session_is_looked_at_at_once(account: ScriptedAccount) -> None:
    device, webhook = watched(account, 150, rings=(25, 100))
    assert device == [0, 25, 85, 100]
    assert webhook == [0]


def test_what_is_wrong_is_looked_at_every_ten_seconds(account: ScriptedAccount) -> None:
    account.devices = [OFFLINE, OFFLINE, ONLINE]
    account.webhooks = [MISSING, MISSING, MISSING, ACTIVE]
    device, webhook = watched(account, 350)
    assert device == [0, 10, 20, 80, 140, 200, 260, 320]
    assert webhook == [0, 10, 20, 30, 330]


def test_a_short_interval_stays_as_it_is(account: ScriptedAccount) -> None:
    account.devices = [OFFLINE]
    device, _ = watched(account, 10, device_seconds=2)
    assert device == [0, 2, 4, 6, 8]


def test_an_interval_of_zero_never_looks(account: ScriptedAccount) -> None:
    account.devices, account.webhooks = [OFFLINE], [DISABLED]
    assert watched(account, 86_400, rings=(10, 20), device_seconds=0, webhook_seconds=0) == ([], [])
    assert account.enabled == []


def test_one_may_be_looked_at_and_not_the_other(account: ScriptedAccount) -> None:
    device, webhook = watched(account, 700, rings=(20,), device_seconds=0)
    assert (device, webhook) == ([], [0, 300, 600])


def test_and_the_other_way_round(account: ScriptedAccount) -> None:
    device, webhook = watched(account, 130, rings=(20,), webhook_seconds=0)
    assert (device, webhook) == ([0, 20, 80], [])


def test_the_time_of_day_has_no_part_in_it(account: ScriptedAccount) -> None:
    async def main() -> None:
        clock = VirtualClock()
        desk = Desk(account, clock)
        running = asyncio.get_running_loop().create_task(desk.watch.run())
        for seconds in (86_400, -200_000):
            await asyncio.sleep(90)
            clock.step_wall(seconds)
        await asyncio.sleep(90)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        gaps = [b - a for a, b in pairwise(account.device_looks)]
        assert gaps == [pytest.approx(60)] * 4

    run_virtually(main())


# --- with the sender, the inbox and the real account ----------------------------------------------------------


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = memory()
    yield made
    made.close()


def test_the_queue_is_held_from_the_event_to_the_return_and_loses_nothing(connection: sqlite3.Connection) -> None:
    """The provider's event comes at once, and an hour later the device is back; nobody has failed."""

    async def main() -> None:
        simulation, account = Simulation(connection), ScriptedAccount()
        loop = asyncio.get_running_loop()
        bell, asked = Bell(), list[float]()
        watch = ProviderWatch(
            account=account,
            clock=simulation.clock,
            device_changed=bell,
            block=simulation.sender.block,
            catch_up=lambda: asked.append(loop.time()),
            note_retention=lambda _: None,
            device_seconds=60,
            webhook_seconds=300,
        )
        simulation.inbox = Inbox(
            store=simulation.store,
            clock=simulation.clock,
            policy=simulation.policy,
            signals=simulation.sender,
            device=None,
            device_changed=bell.ring,
        )
        await simulation.campaign("spring", 50)
        tasks = [loop.create_task(simulation.sender.run()), loop.create_task(watch.run())]
        await asyncio.sleep(20.5)
        account.devices = [OFFLINE]
        session = {"event": "number:session", "created": 1, "data": {"status": "offline"}}
        assert await simulation.receive(session) == "accepted"
        await asyncio.sleep(3600)
        assert len(simulation.requests) == 20
        assert simulation.sender.held == LOST
        assert simulation.rows("SELECT status, count(*) FROM messages GROUP BY status") == [
            ("queued", 30),
            ("sent", 20),
        ]
        account.devices = [ONLINE]
        back_at = loop.time()
        assert await simulation.receive(session | {"created": 2}) == "accepted"
        await asyncio.sleep(60)
        assert asked == [pytest.approx(back_at)]
        assert simulation.requests[20][0] == pytest.approx(back_at, abs=0.1)
        assert simulation.rows("SELECT status, count(*) FROM messages GROUP BY status") == [("sent", 50)]
        simulation.sender.stop()
        await tasks[0]
        tasks[1].cancel()
        await asyncio.gather(tasks[1], return_exceptions=True)

    run_virtually(main())


async def test_a_repeated_event_is_a_reason_to_look_too(tmp_path: Path) -> None:
    """The first may have come while the device was still well; a look costs nothing."""
    rung = []
    async with house(tmp_path) as home:
        inbox = Inbox(
            store=home.store,
            clock=home.clock,
            policy=home.policy,
            signals=home.signals,
            device=None,
            device_changed=lambda: rung.append(True),
        )
        for _ in range(2):
            await inbox.receive(b'{"event": "number:session"}')
        await inbox.receive(b'{"event": "chat:update"}')
    assert len(rung) == 2


@asynccontextmanager
async def real_account(
    devices: list[tuple[int, Any]], hooks: list[dict[str, Any]]
) -> AsyncIterator[WassengerAccount]:
    """The real account at a provider with these answers about its device, one after the other."""

    async def device(_: web.Request) -> web.Response:
        status, body = devices.pop(0) if len(devices) > 1 else devices[0]
        return web.json_response(body, status=status)

    async def every(_: web.Request) -> web.Response:
        return web.json_response(hooks)

    async def enable(request: web.Request) -> web.Response:
        for hook in hooks:
            if hook["id"] == request.match_info["id"]:
                hook["status"] = "active"
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/v1/devices/{id}", device)
    app.router.add_get("/v1/webhooks", every)
    app.router.add_post("/v1/webhooks/{id}/enable", enable)
    async with TestServer(app) as server:
        client = WassengerClient(
            base_url=str(server.make_url("/v1")), api_key="k" * 64, device=hooks[0]["device"], timeout_seconds=30
        )
        try:
            yield WassengerAccount(client, "/webhooks/wassenger", ["s3cret"])
        finally:
            await client.close()


async def test_over_the_wire(clock: ManualClock) -> None:
    well = payload("get_devices.item.reconstructed.json")
    lost = well | {"session": {"status": "offline"}}
    hook = payload("get_webhooks.item.reconstructed.json") | {
        "url": "https://example.test/webhooks/wassenger?secret=s3cret",
        "events": list(SUBSCRIBED_EVENTS),
        "status": "disabled",
    }
    answers: list[tuple[int, Any]] = [
        (200, lost),
        (503, {}),
        (404, {"message": "device not found"}),
        (401, {}),
        (200, well),
    ]
    async with real_account(answers, [hook]) as account:
        desk = Desk(account, clock)
        said = []
        for _ in range(5):
            await desk.watch.step()
            said.append(desk.blocked)
            clock.advance(10)
        assert said == [LOST, LOST, LOST, LOST, None]
        assert (hook["status"], desk.catch_ups) == ("active", 2)
        assert desk.watch.webhook is not None
        assert desk.watch.webhook.checked_at - START < timedelta(seconds=1)
