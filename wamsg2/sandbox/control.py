"""The endpoints under ``/sandbox``, for staging and tests: look inside, write as a contact, break things.

They ask for no key: a sandbox listens on loopback only.
"""

from dataclasses import asdict
from datetime import UTC, datetime

from aiohttp import web

from wamsg2.sandbox.courier import Courier
from wamsg2.sandbox.faults import Faults
from wamsg2.sandbox.posting import read_json
from wamsg2.sandbox.state import AcceptedMessage, World
from wamsg2.sandbox.validation import E164, Refusal, Schema, check_object, of_type, text
from wamsg2.sandbox.webhooks import Postman
from wamsg2.sandbox.wire import Json, iso

DEVICE = Schema({"online": of_type(bool, "a boolean")}, required=frozenset({"online"}))
INBOUND = Schema(
    {"phone": text(1, 32), "text": text(1, 65536), "at": text(1, 64), "quoted": text(1, 64)},
    required=frozenset({"phone", "text"}),
)


class Control:
    """Inspection and control."""

    def __init__(self, world: World, courier: Courier, postman: Postman) -> None:
        self._world = world
        self._courier = courier
        self._postman = postman

    def routes(self) -> list[web.RouteDef]:
        """Its endpoints."""
        return [
            web.get("/sandbox/messages", self.messages),
            web.get("/sandbox/events", self.events),
            web.post("/sandbox/inbound", self.inbound),
            web.get("/sandbox/faults", self.faults),
            web.put("/sandbox/faults", self.set_faults),
            web.get("/sandbox/device", self.device),
            web.put("/sandbox/device", self.set_device),
            web.post("/sandbox/webhooks/{id}/disable", self.disable_webhook),
        ]

    async def messages(self, _request: web.Request) -> web.Response:
        """Every accepted message in the order of arrival."""
        return web.json_response([_entry(message) for message in self._world.ledger.accepted])

    async def events(self, request: web.Request) -> web.Response:
        """Every delivery in the order of its start; ``?bodies=1`` adds the bodies."""
        with_body = request.query.get("bodies", "0") not in ("", "0", "false")
        return web.json_response([delivery.entry(with_body=with_body) for delivery in self._postman.deliveries])

    async def inbound(self, request: web.Request) -> web.Response:
        """A contact writes: ``{phone, text, at?, quoted?}``; ``at`` is ISO 8601, ``quoted`` a WhatsApp id."""
        body = check_object(await read_json(request), INBOUND)
        if not E164.fullmatch(body["phone"]):
            raise Refusal(400, "phone must be in E.164 format, with +", "phone:invalid")
        at = _time(body["at"]) if "at" in body else None
        message = self._courier.inbound(body["phone"], body["text"], at=at, quoted=body.get("quoted"))
        return web.json_response({"waId": message.wa_id}, status=202)

    async def faults(self, _request: web.Request) -> web.Response:
        """The faults as they are switched."""
        return web.json_response(asdict(self._world.faults))

    async def set_faults(self, request: web.Request) -> web.Response:
        """Switch the faults: those absent from the body are off from now on."""
        body = await read_json(request)
        try:
            self._world.faults = Faults.from_json(body if isinstance(body, dict) else {"": 0})
        except ValueError as error:
            raise Refusal(400, str(error), "faults:invalid") from None
        return web.json_response(asdict(self._world.faults))

    async def device(self, _request: web.Request) -> web.Response:
        """Whether the device has a session."""
        return web.json_response({"online": self._world.online.is_set()})

    async def set_device(self, request: web.Request) -> web.Response:
        """Begin or end the device's session: ``{online}``."""
        body = check_object(await read_json(request), DEVICE)
        self._courier.set_device(online=body["online"])
        return await self.device(request)

    async def disable_webhook(self, request: web.Request) -> web.Response:
        """Deliver to a webhook no more, until ``POST /v1/webhooks/{id}/enable``."""
        webhook = self._postman.find(request.match_info["id"])
        self._postman.disable(webhook)
        return web.json_response(webhook.entity())


def _entry(message: AcceptedMessage) -> Json:
    return {
        "id": message.id,
        "waId": message.wa_id,
        "phone": message.phone,
        "copy_of": message.copy_of,
        "reference": message.reference,
        "message": message.message,
        "priority": message.priority,
        "status": message.status,
        "accepted_at": iso(message.accepted_at),
        "monotonic_seconds": message.monotonic_seconds,
    }


def _time(value: str) -> datetime:
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise Refusal(400, "at is not a time in ISO 8601", "body:invalid") from None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
