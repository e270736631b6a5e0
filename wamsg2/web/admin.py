"""The local listener: status, health, metrics, dashboard and a small JSON API. Reads only."""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from wamsg2.web.webhook import health

#: Gives the status report (`status.report`).
Report = Callable[[], Awaitable[dict[str, Any]]]


class AdminListener:
    """The handlers of the local listener.

    Args:
        report: gives the status report.
        token: asked for as ``Authorization: Bearer``, except by the page itself and the health check; empty: none.
    """

    def __init__(self, *, report: Report, token: str) -> None:
        self._report = report
        self._token = token

    def application(self) -> web.Application:
        """The aiohttp application with its routes."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/status", self.status)
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/api/campaigns", self.campaigns)
        app.router.add_get("/api/campaigns/{name}", self.campaign)
        app.router.add_get("/", self.dashboard)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not self._is_at_home(request):
            return web.json_response({"error": "asked for under a foreign name, or by another site"}, status=403)
        # The page holds no data: it asks for the token, and sends it along with what it fetches.
        if self._token and request.path not in {"/", "/healthz"}:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token.encode()):
                return web.json_response(
                    {"error": "wrong or missing token"}, status=401, headers={"WWW-Authenticate": "Bearer"}
                )
        return await handler(request)

    def _is_at_home(self, request: web.Request) -> bool:
        """Whether no other site's page asks (CSRF), and no name that somebody points here (DNS rebinding).

        With a token any name may lead here, such as a proxy's: without it nobody gets data, and a page of another
        site does not know it.
        """
        try:
            host = urlsplit(f"//{request.host}")
            origin = urlsplit(request.headers.get("Origin", f"//{request.host}"))
            name = host.hostname or ""
        except ValueError:
            return False
        is_ours = request.headers.get("Sec-Fetch-Site", "none") in {"none", "same-origin"}
        # A link on another page may lead to ours; what it then fetches is from the same origin.
        is_visit = request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        if not (is_ours or is_visit) or origin.netloc != host.netloc:
            return False
        return bool(self._token) or _is_address_or_localhost(name)

    async def status(self, _request: web.Request) -> web.Response:
        """Everything in figures (contract §4)."""
        return web.json_response(await self._report())

    async def healthz(self, _request: web.Request) -> web.Response:
        """200 while the daemon can do its work, 503 while the database cannot be written."""
        report = await self._report()
        return health(ok=report["status"] != "failing")

    async def metrics(self, _request: web.Request) -> web.Response:
        """The same figures for Prometheus."""
        from wamsg2.web import metrics  # noqa: PLC0415 - 2 MB that a daemon without Prometheus does not need

        return web.Response(body=metrics.render(await self._report()), headers={"Content-Type": metrics.CONTENT_TYPE})

    async def campaigns(self, _request: web.Request) -> web.Response:
        """The campaigns of the status report."""
        return web.json_response((await self._report())["campaigns"])

    async def campaign(self, request: web.Request) -> web.Response:
        """One of them."""
        name = request.match_info["name"]
        for campaign in (await self._report())["campaigns"]:
            if campaign["name"] == name:
                return web.json_response(campaign)
        return web.json_response({"error": "no such campaign"}, status=404)

    async def dashboard(self, _request: web.Request) -> web.Response:
        """One page that shows the status report, and keeps itself fresh."""
        page = resources.files("wamsg2.web").joinpath("static/dashboard.html").read_text(encoding="utf-8")
        policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": policy})


def _is_address_or_localhost(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host.lower() in {"localhost", "localhost."}
    return True
