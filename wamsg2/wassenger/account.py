"""The account's side of things: is the device online, is the webhook registered?"""

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from wamsg2.model import Unknown
from wamsg2.wassenger.client import WassengerClient
from wamsg2.wassenger.events import SUBSCRIBED_EVENTS
from wamsg2.wassenger.fields import Json, JsonObject, obj, text

#: Without these there is no reply and no receipt; the others only help.
_NEEDED_EVENTS = ("message:in:new", "message:out:sent", "message:out:ack", "message:out:failed")


@dataclass(frozen=True, slots=True)
class State:
    """Whether it is as it must be, and what was found.

    `disabled_id` is the id of a webhook that is as it must be, but for having been disabled.
    """

    ok: bool
    detail: str
    disabled_id: str | None = None


class Account(Protocol):
    """What the watches need of the provider; `Unknown` where it gave no answer that says anything."""

    async def device(self) -> State | Unknown:
        """Whether the device may send."""

    async def webhook(self) -> State | Unknown:
        """Whether our webhook is registered, active, and subscribed to what we need."""

    async def enable_webhook(self, webhook_id: str) -> State | Unknown:
        """Have a disabled webhook delivered to again; whether it is now."""


class WassengerAccount:
    """The account behind a client's key.

    Args:
        client: the client.
        webhook_path: the path at which we take webhooks; a proxy may put its own before it.
    """

    def __init__(self, client: WassengerClient, webhook_path: str) -> None:
        self._client = client
        self._path = webhook_path

    async def device(self) -> State | Unknown:
        """Operative, and its session online: the vendor's own test of readiness."""
        answer = await self._client.get("/devices/{device}")
        if isinstance(answer, Unknown):
            return answer
        if answer.status == 404:
            return State(ok=False, detail=answer.problem())
        if answer.status != 200:
            return Unknown(answer.problem())
        device = obj(answer.json)
        status, session = text(device.get("status")), text(obj(device.get("session")).get("status"))
        detail = f"{status or 'no status'}, session {session or 'unknown'}"
        if status in (None, "operative") and session is None:
            return Unknown(detail)  # nothing that is said speaks against it
        return State(ok=status == "operative" and session == "online", detail=detail)

    async def webhook(self) -> State | Unknown:
        """Of several webhooks for our path one that is as it must be is enough."""
        answer = await self._client.get("/webhooks", {"size": "100"})
        if isinstance(answer, Unknown):
            return answer
        if answer.status != 200 or not isinstance(answer.json, list):
            return Unknown(answer.problem())
        ours = [hook for hook in map(obj, answer.json) if _path_of(hook).endswith(self._path)]
        if not ours:
            wanted = ", ".join(SUBSCRIBED_EVENTS)
            return State(ok=False, detail=f"none registered for …{self._path} (events: {wanted})")
        states = [_state_of(hook) for hook in ours]
        return max(states, key=lambda state: (state.ok, state.disabled_id is not None))

    async def enable_webhook(self, webhook_id: str) -> State | Unknown:
        """`POST /webhooks/{id}/enable`, then look."""
        answer = await self._client.post(f"/webhooks/{webhook_id}/enable")
        if isinstance(answer, Unknown):
            return answer
        if not 200 <= answer.status < 300:
            return State(ok=False, detail=f"disabled, and could not be enabled: {answer.problem()}")
        return await self.webhook()


def _path_of(hook: JsonObject) -> str:
    try:
        return urlsplit(text(hook.get("url")) or "").path
    except ValueError:
        return ""


def _state_of(hook: JsonObject) -> State:
    status, listed = text(hook.get("status")), hook.get("events")
    events: list[Json] = listed if isinstance(listed, list) else []
    if missing := [event for event in _NEEDED_EVENTS if event not in events]:
        return State(ok=False, detail=f"registered without {', '.join(missing)}")
    disabled_id = text(hook.get("id")) if status == "disabled" else None
    return State(status == "active", f"registered, {status or 'no status'}", disabled_id)
