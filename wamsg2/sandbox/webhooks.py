"""The delivery of events: signed, at least once, with retries, in no promised order."""

import asyncio
import gzip
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import aiohttp

from wamsg2.sandbox.state import Notice, World, new_id, now
from wamsg2.sandbox.validation import EVENTS, Refusal
from wamsg2.sandbox.wire import Json, iso

ACTIVE = "active"
DISABLED = "disabled"
_PIECE_BYTES = 1000


class DeliveryOutcome(StrEnum):
    """What became of one delivery."""

    PENDING = "pending"
    ACKNOWLEDGED = "acknowledged"  #: answered 2xx
    DROPPED = "dropped"  #: lost on purpose (``drop_event``)
    ABANDONED = "abandoned"  #: its webhook was disabled or deleted
    GIVEN_UP = "given_up"  #: no attempt was left


@dataclass(slots=True, kw_only=True)
class Webhook:
    """Where events go."""

    name: str
    url: str
    events: list[str]
    device: str | None = None  #: ``None`` = of every device
    signing_secret: str | None = None
    id: str = field(default_factory=new_id)
    status: str = ACTIVE
    failures: int = 0  #: failed attempts in a row, over all its deliveries

    def entity(self) -> Json:
        """Its JSON, as in ``GET /v1/webhooks``."""
        shown: Json = {"id": self.id, "name": self.name, "url": self.url, "events": self.events}
        return shown | ({"device": self.device} if self.device else {}) | {"status": self.status}


@dataclass(frozen=True, slots=True)
class Event:
    """Something to tell the webhooks."""

    name: str
    phone: str
    subject: str  #: what chance goes by; the same in every run
    body: Json | list[Json]  #: an array tells of several things

    @property
    def elements(self) -> list[Json]:
        """All that it tells of."""
        return self.body if isinstance(self.body, list) else [self.body]


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One event on its way to one webhook; a duplicate is a delivery of its own, with the same bytes."""

    webhook_id: str
    event: Event
    raw: bytes  #: the request's body
    created_at: datetime
    outcome: DeliveryOutcome = DeliveryOutcome.PENDING
    answers: list[int | str] = field(default_factory=list)  #: of each attempt: a status, or the name of an error
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_acknowledged(self) -> bool:
        """Whether the receiver answered 2xx."""
        return self.outcome is DeliveryOutcome.ACKNOWLEDGED

    @property
    def attempts(self) -> int:
        """How often it was tried."""
        return len(self.answers)

    def entry(self, *, with_body: bool) -> Json:
        """Its line in the log."""
        line: Json = {
            "event": self.event.name,
            "id": self.event.elements[0].get("id", self.event.elements[0].get("entityId")),
            "elements": len(self.event.elements),
            "phone": self.event.phone,
            "webhook": self.webhook_id,
            "created_at": iso(self.created_at),
            "outcome": self.outcome,
            "attempts": self.attempts,
            "answers": self.answers,
        }
        return line | ({"body": self.event.body} if with_body else {})


def signature_of(raw: bytes, secret: str) -> str:
    """The value of ``X-Wassenger-Signature`` for these bytes."""
    return f"sha256={hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()}"


async def _pieces(raw: bytes) -> AsyncIterator[bytes]:
    """A body whose length nobody tells."""
    for start in range(0, len(raw), _PIECE_BYTES):
        yield raw[start : start + _PIECE_BYTES]


class Postman:
    """Keeps the webhooks and brings them their events.

    What happens while a webhook is disabled is lost to it, and so are the deliveries that were being retried: the
    vendor promises nothing better.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._rules = world.settings.webhooks
        self._gate = asyncio.Semaphore(self._rules.concurrency)
        self._session: aiohttp.ClientSession | None = None
        self.webhooks: dict[str, Webhook] = {}
        self.deliveries: list[Delivery] = []

    async def open(self) -> None:
        """Be ready to deliver."""
        # A fresh connection each time: a receiver that restarts then costs one retry, not a stale connection's too.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            timeout=aiohttp.ClientTimeout(total=self._rules.timeout_seconds),
        )

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()

    def register(self, webhook: Webhook) -> Webhook:
        """Add a webhook, signed with the sandbox's own secret where it has none."""
        webhook.signing_secret = webhook.signing_secret or self._world.settings.signing_secret
        self.webhooks[webhook.id] = webhook
        return webhook

    def register_url(self, url: str, signing_secret: str | None = None) -> Webhook:
        """Add a webhook for every event."""
        return self.register(Webhook(name="Sandbox", url=url, events=sorted(EVENTS), signing_secret=signing_secret))

    def find(self, webhook_id: str) -> Webhook:
        """The webhook with this id, or a ``Refusal``."""
        webhook = self.webhooks.get(webhook_id)
        if webhook is None:
            raise Refusal(404, "webhook not found", "webhook:notfound")
        return webhook

    def enable(self, webhook: Webhook) -> None:
        """Deliver to it again."""
        webhook.status, webhook.failures = ACTIVE, 0

    def disable(self, webhook: Webhook) -> None:
        """Deliver nothing to it any more, as after too many failures."""
        webhook.status = DISABLED

    def remove(self, webhook: Webhook) -> None:
        """Forget a webhook; what was on its way there is abandoned."""
        self.disable(webhook)
        del self.webhooks[webhook.id]

    def emit(self, event: Event) -> list[Delivery]:
        """Start the deliveries of an event to every webhook that asked for it."""
        raw = json.dumps(event.body, ensure_ascii=False, separators=(",", ":")).encode()
        copies = 2 if self._world.strikes("duplicate_event", event.subject) else 1
        started = []
        for webhook in self.webhooks.values():
            if event.name not in webhook.events:
                continue
            for copy in range(copies):
                delivery = Delivery(webhook_id=webhook.id, event=event, raw=raw, created_at=now())
                started.append(delivery)
                self._start(delivery, webhook, copy)
        self.deliveries += started
        return started

    def _start(self, delivery: Delivery, webhook: Webhook, copy: int) -> None:
        subject = (delivery.event.subject, copy)
        if webhook.status != ACTIVE:
            self._finish(delivery, DeliveryOutcome.ABANDONED)
        elif self._world.strikes("drop_event", *subject):
            self._finish(delivery, DeliveryOutcome.DROPPED)
        else:
            is_held_back = self._world.strikes("reorder_event", *subject)
            window = (0.0, self._world.faults.reorder_window_seconds if is_held_back else 0.0)
            held_seconds = self._world.dice.between_seconds(window, "held back", *subject)
            self._world.tasks.spawn(self._deliver(delivery, webhook, held_seconds))

    async def _deliver(self, delivery: Delivery, webhook: Webhook, held_seconds: float) -> None:
        await asyncio.sleep(held_seconds)
        backoff_seconds = self._rules.backoff_seconds
        while delivery.attempts < self._rules.max_attempts:
            async with self._gate:
                if webhook.status != ACTIVE:
                    self._finish(delivery, DeliveryOutcome.ABANDONED)
                    return
                answer = await self._attempt(delivery, webhook)
            delivery.answers.append(answer)
            if isinstance(answer, int) and 200 <= answer < 300:
                webhook.failures = 0
                self._finish(delivery, DeliveryOutcome.ACKNOWLEDGED)
                return
            self._note_failure(webhook)
            await asyncio.sleep(backoff_seconds)
            backoff_seconds = min(backoff_seconds * 2, self._rules.backoff_max_seconds)
        self._finish(delivery, DeliveryOutcome.GIVEN_UP)

    async def _attempt(self, delivery: Delivery, webhook: Webhook) -> int | str:
        if self._session is None:
            raise RuntimeError("the sandbox is not open")
        headers = {"Content-Type": "application/json"}
        subject, strikes = (delivery.event.subject, delivery.attempts), self._world.strikes
        if webhook.signing_secret:
            signature = signature_of(delivery.raw, webhook.signing_secret)
            is_bare = strikes("bare_signature", *subject)
            headers["X-Wassenger-Signature"] = signature.removeprefix("sha256=") if is_bare else signature
        raw = delivery.raw
        if strikes("gzip_body", *subject):
            raw, headers["Content-Encoding"] = gzip.compress(raw), "gzip"
        data = _pieces(raw) if strikes("chunked_body", *subject) else raw
        try:
            async with self._session.post(webhook.url, data=data, headers=headers, allow_redirects=False) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__

    def _note_failure(self, webhook: Webhook) -> None:
        webhook.failures += 1
        if self._rules.disable_after and webhook.failures >= self._rules.disable_after:
            self.disable(webhook)

    def _finish(self, delivery: Delivery, outcome: DeliveryOutcome) -> None:
        delivery.outcome = outcome
        delivery.finished.set()
        last = f" after {delivery.attempts} attempts" if delivery.attempts > 1 else ""
        self._world.watch(Notice("webhook", delivery.event.phone, f"{delivery.event.name} {outcome}{last}"))
