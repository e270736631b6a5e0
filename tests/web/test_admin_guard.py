"""The local listener and pages of other sites: a browser on the same machine can be made to ask for anything."""

from collections.abc import Mapping

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import Application, Request

from wamsg2.web.admin import AdminListener

HERE = "127.0.0.1:8081"


async def status_of(headers: Mapping[str, str], path: str = "/status", token: str = "") -> int:
    async def report() -> dict[str, str]:
        return {"status": "ok"}

    async with (
        TestClient[Request, Application](
            TestServer(AdminListener(report=report, token=token).application())
        ) as client,
        client.get(path, headers={"Host": HERE} | dict(headers)) as response,
    ):
        return response.status


@pytest.mark.parametrize("host", ["127.0.0.1:8081", "localhost:8081", "LOCALHOST", "[::1]:8081", "192.168.1.5"])
async def test_addresses_and_localhost_lead_here(host: str) -> None:
    assert await status_of({"Host": host}) == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[", ""])
@pytest.mark.parametrize("path", ["/status", "/", "/metrics", "/healthz", "/api/campaigns"])
async def test_a_foreign_name_gets_nothing(host: str, path: str) -> None:
    """DNS rebinding: a page of evil.example whose name points to this machine a moment later."""
    assert await status_of({"Host": host}, path) in {400, 403}


async def test_with_a_token_any_name_may_lead_here_but_only_with_it() -> None:
    assert await status_of({"Host": "status.example"}, token="t0ken") == 401
    assert await status_of({"Host": "status.example", "Authorization": "Bearer t0ken"}, token="t0ken") == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_sites_page_gets_nothing(site: str) -> None:
    assert await status_of({"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "cors"}) == 403
    assert await status_of({"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate"}) == 403


async def test_another_sites_link_may_lead_to_the_page() -> None:
    assert await status_of({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, "/") == 200
    assert await status_of({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, "/") == 403


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_our_own_page_gets_all(site: str) -> None:
    assert await status_of({"Sec-Fetch-Site": site, "Origin": f"http://{HERE}"}) == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://["])
async def test_a_foreign_origin_gets_nothing(origin: str) -> None:
    assert await status_of({"Origin": origin}) == 403
