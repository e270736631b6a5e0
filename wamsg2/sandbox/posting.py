"""``POST /v1/messages``: strict, without idempotency, and faulty on request."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web

from wamsg2.sandbox.courier import Courier
from wamsg2.sandbox.state import World
from wamsg2.sandbox.validation import Refusal, check_message
from wamsg2.sandbox.webhooks import Delivery
from wamsg2.sandbox.wire import queue_entity

#: Refused before acceptance, in the order in which they win.
REFUSALS = {
    "server_error": (500, "internal server error", "server:error"),
    "unauthorized": (401, "invalid API key", "auth:invalid"),
    "payment_required": (402, "no active plan or quota exceeded", "billing:required"),
    "forbidden": (403, "the API key has no scope for this", "auth:forbidden"),
}
#: ``event_before_answer`` answers after this long even if nobody acknowledged the event: a receiver that handles it
#: only once it has its answer must not hang for ever.
EVENT_FIRST_SECONDS = 5.0
#: JSON that says nothing about a message.
WRONG_ANSWERS = ("[]", '"ok"', '{"ok":true}')
#: What an answer without an end consists of: JSON allows any amount of space.
FILLER = b" " * 16384
BAD_GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


async def read_json(request: web.Request) -> object:
    """The JSON of a request, or a ``Refusal``."""
    try:
        return await request.json()
    except ValueError:
        raise Refusal(400, "the body is not JSON", "body:invalid") from None


def bad_gateway() -> web.Response:
    """What the proxy in front of the service answers when the service does not: HTML."""
    return web.Response(status=502, text=BAD_GATEWAY_PAGE, content_type="text/html")


def reset(request: web.Request) -> web.Response:
    """Cut the connection: the client sees a reset, and the answer returned here never leaves."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


class Posting:
    """Accepts messages."""

    def __init__(self, world: World, courier: Courier, device_id: str) -> None:
        self._world = world
        self._courier = courier
        self._device_id = device_id

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Answer one ``POST``."""
        body = check_message(await read_json(request), self._device_id)
        # The same message posted again is another attempt: it gets another roll of the dice.
        attempt = _Attempt(self._world, f"{body.get('phone')}/{body.get('message')}")
        refused = await self._refuse(request, attempt)
        if refused is not None:
            return refused

        has_late_wa_id = attempt.meets("late_wa_id")
        message = self._courier.accept(body, has_late_wa_id=has_late_wa_id)
        if attempt.meets("accept_twice"):
            self._courier.carry(self._courier.accept(body, has_late_wa_id=has_late_wa_id, copy_of=message))
        answer = web.json_response(queue_entity(message), status=201)
        if attempt.meets("event_before_answer"):
            await _wait_for(self._courier.carry_at_once(message))
        else:
            self._courier.carry(message)
        return await self._spoil(request, answer, attempt)

    async def _refuse(self, request: web.Request, attempt: "_Attempt") -> web.StreamResponse | None:
        """A fault that keeps the message from being accepted."""
        if attempt.meets("reset_before_accept"):
            return reset(request)
        if attempt.meets("timeout_before_accept"):
            return await self._hold(request)
        if attempt.meets("too_many_requests"):
            return self._too_many_requests()
        if attempt.meets("bad_gateway"):
            return bad_gateway()
        for fault, refusal in REFUSALS.items():
            if attempt.meets(fault):
                raise Refusal(*refusal)
        return None

    def _too_many_requests(self) -> web.Response:
        answer = web.json_response(Refusal(429, "too many requests", "rate:limit").body, status=429)
        if self._world.faults.retry_after_seconds:
            answer.headers["Retry-After"] = f"{self._world.faults.retry_after_seconds:g}"
        return answer

    async def _spoil(self, request: web.Request, answer: web.Response, attempt: "_Attempt") -> web.StreamResponse:
        """A fault on the way back: the message is accepted, whatever its sender gets to know."""
        if attempt.meets("accept_then_timeout"):
            return await self._hold(request)
        if attempt.meets("accept_then_reset"):
            return reset(request)
        if attempt.meets("slow_answer"):
            await asyncio.sleep(self._world.faults.slow_answer_seconds)
        if attempt.meets("accept_then_bad_gateway"):
            return bad_gateway()
        if attempt.meets("accept_then_server_error"):
            raise Refusal(*REFUSALS["server_error"])
        if attempt.meets("unreadable_answer"):
            return web.Response(status=201, text='{"id": "675c5f0a', content_type="application/json")
        if attempt.meets("wrong_json"):
            wrong = attempt.form_of("wrong_json", WRONG_ANSWERS)
            return web.Response(status=201, text=wrong, content_type="application/json")
        if attempt.meets("slow_drip"):
            return await self._drip(request, answer)
        if attempt.meets("endless_body"):
            return await self._go_on(request, answer)
        return answer

    # What holds a client on ends early, by cancellation, when the client hangs up.

    async def _hold(self, request: web.Request) -> web.Response:
        """No answer, and a cut after a while."""
        await asyncio.sleep(self._world.faults.timeout_seconds)
        return reset(request)

    async def _drip(self, request: web.Request, answer: web.Response) -> web.StreamResponse:
        """The answer byte by byte: no single read takes long, only all of them together."""
        body = (answer.text or "").encode()
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
        with suppress(ConnectionResetError):
            await response.prepare(request)
            for number in range(len(body)):
                await asyncio.sleep(self._world.faults.timeout_seconds / len(body))
                await response.write(body[number : number + 1])
        return response

    async def _go_on(self, request: web.Request, answer: web.Response) -> web.StreamResponse:
        """The answer, then space without end, and a cut after a while."""
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
        with suppress(ConnectionResetError, TimeoutError):
            async with asyncio.timeout(self._world.faults.timeout_seconds):
                await response.prepare(request)
                await response.write((answer.text or "").encode())
                while True:
                    await response.write(FILLER)
                    await asyncio.sleep(0)  # a client that reads fast must not keep everyone else waiting
        return reset(request)


class _Attempt:
    """One attempt to post one message, and the faults it meets."""

    def __init__(self, world: World, subject: str) -> None:
        self._world = world
        self._subject = subject
        self._number = world.ledger.count("post", subject)

    def meets(self, fault: str) -> bool:
        """Whether this attempt meets the fault of this name."""
        spared_after = self._world.faults.faulty_attempts
        if spared_after and self._number > spared_after:
            return False
        return self._world.strikes(fault, self._subject, self._number)

    def form_of(self, fault: str, forms: Sequence[str]) -> str:
        """In which of its forms this attempt meets a fault."""
        return self._world.dice.roll(fault, "form", self._subject, self._number).choice(forms)


async def _wait_for(deliveries: list[Delivery]) -> None:
    waits = [asyncio.ensure_future(delivery.finished.wait()) for delivery in deliveries]
    if not waits:
        return
    try:
        await asyncio.wait(waits, timeout=EVENT_FIRST_SECONDS)
    finally:
        for wait in waits:
            wait.cancel()
