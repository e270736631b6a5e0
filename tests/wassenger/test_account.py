"""Whether the device may send and the webhook is registered, as `wamsg2 check` sees it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.site import free_port
from tests.support import payload
from wamsg2.model import Unknown
from wamsg2.wassenger.account import State, WassengerAccount
from wamsg2.wassenger.client import WassengerClient
from wamsg2.wassenger.events import SUBSCRIBED_EVENTS

DEVICE = "68fd1067b488de07029f0001"
PATH = "/webhooks/wassenger"
DAY = timedelta(days=1)
SECRETS = ["older", "s3cret"]


Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def served(handlers: dict[str, Handler]) -> AsyncIterator[WassengerClient]:
    """A client whose provider answers at these paths."""
    app = web.Application()
    for path, handler in handlers.items():
        app.router.add_get(f"/v1{path}", handler)
    async with TestServer(app) as server:
        client = WassengerClient(
            base_url=str(server.make_url("/v1")), api_key="k" * 64, device=DEVICE, timeout_seconds=30
        )
        try:
            yield client
        finally:
            await client.close()


def client_for(path: str, answer: Any, status: int = 200) -> AbstractAsyncContextManager[WassengerClient]:
    """A client whose provider knows only this path."""

    async def respond(_: web.Request) -> web.Response:
        if isinstance(answer, bytes):
            return web.Response(status=status, body=answer, content_type="text/html")
        return web.json_response(answer, status=status)

    return served({path: respond})


async def device(answer: Any, status: int = 200) -> State | Unknown:
    async with client_for(f"/devices/{DEVICE}", answer, status) as client:
        return await WassengerAccount(client, PATH, SECRETS).device()


async def state_of_device(answer: Any) -> State:
    told = await device(answer)
    assert isinstance(told, State)
    return told


async def told_of_webhook(answer: Any, status: int = 200) -> State | Unknown:
    async with client_for("/webhooks", answer, status) as client:
        return await WassengerAccount(client, PATH, SECRETS).webhook()


async def webhook(answer: Any) -> State:
    told = await told_of_webhook(answer)
    assert isinstance(told, State)
    return told


def hook(**changes: Any) -> dict[str, Any]:
    """A registration as it must be."""
    usual = {"url": f"https://example.test{PATH}?secret=s3cret", "events": list(SUBSCRIBED_EVENTS)}
    return payload("get_webhooks.item.reconstructed.json") | usual | changes


# --- the device -------------------------------------------------------------------------------------------------


async def test_a_device_that_is_ready() -> None:
    assert await device(payload("get_devices.item.reconstructed.json")) == State(
        ok=True, detail="operative, session online", retention=DAY
    )


CANNOT_SEND = ("banned", "removed", "disabled", "unpaid", "invalid")
NO_SESSION = (
    *("offline", "timeout", "timeout_sync", "conflict", "blocked", "error", "authorize", "authorizing"),
    *("offline:panel", "offline:modal"),
)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        *(({"status": word, "session": {"status": "online"}}, f"{word}, session online") for word in CANNOT_SEND),
        *(
            ({"status": "operative", "session": {"status": word}}, f"operative, session {word}")
            for word in NO_SESSION
        ),
        ({"status": "disabled"}, "disabled, session unknown"),
        ({"status": "ready", "session": {"status": "offline"}}, "ready, session offline"),
        ({"session": {"status": "timeout"}}, "no status, session timeout"),
        ({"status": "unpaid", "connector": "cloud"}, "unpaid, cloud"),
    ],
)
async def test_a_device_that_cannot_send(answer: Any, detail: str) -> None:
    assert await device(answer) == State(ok=False, detail=detail, retention=DAY)


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ({"status": "ready"}, "ready, session unknown"),
        ({"status": "ready", "session": {"status": "online"}}, "ready, session online"),
        ({"status": "operative", "session": {"status": "connected"}}, "operative, session connected"),
        ({"status": "operative", "session": {"status": "syncing"}}, "operative, session syncing"),
        ({"status": "operative", "session": {"status": "loading"}}, "operative, session loading"),
        ({"status": "verified", "session": {"status": "online"}}, "verified, session online"),
        ({"status": "pending", "connector": "cloud"}, "pending, cloud"),
        ({"session": {"status": "online"}}, "no status, session online"),
    ],
)
async def test_words_that_say_neither_hold_nothing(answer: Any, detail: str) -> None:
    assert await device(answer) == State(ok=None, detail=detail, retention=DAY)


async def test_a_cloud_device_has_no_session() -> None:
    """What stands there of one is left over from another connector."""
    for session in ({}, {"session": None}, {"session": {"status": "offline"}}):
        answer = {"status": "operative", "connector": "cloud", **session}
        assert await device(answer) == State(ok=True, detail="operative, cloud", retention=DAY)


async def test_a_session_that_is_one_word() -> None:
    assert (await state_of_device({"status": "operative", "session": "online"})).ok is True
    assert (await state_of_device({"status": "operative", "session": "offline"})).ok is False


@pytest.mark.parametrize(
    "answer",
    [
        {"message": "No"},
        {"status": 404, "message": "Device not found", "errorCode": "device:notfound"},
        b"<html>404 Not Found</html>",
    ],
)
async def test_a_404_says_nothing(answer: Any) -> None:
    """Any proxy on the way can answer so."""
    told = await device(answer, 404)
    assert isinstance(told, Unknown)
    assert told.reason.startswith("HTTP 404")


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("plan_defaults", DAY),
        ("never", timedelta(0)),
        ("5m", timedelta(minutes=5)),
        ("30m", timedelta(minutes=30)),
        ("1h", timedelta(hours=1)),
        ("24h", DAY),
        ("2d", 2 * DAY),
        ("10d", 10 * DAY),
        ("forever", None),
        ("5", None),
        ("", None),
        (None, None),
        ({}, None),
    ],
)
async def test_how_long_the_device_keeps_messages(policy: Any, kept: timedelta | None) -> None:
    answer = {"status": "operative", "session": {"status": "online"}, "settings": {"retentionPolicy": policy}}
    assert (await state_of_device(answer)).retention == kept


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ({"status": "operative"}, "operative, session unknown"),
        ({"status": "operative", "session": None}, "operative, session unknown"),
        ({}, "no status, session unknown"),
        ([], "no status, session unknown"),
        (b"<html>", "no status, session unknown"),
    ],
)
async def test_an_answer_that_says_nothing_against_the_device(answer: Any, detail: str) -> None:
    assert await device(answer) == Unknown(detail)


@pytest.mark.parametrize("status", [401, 403, 429, 500])
async def test_a_device_that_nobody_tells_of(status: int) -> None:
    """A key without the right to ask may still have the right to send."""
    assert await device({"message": "No"}, status) == Unknown(f"HTTP {status} No")


# --- the webhook ------------------------------------------------------------------------------------------------


async def test_a_webhook_that_is_as_it_must_be() -> None:
    assert await webhook([hook()]) == State(ok=True, detail="registered, active")


async def test_the_webhook_is_found_among_others_and_behind_a_proxys_prefix() -> None:
    others = [hook(url="https://example.test/other"), hook(url=None), None, "x"]
    ours = hook(url=f"https://example.test/wamsg2{PATH}?secret=s3cret")
    assert (await webhook([*others, ours])).ok


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"status": "disabled"}, "registered, disabled"),
        ({"status": None}, "registered, no status"),
        ({"status": "removed"}, "registered, removed"),
        ({"status": "pending"}, "registered, pending"),
        ({"events": ["message:in:new"]}, "without message:out:new or message:out:sent"),
        ({"events": ["message:out:new", "message:out:ack"]}, "without message:in:new"),
        ({"events": []}, "without message:in:new, message:out:new or message:out:sent"),
        ({"events": [{}, 7, None]}, "without message:in:new"),
    ],
)
async def test_a_webhook_that_is_not_as_it_must_be(changes: dict[str, Any], detail: str) -> None:
    state = await webhook([hook(**changes)])
    assert not state.ok
    assert detail in state.detail


@pytest.mark.parametrize(
    "answer", [[], [hook(url="https://example.test/other")], [hook(url=f"https://x.test{PATH}/more?secret=s3cret")]]
)
async def test_no_webhook(answer: Any) -> None:
    state = await webhook(answer)
    assert not state.ok
    assert f"none registered for …{PATH}" in state.detail
    assert all(event in state.detail for event in SUBSCRIBED_EVENTS)


@pytest.mark.parametrize(("answer", "status"), [({}, 200), (b"<html>", 200), ({"message": "No"}, 401), ([], 500)])
async def test_a_webhook_that_nobody_tells_of(answer: Any, status: int) -> None:
    told = await told_of_webhook(answer, status)
    assert isinstance(told, Unknown)
    assert told.reason.startswith(f"HTTP {status}")


async def test_an_old_registration_does_not_hide_a_good_one() -> None:
    assert (await webhook([hook(status="disabled"), hook()])).ok


async def test_an_address_that_is_none_does_not_hide_ours() -> None:
    assert (await webhook([hook(url="http://["), hook()])).ok


async def test_the_secret_in_the_address_is_not_shown() -> None:
    for answer in (
        [hook()],
        [hook(status="disabled")],
        [hook(events=[])],
        [hook(url="https://x.test/?secret=s3cret")],
    ):
        assert "s3cret" not in (await webhook(answer)).detail


@pytest.mark.parametrize(
    ("events", "remark"),
    [
        (None, "; which events it gets is not shown"),
        ("message:in:new", "; which events it gets is not shown"),
        (
            ["message:in:new", "message:out:new"],
            "; without message:out:ack, message:out:failed, message:update, message:reaction, number:session",
        ),
        ([event for event in SUBSCRIBED_EVENTS if event != "message:out:new"], ""),
        ([event for event in SUBSCRIBED_EVENTS if event != "message:out:sent"], ""),
        ([event for event in SUBSCRIBED_EVENTS if event != "message:out:ack"], "; without message:out:ack"),
        ([*SUBSCRIBED_EVENTS, "chat:update"], ""),
    ],
)
async def test_what_a_plan_does_not_have_is_a_remark(events: Any, remark: str) -> None:
    assert await webhook([hook(events=events)]) == State(ok=True, detail=f"registered, active{remark}")


# --- whose webhook is it? ---------------------------------------------------------------------------------------

OURS = f"https://madrid.test{PATH}?secret=s3cret"
STAGING = f"https://staging.test{PATH}?secret=other"
OTHER_DEVICE = "a" * 24


async def test_anothers_webhook_on_the_same_path_is_not_ours() -> None:
    """One of our own that gets nothing is not well because another's is."""
    ours = hook(id="h1", url=OURS, status="failed", device=DEVICE)
    for other in (
        hook(id="h2", url=STAGING, device=OTHER_DEVICE),
        hook(id="h2", url=STAGING),
        hook(id="h2", url=OURS, device=OTHER_DEVICE),
        hook(id="h2", url=OURS, device={"id": OTHER_DEVICE}),
        hook(id="h2", url=f"https://staging.test{PATH}"),
    ):
        for listed in ([ours, other], [other, ours]):
            assert await webhook(listed) == State(ok=False, detail="registered, failed", inactive_id="h1")


@pytest.mark.parametrize("device", [None, DEVICE, DEVICE.upper(), {"id": DEVICE}, {"id": None}, {}])
async def test_a_webhook_for_our_device_or_for_all(device: Any) -> None:
    assert (await webhook([hook(device=device)])).ok


@pytest.mark.parametrize(
    ("hooks", "detail"),
    [
        ([hook(url=STAGING)], f"…{PATH} is registered with another secret"),
        ([hook(url=f"https://x.test{PATH}?secret=")], f"…{PATH} is registered with another secret"),
        ([hook(url=f"https://x.test{PATH}?secret=s3cre")], f"…{PATH} is registered with another secret"),
        ([hook(url=OURS, device=OTHER_DEVICE)], f"…{PATH} is registered for another device only"),
        ([hook(url=STAGING), hook(url=OURS, device=OTHER_DEVICE)], f"…{PATH} is registered with another secret"),
    ],
)
async def test_a_webhook_that_is_not_ours_is_never_enabled(hooks: list[dict[str, Any]], detail: str) -> None:
    for status in ("active", "disabled"):
        listed = [each | {"status": status} for each in hooks]
        assert await webhook(listed) == State(ok=False, detail=detail)


async def test_any_live_secret_is_ours_with_a_plus_read_either_way() -> None:
    assert (await webhook([hook(url=f"https://x.test{PATH}?k=1&secret=older")])).ok
    async with client_for("/webhooks", [hook(url=f"https://x.test{PATH}?secret=a+b")]) as client:
        for secret in ("a+b", "a b"):
            state = await WassengerAccount(client, PATH, [secret]).webhook()
            assert isinstance(state, State)
            assert state.ok
        assert await WassengerAccount(client, PATH, ["a", "b"]).webhook() == State(
            ok=False, detail=f"…{PATH} is registered with another secret"
        )


async def test_a_secret_in_a_header_cannot_be_seen() -> None:
    remark = "cannot see whether it sends the secret"
    silent = f"https://x.test{PATH}"
    assert await webhook([hook(url=silent)]) == State(ok=True, detail=f"registered, active; {remark}")
    assert await webhook([hook(url=silent, id="h1", status="error", retries=7)]) == State(
        ok=False, detail=f"registered, error; {remark}", inactive_id="h1"
    )
    assert await webhook([hook(url=silent), hook(url=STAGING)]) == State(
        ok=True, detail=f"registered, active; {remark}"
    )


async def test_of_several_hosts_without_a_secret_none_is_taken_for_ours() -> None:
    hooks = [hook(id=f"h{n}", url=f"https://{n}.test{PATH}", status="disabled") for n in range(2)]
    assert await webhook(hooks) == State(
        ok=None, detail="registered on several hosts, none with a secret in its address: which is ours?"
    )


# --- deliveries that fail ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "ok", "failures"),
    [
        ({}, True, 0),
        ({"retries": None}, True, 0),
        ({"retries": 4}, True, 4),
        ({"retries": "4"}, True, 4),
        ({"retries": 4, "lastRunAt": "2026-11-22T10:00:00Z", "lastFailureAt": "2026-11-22T09:59:00Z"}, True, 4),
        ({"retries": 0, "lastRunAt": "2026-11-22T10:00:00Z", "lastFailureAt": "2026-11-22T10:00:01Z"}, True, 0),
        ({"retries": 4, "lastRunAt": "2026-11-22T10:00:00Z", "lastFailureAt": "2026-11-22T10:00:01Z"}, False, 4),
    ],
)
async def test_failures_are_shown_before_the_webhook_fails(
    changes: dict[str, Any],
    ok: bool,  # noqa: FBT001 - a column
    failures: int,
) -> None:
    wrong = "" if ok else "; its deliveries fail (4 in a row)"
    assert await webhook([hook(**changes)]) == State(ok=ok, detail=f"registered, active{wrong}", failures=failures)


async def test_more_webhooks_than_a_page_holds() -> None:
    pages = [
        [hook(id=f"h{n}", url="https://x.test/other") for n in range(200)],
        [hook(id=f"h{n}", url="https://x.test/other") for n in range(200, 399)] + [hook(id="ours")],
    ]
    asked = []

    async def respond(request: web.Request) -> web.Response:
        asked.append(dict(request.query))
        page = int(request.query["page"])
        return web.json_response(pages[page] if page < len(pages) else [])

    async with served({"/webhooks": respond}) as client:
        assert await WassengerAccount(client, PATH, SECRETS).webhook() == State(ok=True, detail="registered, active")
        assert asked == [{"size": "200", "page": str(n)} for n in range(3)], "the second was full too"
        pages = [pages[0]] * 99  # a provider that knows no pages
        asked.clear()
        assert not (await WassengerAccount(client, PATH, SECRETS).webhook()).ok  # type: ignore[union-attr] # it answers
        assert len(asked) == 2


# --- a webhook that gets nothing --------------------------------------------------------------------------------


class Hooks:
    """A provider with webhooks that can be enabled, unless it is told to answer otherwise."""

    def __init__(self, *hooks: dict[str, Any], enable_status: int = 200, list_status: int = 200) -> None:
        self.hooks = {hook["id"]: hook for hook in hooks}
        self.enable_status = enable_status
        self.list_status = list_status
        self.requests: list[tuple[str, str]] = []

    async def every(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path))
        return web.json_response(list(self.hooks.values()), status=self.list_status)

    async def enable(self, request: web.Request) -> web.Response:
        self.requests.append((request.method, request.path))
        if self.enable_status == 200:
            self.hooks[request.match_info["id"]]["status"] = "active"
        return web.json_response({"message": "No scope"}, status=self.enable_status)


@asynccontextmanager
async def account_of(hooks: Hooks) -> AsyncIterator[WassengerAccount]:
    app = web.Application()
    app.router.add_get("/v1/webhooks", hooks.every)
    app.router.add_post("/v1/webhooks/{id}/enable", hooks.enable)
    async with TestServer(app) as server:
        client = WassengerClient(
            base_url=str(server.make_url("/v1")), api_key="k" * 64, device=DEVICE, timeout_seconds=30
        )
        try:
            yield WassengerAccount(client, PATH, SECRETS)
        finally:
            await client.close()


async def test_a_webhook_that_can_be_enabled_is_told_apart_from_others_that_are_wrong() -> None:
    """Enabling would not help those."""
    assert await webhook([hook(id="h1", status="disabled")]) == State(
        ok=False, detail="registered, disabled", inactive_id="h1"
    )
    for word in ("failed", "error"):
        assert await webhook([hook(id="h1", status=word)]) == State(
            ok=False, detail=f"registered, {word}", inactive_id="h1"
        )
    for changes in ({"status": "disabled", "events": ["message:in:new"]}, {"status": "paused"}, {"status": None}):
        assert (await webhook([hook(**changes)])).inactive_id is None
    assert (await webhook([hook(id="h1", status="disabled"), hook(id="h2", status="active")])).inactive_id is None
    assert (await webhook([hook(url="https://x.test/other?secret=s3cret", status="disabled")])).inactive_id is None
    incomplete = hook(id="h1", status="active", events=["message:in:new"])
    assert (await webhook([incomplete, hook(id="h2", status="disabled")])).inactive_id == "h2"


async def test_enabling_tells_how_the_webhook_stands_afterwards() -> None:
    hooks = Hooks(hook(id="h1", status="disabled"))
    async with account_of(hooks) as account:
        assert await account.enable_webhook("h1") == State(ok=True, detail="registered, active")
    assert hooks.requests == [("POST", "/v1/webhooks/h1/enable"), ("GET", "/v1/webhooks")]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
async def test_enabling_that_is_refused(status: int) -> None:
    hooks = Hooks(hook(id="h1", status="disabled"), enable_status=status)
    async with account_of(hooks) as account:
        assert await account.enable_webhook("h1") == State(
            ok=False, detail=f"not active, and could not be enabled: HTTP {status} No scope"
        )
    assert hooks.requests == [("POST", "/v1/webhooks/h1/enable")]


async def test_enabled_is_believed_only_when_it_is_seen() -> None:
    hooks = Hooks(hook(id="h1", status="disabled"), enable_status=202)
    async with account_of(hooks) as account:
        assert await account.enable_webhook("h1") == State(ok=False, detail="registered, disabled", inactive_id="h1")
        hooks.list_status = 503
        assert isinstance(await account.enable_webhook("h1"), Unknown)


async def test_nobody_answers_whether_it_is_enabled() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1"
    client = WassengerClient(base_url=nowhere, api_key="k" * 64, device=DEVICE, timeout_seconds=30)
    account = WassengerAccount(client, PATH, SECRETS)
    assert await account.enable_webhook("h1") == Unknown("Connection refused")
    assert await account.device() == await account.webhook() == Unknown("Connection refused")
    await client.close()
