"""The sandbox as a whole: every part built, and a server that listens."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Self

from aiohttp import web

from wamsg2.sandbox.api import Lookups, Webhooks
from wamsg2.sandbox.control import Control
from wamsg2.sandbox.courier import Courier
from wamsg2.sandbox.dice import Dice
from wamsg2.sandbox.faults import Faults
from wamsg2.sandbox.posting import Posting
from wamsg2.sandbox.settings import SandboxSettings
from wamsg2.sandbox.state import AcceptedMessage, Ledger, Notice, Watcher, World
from wamsg2.sandbox.validation import Refusal
from wamsg2.sandbox.webhooks import Delivery, Event, Postman
from wamsg2.sandbox.wire import Device, Json, error_body

#: How long a closing server waits for requests that are being answered; held ones are meant to be cut.
SHUTDOWN_SECONDS = 0.1

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _watch_nothing(_notice: Notice) -> None:
    """Nobody watches."""


class Sandbox:
    """A Wassenger of one's own: ``async with Sandbox(settings) as sandbox: … sandbox.base_url``."""

    def __init__(self, settings: SandboxSettings | None = None, *, watch: Watcher = _watch_nothing) -> None:
        self.settings = settings = settings or SandboxSettings()
        self._world = World(settings, settings.faults, Dice(settings.seed), watch)
        self._device = Device(settings.device_id, settings.device_phone, settings.retention_policy)
        self._postman = Postman(self._world)
        self._courier = Courier(self._world, self._postman, self._device)
        # A client that hangs up ends its handler, so that a held request is not held for nobody.
        self._runner = web.AppRunner(
            self._app(), handler_cancellation=True, shutdown_timeout=SHUTDOWN_SECONDS, access_log=None
        )
        self._port = settings.port

    async def __aenter__(self) -> Self:
        await self._postman.open()
        try:
            await self._runner.setup()
            site = web.TCPSite(self._runner, self.settings.host, self.settings.port)
            await site.start()
        except BaseException:
            await self.close()
            raise
        self._port = int(self._runner.addresses[0][1])
        if self.settings.webhook_url:
            self.register_webhook(self.settings.webhook_url)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening and drop what is under way; a second time does no harm."""
        await self._runner.cleanup()
        await self._world.tasks.close()
        await self._postman.close()

    @property
    def root_url(self) -> str:
        """Where the control endpoints are: ``http://127.0.0.1:PORT``, with ``/sandbox/…`` below."""
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"http://{host}:{self._port}"

    @property
    def base_url(self) -> str:
        """What a client of Wassenger takes for its base URL: ``http://127.0.0.1:PORT/v1``."""
        return f"{self.root_url}/v1"

    @property
    def accepted(self) -> list[AcceptedMessage]:
        """Every accepted message in the order of arrival: the truth about what was sent."""
        return self._world.ledger.accepted

    @property
    def deliveries(self) -> list[Delivery]:
        """Every delivery of an event to a webhook in the order of its start."""
        return self._postman.deliveries

    @property
    def ledger(self) -> Ledger:
        """Everything the sandbox remembers, chats included."""
        return self._world.ledger

    @property
    def faults(self) -> Faults:
        """The faults as they are switched; assign to switch them."""
        return self._world.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._world.faults = faults

    def register_webhook(self, url: str, signing_secret: str | None = None) -> str:
        """Deliver every event to ``url`` from now on; returns the webhook's id."""
        return self._postman.register_url(url, signing_secret).id

    def enable_webhook(self, webhook_id: str) -> None:
        """Deliver to a disabled webhook again."""
        self._postman.enable(self._postman.webhooks[webhook_id])

    def disable_webhook(self, webhook_id: str) -> None:
        """Deliver to a webhook no more until it is enabled; what happens meanwhile is lost to it."""
        self._postman.disable(self._postman.webhooks[webhook_id])

    def webhook_status(self, webhook_id: str) -> str:
        """``active`` or ``disabled``."""
        return self._postman.webhooks[webhook_id].status

    async def inbound(
        self,
        phone: str,
        text: str | None,
        *,
        at: datetime | None = None,
        quoted: str | None = None,
        wa_id: str | None = None,
        kind: str = "text",
    ) -> str:
        """A contact writes now: emits ``message:in:new`` and returns its WhatsApp id, without awaiting delivery.

        ``phone`` is E.164 with ``+``; ``at`` an aware time, now by default; ``quoted`` the WhatsApp id of the
        message that this one answers; ``kind`` its type, as ``call_log``.
        """
        at = at.astimezone(UTC) if at else None
        return self._courier.inbound(phone, text, at=at, quoted=quoted, wa_id=wa_id, kind=kind).wa_id

    async def edit(self, wa_id: str, text: str) -> None:
        """A contact changes what they wrote under this WhatsApp id: emits ``message:update``."""
        self._courier.edit(wa_id, text)

    async def react(self, phone: str, emoji: str, wa_id: str) -> None:
        """A contact reacts now to the message with this WhatsApp id: emits ``message:reaction``."""
        self._courier.react(phone, emoji, wa_id)

    def set_device(self, *, online: bool) -> None:
        """Begin or end the device's session: emits ``number:session``; without one, messages stay queued."""
        self._courier.set_device(online=online)

    async def emit(self, body: Json | list[Json]) -> list[Delivery]:
        """Deliver a body of one's own making to the webhooks subscribed to its ``event``, or its first element's."""
        name = str((body[0] if isinstance(body, list) else body)["event"])
        return self._postman.emit(Event(name, "", f"{name}/{self.ledger.count('emit')}", body))

    async def settle(self, *, timeout_seconds: float = 30.0) -> None:
        """Wait until no message, reply or delivery is under way; ``TimeoutError`` if that takes too long.

        A message that waits for an offline device is under way.
        """
        async with asyncio.timeout(timeout_seconds):
            await self._world.tasks.idle()

    def _app(self) -> web.Application:
        app = web.Application(middlewares=[self._answer_errors, self._check_key])
        posting = Posting(self._world, self._courier, self._device.id)
        app.add_routes(
            [
                web.post("/v1/messages", posting.post),
                *Lookups(self._world, self._courier, self._device).routes(),
                *Webhooks(self._postman, self._device.id).routes(),
                *Control(self._world, self._courier, self._postman).routes(),
            ]
        )
        return app

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refusal as refusal:
            return web.json_response(refusal.body, status=refusal.status)
        except web.HTTPError as error:
            return web.json_response(error_body(error.status, error.reason, "request:invalid"), status=error.status)

    @web.middleware
    async def _check_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v1/"):
            given = (
                request.headers.get("Token")
                or request.headers.get("Authorization", "").removeprefix("Bearer ")
                or request.query.get("token", "")
            )
            if not hmac.compare_digest(given.encode(), self.settings.api_key.encode()):
                raise Refusal(401, "invalid API key", "auth:invalid")
        return await handler(request)
