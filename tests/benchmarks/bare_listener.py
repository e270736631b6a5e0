"""The baseline of everything that listens, as a process: aiohttp, the same HMAC, `json.loads`, and nothing more.

    python -m tests.benchmarks.bare_listener KEY FAR_END

prints ``{"port": N}`` and serves until it is killed. ``POST /webhooks/wassenger`` is the baseline of a webhook,
``POST /answered`` of a reply that is answered two seconds later by a request to the far end, ``GET /bytes/N`` of a
report of N bytes.
"""

import asyncio
import hashlib
import hmac
import json
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from tests.benchmarks import children
from wamsg2.wassenger.signature import SIGNATURE_HEADER

#: As the daemon is told to wait before it answers a reply.
DELAY_SECONDS = 2.0


class _Bare:
    def __init__(self, key: bytes, far_end: str) -> None:
        self._key = key
        self._far_end = far_end
        self._answers: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/webhooks/wassenger", self.receive)
        app.router.add_post("/answered", self.receive_and_answer)
        app.router.add_get("/bytes/{count}", self.report)
        return app

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        signature = "sha256=" + hmac.new(self._key, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, request.headers[SIGNATURE_HEADER]):
            return web.json_response({}, status=401)
        json.loads(body)
        return web.json_response({"status": "accepted"})

    async def receive_and_answer(self, request: web.Request) -> web.Response:
        phone = json.loads(await request.read())["data"]["fromNumber"]
        task = asyncio.create_task(self._answer(phone))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)
        return web.json_response({"status": "accepted"})

    async def _answer(self, phone: str) -> None:
        await asyncio.sleep(DELAY_SECONDS)
        message = {"phone": phone, "message": "More", "reference": phone, "priority": "high"}
        async with aiohttp.ClientSession() as session:
            await session.post(f"{self._far_end}/messages", json=message)

    async def report(self, request: web.Request) -> web.Response:
        return web.Response(body=b"x" * int(request.match_info["count"]), content_type="application/json")


async def _serve(key: bytes, far_end: str) -> None:
    runner = web.AppRunner(_Bare(key, far_end).application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
    children.answer({"port": runner.addresses[0][1]})
    await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class BareListener:
    """The running process."""

    process: Process
    port: int


@asynccontextmanager
async def running(signing_key: str, far_end: str) -> AsyncIterator[BareListener]:
    """A bare listener of one's own."""
    async with children.child("tests.benchmarks.bare_listener", signing_key, far_end) as process:
        yield BareListener(process, (await children.told(process))["port"])


if __name__ == "__main__":
    children.run(_serve(sys.argv[1].encode(), sys.argv[2]))
