"""The baseline, as a process: a bare aiohttp handler that checks the same HMAC and parses the same JSON.

python -m tests.benchmarks.bare PORT KEY
"""

import asyncio
import hashlib
import hmac
import json
import sys

from aiohttp import web

from wamsg2.cli import common


async def serve(port: int, key: bytes) -> None:
    """Serve until killed."""

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        signature = "sha256=" + hmac.new(key, body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, request.headers["X-Wassenger-Signature"]):
            return web.json_response({}, status=401)
        json.loads(body)
        return web.json_response({"status": "accepted"})

    app = web.Application()
    app.router.add_post("/webhooks/wassenger", receive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    common.run_async(serve(int(sys.argv[1]), sys.argv[2].encode()))
