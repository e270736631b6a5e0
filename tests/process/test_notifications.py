"""A daemon that is killed, and a receiver that is not there: the notification arrives all the same, once."""

import base64
from pathlib import Path
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook

from tests.site import free_port, site
from wamsg2.sandbox import SandboxSettings
from wamsg2.sandbox.server import Sandbox

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


async def test_a_kill_while_the_receiver_is_down(tmp_path: Path) -> None:
    port, got = free_port(), []

    async def take(request: web.Request) -> web.Response:
        body = Webhook(SECRET).verify(await request.read(), dict(request.headers))
        got.append((request.headers["webhook-id"], body["type"]))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    receiver = web.AppRunner(app)
    async with (
        Sandbox(SandboxSettings(seed=1)) as sandbox,
        site(
            tmp_path,
            sandbox,
            notifications__url=f'"http://127.0.0.1:{port}/hook?token=t0ken"',
            notifications__secret=f'"{SECRET}"',
            notifications__disk_low_mib=f"{1024**3}",  # no disk is large enough
        ) as made,
    ):
        daemon = await made.start()
        await made.wait_for("SELECT max(attempts) FROM notifications", 1)
        daemon.kill()
        await made.killed(daemon)
        await receiver.setup()
        await web.TCPSite(receiver, "127.0.0.1", port).start()
        report: dict[str, Any] = {}
        for _ in range(2):
            daemon = await made.start()
            await made.wait_for("SELECT count(*) FROM notifications WHERE delivered_at IS NOT NULL", 1)
            report = await made.status()
            assert await made.stop(daemon) == 0
        ((key,),) = await made.rows("SELECT key FROM notifications")
        assert got == [(f"msg_{key}", "wamsg2.disk_low")]
        assert [notice["kind"] for notice in report["notifications"]] == ["disk_low"]
        assert report["deliveries"] == {"waiting": 0, "given_up": 0}
        log = (made.directory / "daemon.log").read_text()
        assert log.count('"event": "notification.raised"') == 1
        assert "/hook" not in log
        assert "t0ken" not in log
    await receiver.cleanup()
