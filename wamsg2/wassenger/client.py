"""One request to Wassenger, one outcome. Never retries, never raises for what the network may do."""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import aiohttp

from wamsg2 import __version__
from wamsg2.masking import mask_text
from wamsg2.model import (
    Absent,
    Accepted,
    Claim,
    Deferred,
    Held,
    LookUp,
    Outcome,
    ReceiptStatus,
    Rejected,
    Step,
    Uncertain,
    Unknown,
)
from wamsg2.wassenger.fields import Json, JsonObject, chat_ids, first, load, message_id, moment, obj, text
from wamsg2.wassenger.progress import progress
from wamsg2.wassenger.unknown_words import UnknownWords

_ANSWER_LIMIT_BYTES = 256 * 1024
_CONNECT_SECONDS = 10.0
#: Wassenger documents no `Retry-After`; its own tools back off for a minute.
_RATE_LIMITED = timedelta(seconds=60)
_RATE_LIMITED_AT_MOST = timedelta(hours=1)


class Client(Protocol):
    """What the services need of the provider."""

    async def send(self, claim: Claim) -> Outcome:
        """Post one message."""

    async def find(self, reference: str) -> LookUp:
        """Look for a message by our reference."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and JSON of an answer that was read whole; `json` is None where it is not JSON."""

    status: int
    json: Json
    retry_after: timedelta | None

    def problem(self) -> str:
        """Status and the provider's words for it, in short and without numbers of people."""
        body = obj(self.json)
        errors = body.get("errors")
        detail = obj(errors[0]) if isinstance(errors, list) and errors else {}
        words = [
            first(body.get("errorCode"), body.get("code")),
            first(body.get("message"), body.get("error")),
            first(detail.get("path")),
            first(detail.get("message")),
        ]
        return str(mask_text(f"HTTP {self.status} {': '.join(w for w in words if w)}".strip())[:200])

    def is_about(self, *prefixes: str) -> bool:
        """Whether one of its error codes begins so: they name what a refusal is about."""
        body = obj(self.json)
        errors = body.get("errors")
        details = [obj(each) for each in errors] if isinstance(errors, list) else []
        codes = [text(each.get(name)) for each in (body, *details) for name in ("errorCode", "code")]
        return any(code.lower().startswith(prefixes) for code in codes if code)


class WassengerClient:
    """Wassenger over HTTPS (api.wassenger.com/v1).

    Every request has a connection of its own: a kept-alive one that the server dropped would fail after writing,
    and leave a doubt for nothing.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        device: str,
        timeout_seconds: float,
        unknown_words: UnknownWords | None = None,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._device = device
        self._key = api_key.encode()
        #: for the state of a message, in answers and wherever else they are noted
        self.unknown_words = unknown_words or UnknownWords()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, limit=0, ttl_dns_cache=60),
            headers={"Token": api_key, "Accept": "application/json", "User-Agent": f"wamsg2/{__version__}"},
            timeout=aiohttp.ClientTimeout(
                total=timeout_seconds, sock_connect=min(_CONNECT_SECONDS, timeout_seconds * 0.9)
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    @property
    def device(self) -> str:
        """Id of the device that we send from, in lower case."""
        return self._device.lower()

    async def close(self) -> None:
        """Close what is open."""
        await self._session.close()

    async def send(self, claim: Claim) -> Outcome:
        """Post a message; the outcome says what the caller may do next (contract §1, rules of a send, 4)."""
        body: JsonObject = {
            "phone": claim.phone,
            "message": claim.text,
            "device": self._device,
            "reference": claim.reference,
            "priority": "high" if claim.step is Step.MESSAGE_2 else "normal",
        }
        try:
            answer = await self._request("POST", "/messages", json=body)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return Deferred(f"could not connect: {_what(error)}")
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ValueError, OSError) as error:
            return Uncertain(_what(error))
        return _outcome(answer)

    async def find(self, reference: str) -> LookUp:
        """Ask for the messages with our reference (`GET /messages?reference=`)."""
        found = await self.entity(reference)
        return found if isinstance(found, Absent | Unknown) else accepted(found)

    async def entity(self, reference: str) -> JsonObject | Absent | Unknown:
        """The message with our reference as the provider shows it; of several, the one that got furthest."""
        answer = await self.get("/messages", {"reference": reference, "size": "20"})
        if isinstance(answer, Unknown):
            return answer
        if answer.status != 200 or not isinstance(answer.json, list):
            return Unknown(answer.problem())
        found = [obj(item) for item in answer.json]
        ours = [item for item in found if text(item.get("reference")) == reference]
        if ours:
            self.unknown_words.note(word for item in ours for word in progress(item).unknown_words)
            return _furthest(ours)
        # A filter that is not honoured would show others' messages, and make every message look absent.
        return Unknown("the answer has messages with other references") if found else Absent()

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, *, limit_bytes: int = _ANSWER_LIMIT_BYTES
    ) -> Answer | Unknown:
        """Ask anything; ``{device}`` in the path stands for the device that we send from."""
        return await self._ask("GET", path, params, limit_bytes)

    async def post(self, path: str) -> Answer | Unknown:
        """Tell to do something that can be told twice."""
        return await self._ask("POST", path, None, _ANSWER_LIMIT_BYTES)

    async def _ask(
        self, method: str, path: str, params: Mapping[str, str] | None, limit_bytes: int
    ) -> Answer | Unknown:
        path = path.replace("{device}", self._device)
        try:
            return await self._request(method, path, params=params, limit_bytes=limit_bytes)
        except (aiohttp.ClientError, TimeoutError, ValueError, OSError) as error:
            return Unknown(_what(error))

    async def _request(
        self,
        method: str,
        path: str,
        *,
        json: JsonObject | None = None,
        params: Mapping[str, str] | None = None,
        limit_bytes: int = _ANSWER_LIMIT_BYTES,
    ) -> Answer:
        # A redirected POST may be posted twice: it is an answer like any other.
        async with self._session.request(
            method, self._base_url + path, json=json, params=params, allow_redirects=False
        ) as response:
            raw = bytearray()
            async for chunk in response.content.iter_any():
                raw += chunk
                if len(raw) > limit_bytes:
                    raise ValueError("the answer is too long")
            try:
                parsed = load(bytes(raw).replace(self._key, b"***"))
            except ValueError:  # an HTML page of a proxy, for one
                parsed = None
            return Answer(response.status, parsed, _retry_after(response.headers.get("Retry-After")))


def _what(error: BaseException) -> str:
    """An exception in a few words, without addresses."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "name not resolved"
    if isinstance(error, aiohttp.ClientConnectorError):
        return os.strerror(error.os_error.errno) if error.os_error.errno else type(error.os_error).__name__
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ValueError):
        return str(error)
    return f"connection lost ({type(error).__name__})"


def _retry_after(header: str | None) -> timedelta | None:
    if header is None or not header.strip().isdecimal():
        return None
    return min(timedelta(seconds=int(header.strip()[:6])), _RATE_LIMITED_AT_MOST)


def _outcome(answer: Answer) -> Outcome:
    match answer.status:
        case 400 | 401 | 402 | 403 | 404 | 422 if answer.is_about("device:"):
            return Held(answer.problem(), is_about_device=True)
        case 400 | 401 | 402 | 403 | 404 | 422 if answer.is_about("phone:", "number:"):
            return Rejected(answer.problem(), is_about_person=True)
        case 400 | 404 | 422:
            return Rejected(answer.problem())
        case 401 | 402 | 403:
            return Held(answer.problem())
        case 429:
            return Deferred(answer.problem(), answer.retry_after or _RATE_LIMITED)
        case status if 200 <= status < 300:
            body = answer.json[0] if isinstance(answer.json, list) and answer.json else answer.json
            if message_id(obj(body).get("id"), obj(body).get("waId")):
                # What was accepted is at least sent, whatever its queue says so far; time and receipts come later.
                known = accepted(obj(body))
                return Accepted(known.queue_id, known.wa_id, known.chat_id)
            return Uncertain(f"HTTP {status} with an unreadable answer")
        case _:
            return Uncertain(answer.problem())


def accepted(message: JsonObject) -> Accepted:
    """A message of the outbound queue, as the provider shows it."""
    told = progress(message)
    return Accepted(
        queue_id=message_id(message.get("id")),
        wa_id=message_id(message.get("waId")),
        chat_id=next(iter(chat_ids(message.get("wid"))), None),
        status=told.status or ReceiptStatus.SENT,
        sent_at=moment(message.get("sentAt")),
        reason=told.reason,
        created_at=moment(message.get("createdAt")),
        is_revoked=told.is_revoked,
    )


def _furthest(messages: list[JsonObject]) -> JsonObject:
    """Of several messages with one reference, the one that got furthest."""
    order = [ReceiptStatus.FAILED, ReceiptStatus.SENT, ReceiptStatus.DELIVERED, ReceiptStatus.READ]
    return max(messages, key=lambda m: order.index(progress(m).status or ReceiptStatus.SENT))
