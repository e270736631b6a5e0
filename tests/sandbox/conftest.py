"""A receiver of webhooks and a client, both real, on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from wamsg2.sandbox import SandboxSettings, WebhookRules
from wamsg2.sandbox.server import Sandbox

PAYLOADS = Path(__file__).parents[1] / "payloads"
PHONE = "+5215600000001"
#: Retries come at once, so that a test of them takes no time.
QUICK = WebhookRules(backoff_seconds=0.001, backoff_max_seconds=0.002, timeout_seconds=1.0, max_attempts=5)

Json = dict[str, Any]
Start = Callable[..., Awaitable[Sandbox]]


def payload(name: str) -> Json:
    """One of the captured payloads."""
    content: Json = json.loads((PAYLOADS / name).read_text())
    return content


def a_message(**changes: object) -> Json:
    """A valid body of ``POST /v1/messages``; a change to ``None`` leaves the property out."""
    body = {"phone": PHONE, "message": "Hello", "device": SandboxSettings().device_id, "reference": "ref-1"}
    return {name: value for name, value in (body | changes).items() if value is not None}


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that nothing announces."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is waited for announces nothing
            await asyncio.sleep(0.001)


@dataclass
class Receiver:
    """Gets the webhooks of a sandbox; ``answer`` decides the status for the n-th request, from 1."""

    url: str = ""
    answer: Callable[[int], int] = lambda _number: 200
    bodies: list[Json] = field(default_factory=list)  #: of events, also of those that came in one array
    rows: list[int] = field(default_factory=list)  #: how many elements each array had
    raws: list[bytes] = field(default_factory=list)
    headers: list[Any] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self, request: web.Request) -> web.Response:
        raw = await request.read()
        self.raws.append(raw)
        body = json.loads(raw)
        self.bodies += body if isinstance(body, list) else [body]
        self.rows += [len(body)] if isinstance(body, list) else []
        self.headers.append(request.headers)
        self.statuses.append(self.answer(len(self.raws)))
        self.arrived.set()
        return web.Response(status=self.statuses[-1])

    def named(self, event: str) -> list[Json]:
        """The bodies of one event."""
        return [body for body in self.bodies if body["event"] == event]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    got = Receiver()
    app = web.Application()
    app.router.add_post("/hook", got.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    got.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield got
    await runner.cleanup()


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a sandbox from the fields of its settings, with quick retries."""
    async with AsyncExitStack() as stack:

        async def run(**settings: Any) -> Sandbox:
            return await stack.enter_async_context(Sandbox(SandboxSettings(**({"webhooks": QUICK} | settings))))

        yield run


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client with the right key."""
    headers = {"Token": SandboxSettings().api_key}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


@pytest.fixture
def post(http: aiohttp.ClientSession) -> Callable[..., Awaitable[Json]]:
    """Posts a message that must be accepted, and returns the answer."""

    async def accepted(sandbox: Sandbox, **changes: object) -> Json:
        async with http.post(f"{sandbox.base_url}/messages", json=a_message(**changes)) as response:
            assert response.status == 201, await response.text()
            answer: Json = await response.json()
            return answer

    return accepted
