"""The endpoints under ``/v1`` but for ``POST /v1/messages``: look-ups, devices and webhooks."""

import time

from aiohttp import web

from wamsg2.sandbox.courier import Courier
from wamsg2.sandbox.posting import bad_gateway, read_json
from wamsg2.sandbox.queries import page_only, select_chat, select_messages
from wamsg2.sandbox.settings import RETENTION_POLICIES
from wamsg2.sandbox.state import AcceptedMessage, World, now
from wamsg2.sandbox.validation import Refusal, check_webhook
from wamsg2.sandbox.webhooks import Postman, Webhook
from wamsg2.sandbox.wire import Device, chat_entity, device_entity, queue_entity


class Lookups:
    """What was accepted, and what stands in the chats."""

    def __init__(self, world: World, courier: Courier, device: Device) -> None:
        self._world = world
        self._courier = courier
        self._device = device

    def routes(self) -> list[web.RouteDef]:
        """Its endpoints."""
        return [
            web.get("/v1/messages", self.messages),
            web.get("/v1/messages/{id}", self.message),
            web.get("/v1/chat/{device}/messages", self.chat),
            web.get("/v1/devices", self.devices),
            web.get("/v1/devices/{device}", self.device),
        ]

    async def messages(self, request: web.Request) -> web.Response:
        """Messages of the queue, an array, newest first; young ones may be missing (``lookup_lag_seconds``)."""
        if self._fails():
            return bad_gateway()
        visible_until = time.monotonic() - self._world.faults.lookup_lag_seconds
        visible = (
            item
            for item in self._world.ledger.accepted
            if item.monotonic_seconds <= visible_until and not self._is_deleted(item)
        )
        return web.json_response([queue_entity(message) for message in select_messages(request, visible)])

    async def message(self, request: web.Request) -> web.Response:
        """One message by its queue id."""
        if self._fails():
            return bad_gateway()
        message = self._world.ledger.find(request.match_info["id"])
        if message is None or self._is_deleted(message):
            raise Refusal(404, "message not found", "message:notfound")
        return web.json_response(queue_entity(message))

    async def chat(self, request: web.Request) -> web.Response:
        """Messages of the chats, both ways, newest first."""
        self._check_device(request)
        found = select_chat(request, self._world.ledger.chat.values())
        return web.json_response(
            [chat_entity(message, self._device, self._courier.shape_of(message)) for message in found]
        )

    async def devices(self, _request: web.Request) -> web.Response:
        """The one device, in an array."""
        return web.json_response([self._device_entity()])

    async def device(self, request: web.Request) -> web.Response:
        """The device by its id."""
        self._check_device(request)
        return web.json_response(self._device_entity())

    def _is_deleted(self, message: AcceptedMessage) -> bool:
        return message.is_deleted(RETENTION_POLICIES[self._device.retention_policy], now())

    def _fails(self) -> bool:
        return self._world.strikes("lookup_error", self._world.ledger.count("lookup"))

    def _device_entity(self) -> dict[str, object]:
        seems_offline = self._world.strikes("device_offline", self._world.ledger.count("device"))
        return device_entity(self._device, is_online=self._world.online.is_set() and not seems_offline)

    def _check_device(self, request: web.Request) -> None:
        if request.match_info["device"] != self._device.id:
            raise Refusal(404, "device not found", "device:notfound")


class Webhooks:
    """The management of webhooks."""

    def __init__(self, postman: Postman, device_id: str) -> None:
        self._postman = postman
        self._device_id = device_id

    def routes(self) -> list[web.RouteDef]:
        """Its endpoints."""
        return [
            web.post("/v1/webhooks", self.create),
            web.get("/v1/webhooks", self.every),
            web.get("/v1/webhooks/{id}", self.one),
            web.patch("/v1/webhooks/{id}", self.change),
            web.delete("/v1/webhooks/{id}", self.delete),
            web.post("/v1/webhooks/{id}/enable", self.enable),
        ]

    async def create(self, request: web.Request) -> web.Response:
        """Register a webhook; 409 if the same one exists."""
        values = check_webhook(await read_json(request), self._device_id, is_new=True)
        webhook = Webhook(**values)  # type: ignore[arg-type] # the schema has seen to the types
        for other in self._postman.webhooks.values():
            if (other.url, set(other.events), other.device) == (webhook.url, set(webhook.events), webhook.device):
                raise Refusal(409, "the same webhook exists", "webhook:exists")
        return web.json_response(self._postman.register(webhook).entity(), status=201)

    async def every(self, request: web.Request) -> web.Response:
        """All webhooks, an array."""
        found = [
            webhook.entity()
            for webhook in self._postman.webhooks.values()
            if webhook.status == request.query.get("status", webhook.status)
        ]
        return web.json_response(page_only(request, found))

    async def one(self, request: web.Request) -> web.Response:
        """One webhook."""
        return web.json_response(self._find(request).entity())

    async def change(self, request: web.Request) -> web.Response:
        """Change some properties of a webhook."""
        webhook = self._find(request)
        values = check_webhook(await read_json(request), self._device_id, is_new=False)
        for name, value in values.items():
            setattr(webhook, name, value)
        return web.json_response(webhook.entity())

    async def delete(self, request: web.Request) -> web.Response:
        """Delete a webhook."""
        self._postman.remove(self._find(request))
        return web.Response(status=204)

    async def enable(self, request: web.Request) -> web.Response:
        """Deliver to a disabled webhook again."""
        webhook = self._find(request)
        self._postman.enable(webhook)
        return web.json_response(webhook.entity())

    def _find(self, request: web.Request) -> Webhook:
        return self._postman.find(request.match_info["id"])
