"""The wire between the daemon and the provider: requests and answers that are slow, refused, lost or wrong.

The daemon's own client makes and reads them; only what lies below it is simulated.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, NoReturn

import aiohttp

from tests.simulation import bodies
from tests.simulation.bodies import DEVICE
from tests.simulation.ledger import Attempt, Message, Stage
from tests.simulation.wassenger import Wassenger
from tests.simulation.weather import spread
from tests.simulation.world import Plan, World
from tests.support import payload
from wamsg2.clock import Clock
from wamsg2.wassenger.client import Answer, WassengerClient
from wamsg2.wassenger.events import SUBSCRIBED_EVENTS
from wamsg2.wassenger.fields import JsonObject
from wamsg2.wassenger.unknown_words import UnknownWords

WEBHOOK_PATH = "/webhooks/wassenger"
SECRET = "x"
_WEBHOOK_ID = "675c5f0a1b2c3d4e5f60aaaa"
_TIMEOUT_SECONDS = 30.0
_LAST_ACCEPTANCE_SECONDS = 15.0
_TEXT = re.compile(r"(\d) of (\w+): .*", re.DOTALL)
_WEBHOOK = payload("get_webhooks.item.reconstructed.json") | {
    "id": _WEBHOOK_ID,
    "url": f"https://example.test{WEBHOOK_PATH}?secret={SECRET}",
    "device": DEVICE,
}
#: Of another device of the account, on a host of its own, at a path that looks like ours; it is always well.
_OTHER_WEBHOOK = _WEBHOOK | {
    "id": "675c5f0a1b2c3d4e5f60bbbb",
    "url": f"https://support.example.test{WEBHOOK_PATH}?secret=y",
    "device": "68fd1067b488de07029f0002",
    "status": "active",
}
_REPORTS = ("message:out:sent", "message:out:ack", "message:reaction")
#: What can be subscribed to.
_EVENTS = {
    Plan.ALL: [name for name in SUBSCRIBED_EVENTS if name != "message:out:new"],
    Plan.BUSINESS: [name for name in SUBSCRIBED_EVENTS if name != "message:out:sent"],
    Plan.PROFESSIONAL: [name for name in SUBSCRIBED_EVENTS if name not in _REPORTS],
}


class Line(WassengerClient):
    """One process's connection to the provider.

    Args:
        world: of this run.
        wassenger: at the other end.
        clock: the process's.
        doubted: called when a request ends and nobody can tell what came of it.
        crash: ends the process.
    """

    def __init__(
        self,
        world: World,
        wassenger: Wassenger,
        clock: Clock,
        *,
        doubted: Callable[[], None],
        crash: Callable[[], None],
    ) -> None:
        self._device = DEVICE
        self.unknown_words = UnknownWords()
        self._world = world
        self._wassenger = wassenger
        self._clock = clock
        self._doubted = doubted
        self._crash = crash
        self._random = world.chance("line")

    async def _request(
        self,
        method: str,
        path: str,
        *,
        json: JsonObject | None = None,
        params: Mapping[str, str] | None = None,
        limit_bytes: int = 0,
    ) -> Answer:
        del limit_bytes
        if (method, path) == ("POST", "/messages"):
            return await self._post(json or {})
        await asyncio.sleep(spread(self._random, 0.05, 5.0))
        if self._chance(self._world.weather.failed_question):
            return self._fail()
        return self._answer(method, path, params or {})

    def _chance(self, likelihood: float) -> bool:
        return self._random.random() < likelihood

    def _fail(self) -> Answer:
        if self._chance(0.5):
            raise TimeoutError
        return Answer(503, None, None)

    # --- posting a message ---

    async def _post(self, body: Mapping[str, Any]) -> Answer:
        attempt = self._started(str(body["phone"]), str(body["message"]), str(body["reference"]))
        weather = self._world.weather
        if self._chance(weather.unconnected):
            await asyncio.sleep(spread(self._random, 0.01, 10.0))
            self._note_refusal(attempt, "not connected")
            raise aiohttp.ConnectionTimeoutError
        if (answer := self._refusal(attempt)) is not None:
            await asyncio.sleep(spread(self._random, 0.05, 2.0))
            self._note_refusal(attempt, f"HTTP {answer.status}")
            return answer
        seconds = spread(self._random, 0.1, _TIMEOUT_SECONDS) if self._chance(weather.slow) else 0.2
        if self._chance(weather.crash_between):
            self._world.timeline.after(seconds * self._random.random(), self._crash)
        if self._chance(weather.lost_request):
            await self._lose(seconds)
        # Whatever becomes of the one who asked, what is on its way arrives.
        arrival: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        arrives_seconds = min(seconds, _LAST_ACCEPTANCE_SECONDS) * self._random.random()
        text = str(body["message"])
        self._world.timeline.after(arrives_seconds, lambda: arrival.set_result(self._wassenger.accept(attempt, text)))
        if self._chance(weather.lost_answer) or (not self._wassenger.is_online and self._chance(0.3)):
            await self._lose(max(seconds, arrives_seconds + 0.01))
        await asyncio.sleep(seconds)
        message = await asyncio.shield(arrival)
        return Answer(201, bodies.queued(message, Stage.QUEUED, with_wa_id=not self._chance(weather.late_id)), None)

    def _started(self, phone: str, text: str, reference: str) -> Attempt:
        ledger = self._world.ledger
        found = _TEXT.fullmatch(text)
        if found is None or found[2] not in ledger.campaigns:
            raise AssertionError(f"a request with a text of nobody's: {text!r}")
        step, campaign = int(found[1]), ledger.campaigns[found[2]]
        moment = self._world.trace.note("line", "request", phone=phone, reference=reference, text=text)
        attempt = Attempt(reference, ledger.person(phone), campaign, step, moment, self._clock.now())
        ledger.attempts.append(attempt)
        ledger.attempts_of[reference].append(attempt)
        return attempt

    def _refusal(self, attempt: Attempt) -> Answer | None:
        if self._wassenger.no_credit.end(self._world.timeline.seconds) is not None:
            return Answer(402, {"status": 402, "message": "no quota"}, None)
        if self._chance(self._world.weather.throttled):
            retry_after = timedelta(seconds=self._random.randint(1, 90)) if self._chance(0.5) else None
            return Answer(429, {"status": 429, "message": "too many requests"}, retry_after)
        if not attempt.person.on_whatsapp:
            return Answer(400, {"status": 400, "message": "invalid number", "errorCode": "phone:invalid"}, None)
        if attempt.person.is_forbidden:
            attempt.is_forbidden = True
            return Answer(403, {"status": 403, "message": "not allowed", "errorCode": "message:forbidden"}, None)
        return None

    def _note_refusal(self, attempt: Attempt, what: str) -> None:
        attempt.refused = True
        self._world.trace.note("line", what, phone=attempt.person.written, reference=attempt.reference)

    async def _lose(self, seconds: float) -> NoReturn:
        """Nobody hears of it any more: silence, a broken connection, or a proxy's page."""
        await asyncio.sleep(seconds)
        self._world.trace.note("line", "no answer")
        self._doubted()
        if self._chance(0.5):
            raise TimeoutError
        raise aiohttp.ServerDisconnectedError

    # --- questions ---

    def _answer(self, method: str, path: str, params: Mapping[str, str]) -> Answer:
        match method, path.removesuffix(DEVICE):
            case "GET", "/messages":
                return Answer(200, self._looked_up(params["reference"]), None)
            case "GET", "/devices/":
                entity = bodies.devices_entity(self._world.account, is_online=self._wassenger.is_online)
                return Answer(200, entity, None)
            case "GET", "/webhooks":
                return Answer(200, self._webhooks(), None)
            case "POST", _ if path == f"/webhooks/{_WEBHOOK_ID}/enable":
                self._wassenger.enable_webhook()
                return Answer(200, {}, None)
            case "GET", _ if path == f"/chat/{DEVICE}/messages":
                return Answer(200, self._listed(params), None)
            case _:
                raise AssertionError(f"a request that the provider does not know: {method} {path}")

    def _webhooks(self) -> list[Any]:
        account = self._world.account
        status = "active" if self._wassenger.webhook_is_enabled else account.broken_webhook
        events = {"events": list(_EVENTS[account.plan]) if account.tells_events else None}
        return [_OTHER_WEBHOOK | events, _WEBHOOK | events | {"status": status}]

    def _looked_up(self, reference: str) -> list[Any]:
        ledger, weather = self._world.ledger, self._world.weather
        found = self._wassenger.found(reference)
        if not found:
            if ledger.messages and self._chance(weather.stale / 8):  # the filter is not honoured
                return [bodies.queued(ledger.messages[-1], Stage.SENT)]
            ledger.absences[reference].append(self._world.timeline.seconds)
            return []
        stages = (Stage.QUEUED if self._chance(weather.stale) else message.stage for message in found)
        return [bodies.queued(message, stage) for message, stage in zip(found, stages, strict=True)]

    def _listed(self, params: Mapping[str, str]) -> list[Any]:
        words = self._wassenger.listed(datetime.fromisoformat(params["after"]))
        size, page = min(int(params["size"]), self._world.account.most_a_page), int(params["page"])
        return [bodies.inbound(word) for word in words[page * size : (page + 1) * size]]
