"""The public listener: Wassenger's webhooks and a health check. Nothing else answers here."""

import asyncio
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, unquote_plus

import structlog
from aiohttp import HttpVersion11, web

from wamsg2.arrivals import Arrivals
from wamsg2.clock import Clock
from wamsg2.inbox import Inbox
from wamsg2.model import EventResult
from wamsg2.store.writer import StoreUnavailableError
from wamsg2.wassenger import signature
from wamsg2.wassenger.events import NotAnEventError
from wamsg2.web import strikes
from wamsg2.web.room import NoRoomError, Place, Room
from wamsg2.web.strikes import Strikes

log = structlog.get_logger()

BODY_LIMIT_BYTES = 1024 * 1024  #: as of any request that aiohttp hands out
_BODY_SECONDS = 10.0  #: Wassenger gives up on a webhook after as long.
_RETRY_AFTER_SECONDS = 5
#: So much may be under way, from the first byte of a body to its commit; more is sent away, and comes again.
#: 1,000 requests are a third of a second of work, and 16 MiB bodies of any size.
_MOST_REQUESTS = 1000
_MOST_BODY_BYTES = 16 * BODY_LIMIT_BYTES
_ANSWERS = {result: json.dumps({"status": result.value}).encode() for result in EventResult}


_GZIP = frozenset({"gzip", "x-gzip"})
_ENCODINGS = _GZIP | {"identity", ""}


class _TooLongError(Exception):
    """A body is longer than a body may be."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """Who may post: the secret always, the signature where it is there or required."""

    secrets: Sequence[str]
    signing_secrets: Sequence[str] = ()
    require_signature: bool = False


class WebhookListener:
    """Answers on the public listener, and counts what it refused.

    Args:
        path: of the webhook.
        inbox: takes them in.
        secrets: who may post.
        clock: for strikes.
        arrivals: told what is accepted, and what is refused for its secret or signature.
    """

    def __init__(self, *, path: str, inbox: Inbox, secrets: Secrets, clock: Clock, arrivals: Arrivals) -> None:
        self._path = path
        self._inbox = inbox
        self._clock = clock
        self._secrets = secrets
        self._arrivals = arrivals
        self._strikes = Strikes()
        self._room = Room(_MOST_REQUESTS, _MOST_BODY_BYTES)
        self.refused = 0
        self.healthy = True

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Whatever comes to the public port."""
        match request.rel_url.path_safe, request.method:
            case self._path, "POST":
                return await self.receive(request)
            case "/healthz", "GET" | "HEAD":
                return health(ok=self.healthy)
            case self._path, _:
                return web.Response(status=405, headers={"Allow": "POST"})
            case "/healthz", _:
                return web.Response(status=405, headers={"Allow": "GET, HEAD"})
            case _:
                return web.Response(status=404)

    async def receive(self, request: web.BaseRequest) -> web.Response:
        """One webhook: checked before it is read, stored before it is answered."""
        given = (*_secrets_in(request.raw_path), request.headers.get(signature.SECRET_HEADER))
        if not any(signature.secret_matches(secret, self._secrets.secrets) for secret in given if secret):
            return self._refuse_stranger(request.remote or "unknown")
        try:
            with self._room.enter(min(request.content_length or 0, BODY_LIMIT_BYTES)) as place:
                return await self._take(request, place)
        except NoRoomError:
            return self._postpone("too many webhooks at once")

    async def _take(self, request: web.BaseRequest, place: Place) -> web.Response:
        encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in _ENCODINGS:
            return self._refuse(415, "content encoding not taken: send the body as it is, or as gzip")
        try:
            raw = await _body_of(request, place)
            body = _unpacked(raw, place) if encoding in _GZIP else raw
        except (web.HTTPRequestEntityTooLarge, _TooLongError):
            return self._refuse(413, "body over 1 MiB")
        except zlib.error:
            return self._refuse(400, "broken gzip")
        except TimeoutError:
            return self._refuse(408, "body too slow")
        except (web.RequestPayloadError, ConnectionError):  # or the sender has gone
            return self._refuse(400, "broken body")
        if not self._is_signed(request.headers.get(signature.SIGNATURE_HEADER), raw, body):
            self._arrivals.refuse()
            return self._refuse(401, "wrong or missing signature")
        try:
            result = await self._inbox.receive(body)
        except NotAnEventError as error:
            return self._refuse(400, str(error))
        except StoreUnavailableError as error:
            return self._postpone(str(error))
        self._arrivals.accept()
        return web.Response(body=_ANSWERS[result], content_type="application/json")

    def _postpone(self, why: str) -> web.Response:
        log.error("webhook.postponed", reason=why)
        response = web.json_response(
            {"error": "cannot be stored now"}, status=503, headers={"Retry-After": str(_RETRY_AFTER_SECONDS)}
        )
        response.force_close()
        return response

    def _is_signed(self, header: str | None, raw: bytes, body: bytes) -> bool:
        secrets = self._secrets.signing_secrets
        if not secrets or (header is None and not self._secrets.require_signature):
            return True
        # Whoever packs a body on its way does not sign it anew.
        return signature.signature_matches(raw, header or "", secrets) or (
            body is not raw and signature.signature_matches(body, header or "", secrets)
        )

    def _refuse_stranger(self, source: str) -> web.Response:
        count = self._strikes.count(source, self._clock.monotonic())
        if count == strikes.MOST_A_MINUTE:
            log.warning("webhook.strangers", source=source, reason="wrong secrets; no more lines for a minute")
        self._arrivals.refuse()
        return self._refuse(401, "wrong or missing secret", is_logged=count < strikes.MOST_A_MINUTE)

    def _refuse(self, status: int, why: str, *, is_logged: bool = True) -> web.Response:
        self.refused += 1
        if is_logged:
            log.warning("webhook.refused", status=status, reason=why)
        response = web.json_response({"error": why}, status=status)
        response.force_close()  # a body may be left unread on this connection
        return response


@lru_cache(maxsize=64)  # Wassenger writes the same one every time
def _secrets_in(target: str) -> tuple[str, ...]:
    """The secret of the address. A `+` in it is a space, or itself where the address was not encoded."""
    query = target.partition("#")[0].partition("?")[2]
    for name, _, value in (pair.partition("=") for pair in query.split("&")):
        if unquote_plus(name) == signature.SECRET_QUERY_KEY:
            return tuple(dict.fromkeys((unquote_plus(value), unquote(value))))
    return ()


async def _body_of(request: web.BaseRequest, place: Place) -> bytes:
    if request.content.is_eof():  # most are there at once: a timer would cost as much as the signature
        return await _read(request, place)
    async with asyncio.timeout(_BODY_SECONDS):
        if request.version >= HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer has not begun
        return await _read(request, place)


async def _read(request: web.BaseRequest, place: Place) -> bytes:
    if request.content_length is not None:
        return await request.read()
    body = bytearray()  # of unknown length: what has arrived takes room
    async for part in request.content.iter_any():
        if len(body) + len(part) > BODY_LIMIT_BYTES:
            raise _TooLongError
        place.grow(len(part))
        body += part
    return bytes(body)


def _unpacked(raw: bytes, place: Place) -> bytes:
    """A gzip body, which may have several members.

    Raises:
        zlib.error: it is none, or breaks off.
        _TooLongError: it unpacks to more than a body may have.
    """
    body, rest = bytearray(), raw
    while rest:
        member = zlib.decompressobj(zlib.MAX_WBITS | 16)
        body += member.decompress(rest, BODY_LIMIT_BYTES + 1 - len(body))
        if len(body) > BODY_LIMIT_BYTES:
            raise _TooLongError
        if not member.eof:
            raise zlib.error("incomplete")
        rest = member.unused_data
    place.grow(len(body))
    return bytes(body)


def health(*, ok: bool) -> web.Response:
    """The answer of both health checks."""
    return web.json_response({"status": "ok" if ok else "failing"}, status=200 if ok else 503)
