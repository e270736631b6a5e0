"""One POST to the receiver of notifications, signed per Standard Webhooks (standardwebhooks.com)."""

import json
from collections.abc import Mapping
from typing import Protocol

import aiohttp
from standardwebhooks import Webhook

from wamsg2 import __version__
from wamsg2.clock import Clock


class Receiver(Protocol):
    """Whoever is told."""

    async def post(self, message_id: str, payload: Mapping[str, object]) -> str | None:
        """Post a payload under an id; None once the receiver has said that it has it, else why it has not."""


class StandardWebhook:
    """A receiver behind an address.

    Only its status counts: a 2xx means that it has the message. Redirects are not followed, and the body of the
    answer is never read.

    Args:
        url: of the receiver.
        secret: shared with it: ``whsec_`` and base64.
        timeout_seconds: for one request.
        clock: for the time that is signed.
    """

    def __init__(self, *, url: str, secret: str, timeout_seconds: float, clock: Clock) -> None:
        self._url = url
        self._webhook = Webhook(secret)
        self._clock = clock
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True),
            headers={"Content-Type": "application/json", "User-Agent": f"wamsg2/{__version__}"},
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )

    async def close(self) -> None:
        """Close what is open."""
        await self._session.close()

    async def post(self, message_id: str, payload: Mapping[str, object]) -> str | None:
        """See `Receiver`; it never raises for what the network may do, and never names the address."""
        body = json.dumps(payload)  # ASCII, so that half an emoji of a name can be signed too
        now = self._clock.now()
        headers = {
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._webhook.sign(message_id, now, body),
        }
        try:
            async with self._session.post(
                self._url, data=body.encode(), headers=headers, allow_redirects=False
            ) as response:
                return None if 200 <= response.status < 300 else f"HTTP {response.status}"
        except TimeoutError:
            return "no answer in time"
        except (aiohttp.ClientError, ValueError, OSError) as error:
            return f"no answer ({type(error).__name__})"
