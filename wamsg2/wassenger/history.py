"""What the provider remembers of events whose webhooks may never have come, as those events."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from wamsg2.model import Absent, Event, InboundMessage, ReceiptStatus, Unknown
from wamsg2.wassenger.client import WassengerClient
from wamsg2.wassenger.events import parse
from wamsg2.wassenger.fields import JsonObject, message_id, moment, obj
from wamsg2.wassenger.progress import progress

_PAGE_MESSAGES = 50
_PAGE_LIMIT_BYTES = 4 * 1024 * 1024
_EVENT_OF = {
    ReceiptStatus.SENT: "message:out:sent",
    ReceiptStatus.DELIVERED: "message:out:ack",
    ReceiptStatus.READ: "message:out:ack",
    ReceiptStatus.FAILED: "message:out:failed",
}


@dataclass(frozen=True, slots=True)
class Page:
    """Some of what was asked for: the ids of all that it lists, those that are replies, the time of the newest.

    The time is the provider's. How many a page holds is its affair too: one without ids is behind the last.
    """

    ids: Sequence[str]
    events: Sequence[Event]
    newest_at: datetime | None


class History(Protocol):
    """What the catch-up needs of the provider."""

    async def inbound(self, since: datetime, page: int) -> Page | Unknown:
        """Messages that people wrote to us since then, as their webhooks would have told; pages count from 0."""

    async def report(self, reference: str) -> Event | Absent | Unknown:
        """How far the message with our reference got, as its webhook would have told."""


class WassengerHistory:
    """The history behind a client's key."""

    def __init__(self, client: WassengerClient) -> None:
        self._client = client

    async def inbound(self, since: datetime, page: int) -> Page | Unknown:
        """`GET /chat/{device}/messages`, the newest first: what comes in meanwhile repeats some, and hides none."""
        params = {
            "flow": "inbound",
            "after": since.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "size": str(_PAGE_MESSAGES),
            "page": str(page),
        }
        answer = await self._client.get("/chat/{device}/messages", params, limit_bytes=_PAGE_LIMIT_BYTES)
        if isinstance(answer, Unknown):
            return answer
        if answer.status != 200 or not isinstance(answer.json, list):
            return Unknown(answer.problem())
        entities = [obj(item) for item in answer.json]
        times = [at for entity in entities if (at := moment(entity.get("timestamp"), entity.get("date")))]
        # Without an id the same message would be a new one at every look.
        known = {found: entity for entity in entities if (found := message_id(entity.get("id")))}
        events = [_event("message:in:new", entity) for entity in reversed(known.values())]
        replies = [event for event in events if _is_reply_since(event, since)]
        return Page(tuple(known), replies, max(times, default=None))

    async def report(self, reference: str) -> Event | Absent | Unknown:
        """`GET /messages?reference=`."""
        entity = await self._client.entity(reference)
        if isinstance(entity, Absent | Unknown):
            return entity
        return _event(_EVENT_OF[progress(entity).status or ReceiptStatus.SENT], entity)


def _is_reply_since(event: Event, since: datetime) -> bool:
    """What is older was taken in or left out before, and its raw event may be gone: it would be a new one."""
    content = event.content
    return isinstance(content, InboundMessage) and (content.written_at is None or content.written_at >= since)


def _event(name: str, entity: JsonObject) -> Event:
    return parse(json.dumps({"object": "message", "event": name, "data": entity}, separators=(",", ":")).encode())
