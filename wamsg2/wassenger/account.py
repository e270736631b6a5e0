"""The account's side of things: is the device online, is the webhook registered?"""

from dataclasses import dataclass
from urllib.parse import urlsplit

from wamsg2.wassenger.client import WassengerClient
from wamsg2.wassenger.events import SUBSCRIBED_EVENTS
from wamsg2.wassenger.fields import Json, JsonObject, obj, text

#: Without these there is no reply and no receipt; the others only help.
_NEEDED_EVENTS = ("message:in:new", "message:out:sent", "message:out:ack", "message:out:failed")


@dataclass(frozen=True, slots=True)
class State:
    """Whether it is as it must be, and what was found."""

    ok: bool
    detail: str


async def device_state(client: WassengerClient) -> State:
    """Whether the device may send: operative, and its session online (the vendor's own test of readiness)."""
    answer = await client.device()
    if answer.status != 200:
        return State(ok=False, detail=answer.problem())
    device = obj(answer.json)
    status, session = text(device.get("status")), text(obj(device.get("session")).get("status"))
    ready = status == "operative" and session == "online"
    return State(ok=ready, detail=f"{status or 'no status'}, session {session or 'unknown'}")


async def webhook_state(client: WassengerClient, path: str) -> State:
    """Whether a webhook for our path is registered, active, and subscribed to what we need."""
    answer = await client.get("/webhooks", {"size": "100"})
    if answer.status != 200 or not isinstance(answer.json, list):
        return State(ok=False, detail=answer.problem())
    ours = [hook for hook in map(obj, answer.json) if _path_of(hook).endswith(path)]
    if not ours:
        wanted = ", ".join(SUBSCRIBED_EVENTS)
        return State(ok=False, detail=f"none registered for …{path} (events: {wanted})")
    states = [_state_of(hook) for hook in ours]
    return next((state for state in states if state.ok), states[0])


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
    return State(ok=status == "active", detail=f"registered, {status or 'no status'}")
