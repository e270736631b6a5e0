"""The account's side of things: can the device send, is our webhook registered, does it get through?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from urllib.parse import parse_qsl, urlsplit

from wamsg2.model import Unknown
from wamsg2.wassenger import signature
from wamsg2.wassenger.client import WassengerClient
from wamsg2.wassenger.events import SUBSCRIBED_EVENTS
from wamsg2.wassenger.fields import JsonObject, first, integer, moment, obj, retention, text

#: Words that say that the device cannot send (OpenAPI, 2026-02). A word that is on no list says nothing.
_DEVICE_CANNOT = frozenset({"banned", "removed", "disabled", "unpaid", "invalid"})
_SESSION_CANNOT = frozenset(
    {
        *("offline", "timeout", "timeout_sync", "conflict", "blocked", "error"),
        *("authorize", "authorizing", "offline:panel", "offline:modal"),
    }
)
_DEVICE_CAN, _SESSION_CAN = "operative", "online"
#: Connector of a device of the WhatsApp Business API, which has no session.
_CLOUD = "cloud"

#: Without it no reply is heard.
_REPLIES = "message:in:new"
#: One of them is needed, to learn WhatsApp's ids of what was sent; which one there is depends on the plan.
_SENT = ("message:out:new", "message:out:sent")
#: Webhooks in these states get nothing, and can be enabled. `disabled` is of an older list.
_CAN_BE_ENABLED = frozenset({"disabled", "failed", "error"})

_PAGE_WEBHOOKS = 200  # the most that a page may have
_MAX_PAGES = 20
_PAGE_LIMIT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Whether it is as it must be, and what was found.

    Attributes:
        ok: None where the answer has words that nobody knows.
        detail: the answer in short.
        inactive_id: the id of our webhook where it is as it must be, but gets nothing until it is enabled.
        failures: how many deliveries to our webhook have failed in a row.
        retention: how long the provider keeps a message that it has processed; None where it did not say.
    """

    ok: bool | None
    detail: str
    inactive_id: str | None = None
    failures: int = 0
    retention: timedelta | None = None


class Account(Protocol):
    """What the watches need of the provider; `Unknown` where it gave no answer that says anything."""

    async def device(self) -> State | Unknown:
        """Whether the device may send."""

    async def webhook(self) -> State | Unknown:
        """Whether our webhook is registered, active, and subscribed to what we need."""

    async def enable_webhook(self, webhook_id: str) -> State | Unknown:
        """Have a webhook delivered to again; whether it is now."""


class WassengerAccount:
    """The account behind a client's key.

    Args:
        client: the client.
        webhook_path: the path at which we take webhooks; a proxy may put its own before it.
        webhook_secrets: those that let a webhook in: they tell our webhook from others with the same path.
    """

    def __init__(self, client: WassengerClient, webhook_path: str, webhook_secrets: Sequence[str]) -> None:
        self._client = client
        self._path = webhook_path
        self._secrets = webhook_secrets

    async def device(self) -> State | Unknown:
        """Only words that are known to mean "cannot send" say so; operative and online say that it can."""
        answer = await self._client.get("/devices/{device}")
        if isinstance(answer, Unknown):
            return answer
        if answer.status != 200:  # a 404 too: any proxy can answer so
            return Unknown(answer.problem())
        device = obj(answer.json)
        status, is_cloud = text(device.get("status")), text(device.get("connector")) == _CLOUD
        session = None if is_cloud else first(device.get("session"), obj(device.get("session")).get("status"))
        detail = f"{status or 'no status'}, {'cloud' if is_cloud else 'session ' + (session or 'unknown')}"
        if status in (None, _DEVICE_CAN) and session is None and not is_cloud:
            return Unknown(detail)  # nothing that is said speaks against it
        return State(
            ok=_can_send(status, session, is_cloud=is_cloud),
            detail=detail,
            retention=retention(obj(device.get("settings")).get("retentionPolicy", "plan_defaults")),
        )

    async def webhook(self) -> State | Unknown:
        """Of several webhooks of ours one that is as it must be is enough; another's is never taken for ours."""
        listed = await self._webhooks()
        if isinstance(listed, Unknown):
            return listed
        alike = [hook for hook in listed if _path_of(hook).endswith(self._path)]
        for_us = [hook for hook in alike if self._is_for_our_device(hook)]
        if ours := [hook for hook in for_us if self._has_our_secret(hook)]:
            return max(map(_state_of, ours), key=lambda state: (state.ok is True, state.inactive_id is not None))
        # A header of its own cannot be seen: such a webhook may be ours.
        if silent := [hook for hook in for_us if not _secrets_in(hook)]:
            return _state_of_silent(silent)
        if for_us:
            return State(ok=False, detail=f"…{self._path} is registered with another secret")
        if alike:
            return State(ok=False, detail=f"…{self._path} is registered for another device only")
        return State(ok=False, detail=f"none registered for …{self._path} (events: {', '.join(SUBSCRIBED_EVENTS)})")

    async def enable_webhook(self, webhook_id: str) -> State | Unknown:
        """`POST /webhooks/{id}/enable`, then look."""
        answer = await self._client.post(f"/webhooks/{webhook_id}/enable")
        if isinstance(answer, Unknown):
            return answer
        if not 200 <= answer.status < 300:
            return State(ok=False, detail=f"not active, and could not be enabled: {answer.problem()}")
        return await self.webhook()

    async def _webhooks(self) -> list[JsonObject] | Unknown:
        found: list[JsonObject] = []
        for page in range(_MAX_PAGES):
            params = {"size": str(_PAGE_WEBHOOKS), "page": str(page)}
            answer = await self._client.get("/webhooks", params, limit_bytes=_PAGE_LIMIT_BYTES)
            if isinstance(answer, Unknown):
                return answer
            if answer.status != 200 or not isinstance(answer.json, list):
                return Unknown(answer.problem())
            listed = [obj(item) for item in answer.json]
            if found[-len(listed) :] == listed:
                break  # no more, or a provider that knows no pages
            found += listed
            if len(listed) < _PAGE_WEBHOOKS:
                break
        return found

    def _is_for_our_device(self, hook: JsonObject) -> bool:
        device = first(hook.get("device"), obj(hook.get("device")).get("id"))
        return device is None or device.lower() == self._client.device

    def _has_our_secret(self, hook: JsonObject) -> bool:
        # A list, not a generator: see `signature.secret_matches`.
        return any([signature.secret_matches(secret, self._secrets) for secret in _secrets_in(hook)])  # noqa: C419


def _can_send(status: str | None, session: str | None, *, is_cloud: bool) -> bool | None:
    """None where a word is unknown, or says neither."""
    if status in _DEVICE_CANNOT or session in _SESSION_CANNOT:
        return False
    return True if status == _DEVICE_CAN and (is_cloud or session == _SESSION_CAN) else None


def _path_of(hook: JsonObject) -> str:
    return _part_of(hook, lambda url: urlsplit(url).path)


def _host_of(hook: JsonObject) -> str:
    return _part_of(hook, lambda url: urlsplit(url).netloc.lower())


def _part_of(hook: JsonObject, part: Callable[[str], str]) -> str:
    try:
        return part(text(hook.get("url")) or "")
    except ValueError:
        return ""


def _secrets_in(hook: JsonObject) -> list[str]:
    """The secrets in the address, with a raw plus as a space and as itself: receivers read it either way."""
    query = _part_of(hook, lambda url: urlsplit(url).query)
    read = parse_qsl(query, keep_blank_values=True) + parse_qsl(query.replace("+", "%2B"), keep_blank_values=True)
    return [value for name, value in read if name == signature.SECRET_QUERY_KEY]


def _state_of_silent(hooks: Sequence[JsonObject]) -> State:
    """How webhooks stand whose addresses have no secret. On several hosts, nobody can tell which of them is ours."""
    if len({_host_of(hook) for hook in hooks}) > 1:
        return State(ok=None, detail="registered on several hosts, none with a secret in its address: which is ours?")
    state = max(map(_state_of, hooks), key=lambda state: (state.ok is True, state.inactive_id is not None))
    remark = "cannot see whether it sends the secret"
    return State(
        ok=state.ok, detail=f"{state.detail}; {remark}", inactive_id=state.inactive_id, failures=state.failures
    )


def _state_of(hook: JsonObject) -> State:
    status, listed = text(hook.get("status")), hook.get("events")
    events = [event for event in listed if isinstance(event, str)] if isinstance(listed, list) else None
    if events is not None and (missing := _missing(events)):
        return State(ok=False, detail=f"registered without {missing}")
    detail = f"registered, {status or 'no status'}{_remark(events)}"
    if status != "active":
        inactive_id = text(hook.get("id")) if status in _CAN_BE_ENABLED else None
        return State(ok=False, detail=detail, inactive_id=inactive_id)
    failures = integer(hook.get("retries")) or 0
    ran_at, failed_at = moment(hook.get("lastRunAt")), moment(hook.get("lastFailureAt"))
    if failures and failed_at and ran_at and failed_at > ran_at:
        return State(ok=False, detail=f"{detail}; {failing(failures)}", failures=failures)
    return State(ok=True, detail=detail, failures=failures)


def failing(failures: int) -> str:
    """What is said of a webhook whose deliveries fail: it will be switched off if they go on failing."""
    return f"its deliveries fail ({failures} in a row)"


def _missing(events: Sequence[str]) -> str:
    """What is not subscribed to and needed; empty where nothing is."""
    missing = [] if _REPLIES in events else [_REPLIES]
    if not any(event in events for event in _SENT):
        missing.append(" or ".join(_SENT))
    return ", ".join(missing)


def _remark(events: Sequence[str] | None) -> str:
    if events is None:
        return "; which events it gets is not shown"
    has_sent = any(event in events for event in _SENT)
    missing = [e for e in SUBSCRIBED_EVENTS if e not in events and not (has_sent and e in _SENT)]
    return f"; without {', '.join(missing)}" if missing else ""
