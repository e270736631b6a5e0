"""The local listener."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from wamsg2.model import MessageStatus
from wamsg2.web.admin import AdminListener

Client = TestClient[Request, Application]
COUNTS = {status.value: 0 for status in MessageStatus}
REPORT: dict[str, Any] = {
    "status": "degraded",
    "version": "0",
    "uptime_seconds": 12.5,
    "sender": {"state": "held", "reason": "HTTP 402", "rate_limit_seconds": 1.0, "last_send_at": None},
    "queue": {
        "message_1": 3,
        "message_2": 1,
        "sending": 0,
        "uncertain": 2,
        "oldest_due_seconds": 0.5,
        "eta_seconds": 4,
    },
    "webhooks": {"received": 7, "duplicates": 1, "refused": 2, "unmatched": 3, "last_received_at": None},
    "campaigns": [{"name": 'sp"ring', "message_1": COUNTS | {"sent": 5}, "message_2": COUNTS}],
}


async def start(token: str = "") -> Client:
    async def report() -> dict[str, Any]:
        return REPORT

    client: Client = TestClient(TestServer(AdminListener(report=report, token=token).application()))
    await client.start_server()
    return client


async def test_status_api_and_health() -> None:
    client = await start()
    async with client.get("/status") as response:
        assert await response.json() == REPORT
    async with client.get("/api/campaigns") as response:
        assert await response.json() == REPORT["campaigns"]
    async with client.get("/api/campaigns/sp%22ring") as response:
        assert await response.json() == REPORT["campaigns"][0]
    async with client.get("/api/campaigns/none") as response:
        assert response.status == 404
    async with client.get("/healthz") as response:
        assert response.status == 200
    await client.close()


async def test_metrics_are_prometheus_text() -> None:
    client = await start()
    async with client.get("/metrics") as response:
        assert response.content_type == "text/plain"
        lines = (await response.text()).splitlines()
    await client.close()
    assert 'wamsg2_messages{campaign="sp\\"ring",status="sent",step="1"} 5.0' in lines
    assert 'wamsg2_webhooks_total{result="refused"} 2.0' in lines
    assert 'wamsg2_status{status="degraded"} 1.0' in lines
    assert "wamsg2_sending_held 1.0" in lines


async def test_the_page_fetches_and_holds_no_data() -> None:
    client = await start("token")
    async with client.get("/") as response:
        assert response.status == 200
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert "sp" + '"ring' not in await response.text()
    await client.close()


@pytest.mark.parametrize("path", ["/status", "/metrics", "/api/campaigns", "/api/campaigns/x", "/nothing"])
async def test_a_token_guards_all_data(path: str) -> None:
    client = await start("t0ken")
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Bearer t\u00f6ken"}):
        async with client.get(path, headers=headers) as response:
            assert response.status == 401
    async with client.get(path, headers={"Authorization": "Bearer t0ken"}) as response:
        assert response.status != 401
    async with client.get("/healthz") as response:
        assert response.status == 200
    await client.close()
