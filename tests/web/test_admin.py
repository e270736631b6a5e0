"""The local listener."""

import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from tests.support import START, house
from wamsg2 import status
from wamsg2.model import MessageStatus
from wamsg2.status import DaemonFacts
from wamsg2.web.admin import AdminListener

Client = TestClient[Request, Application]
COUNTS = {each.value: 0 for each in MessageStatus}
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
    "problems": ["sending is held: HTTP 402"],
    "webhooks": {
        "received": 7,
        "duplicates": 1,
        "refused": 2,
        "unmatched": 3,
        "last_received_at": None,
        "found_by_catch_up": 4,
        "unknown_words": 2,
    },
    "watch": {
        "device": {"ok": False, "detail": "operative, session offline", "checked_at": None},
        "webhook": {"ok": True, "detail": "registered, active", "checked_at": None},
        "catch_up": {"last_at": None, "problem": None},
    },
    "deliveries": {"waiting": 2, "given_up": 1},
    "campaigns": [{"name": 'sp"ring', "message_1": COUNTS | {"sent": 5}, "message_2": COUNTS}],
}


async def start(token: str = "", shown: dict[str, Any] = REPORT) -> Client:
    async def report() -> dict[str, Any]:
        return shown

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
    assert "wamsg2_caught_up_total 4.0" in lines
    assert "wamsg2_unknown_words_total 2.0" in lines
    assert [line for line in lines if line.startswith("wamsg2_watch_ok")] == [
        'wamsg2_watch_ok{what="device"} 0.0',
        'wamsg2_watch_ok{what="webhook"} 1.0',
    ]


@pytest.mark.parametrize("finding", [None, {"ok": None, "detail": "no answer: HTTP 503", "checked_at": None}])
async def test_what_nobody_knows_is_no_metric(finding: dict[str, Any] | None) -> None:
    """A 0 would wake somebody at night for a key that may not ask."""
    unknown = {"device": finding, "webhook": finding, "catch_up": {"last_at": None, "problem": None}}
    client = await start(shown=REPORT | {"watch": unknown})
    async with client.get("/metrics") as response:
        assert response.status == 200
        assert "wamsg2_watch_ok{" not in await response.text()
    await client.close()


async def test_health_is_only_about_the_disk() -> None:
    for said, expected in (("ok", 200), ("degraded", 200), ("failing", 503)):
        client = await start(shown=REPORT | {"status": said})
        async with client.get("/healthz") as response:
            assert response.status == expected
        await client.close()


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


async def test_the_page_shows_only_what_a_report_has(tmp_path: Path) -> None:
    """Every `s.part.name` of its script stands in a report as the daemon gives it."""
    async with house(tmp_path) as home:
        await home.campaign("+34600000001")
        report = await status.report(
            home.store, DaemonFacts(1.0, None, 0, None, 0), now=START, policy=home.policy, rate_limit_seconds=1.0
        )
    client = await start(shown=report)
    async with client.get("/") as response:
        page = await response.text()
    async with client.get("/metrics") as response:
        assert response.status == 200
    await client.close()
    paths = set(re.findall(r"\bs\.(\w+(?:\??\.\w+)*)", page))
    assert {path.split(".")[0] for path in paths} >= {"problems", "watch", "sender", "queue", "webhooks", "campaigns"}
    for path in paths:
        place: Any = report
        for name in path.replace("?", "").split("."):
            if isinstance(place, dict):  # what stands behind a list or a text is JavaScript's
                assert name in place, path
                place = place[name]
    for name in re.findall(r"\bc\.(\w+)", page):
        assert name in report["campaigns"][0], name
