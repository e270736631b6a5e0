"""Can the device send, does the webhook get through? Asked at intervals; what can be put right is put right."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from wamsg2.bell import Bell
from wamsg2.clock import Clock
from wamsg2.model import Finding, Unknown
from wamsg2.wassenger.account import Account, State, failing

log = structlog.get_logger()

#: What is wrong is looked at again this soon.
_SOON_SECONDS = 10.0


class ProviderWatch:
    """Holds the queue while the device cannot send, and has a webhook enabled again that gets nothing.

    No answer changes nothing: what is held stays held, what runs goes on. An answer in words that nobody knows holds
    nothing; it is said and counted.

    Args:
        account: the provider.
        clock: for intervals and times of findings.
        device_changed: rung when the provider says that the device's session changed.
        block: told why nothing may be sent, or None.
        catch_up: called when events may have been lost.
        note_retention: told how long the provider keeps messages, at every look that shows it.
        device_seconds: between two looks at the device, while all is well; 0: never.
        webhook_seconds: between two looks at the webhook, while all is well; 0: never.
    """

    def __init__(
        self,
        *,
        account: Account,
        clock: Clock,
        device_changed: Bell,
        block: Callable[[str | None], None],
        catch_up: Callable[[], None],
        note_retention: Callable[[timedelta | None], None],
        device_seconds: float,
        webhook_seconds: float,
    ) -> None:
        self._account = account
        self._clock = clock
        self._block = block
        self._catch_up = catch_up
        self._note_retention = note_retention
        self._device_changed = device_changed
        self._device_seconds = device_seconds or math.inf
        self._webhook_seconds = webhook_seconds or math.inf
        now_seconds = clock.monotonic()
        self._device_at_seconds = now_seconds if device_seconds else math.inf
        self._webhook_at_seconds = now_seconds if webhook_seconds else math.inf
        self.device: Finding | None = None
        self.webhook: Finding | None = None
        self.webhook_disabled_at: datetime | None = None  #: when it was last found so, having been well before
        self.unclear_looks = 0  #: looks at the device that gave words that nobody knows
        self._failures: int | None = None  # of deliveries to the webhook in a row, at the last look
        self._is_failing = False  # they have grown, and none went well since

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            if await self._device_changed.wait(await self.step()) and not math.isinf(self._device_seconds):
                self._device_at_seconds = self._clock.monotonic()

    async def step(self) -> float:
        """Look at what is due; seconds until the next look."""
        if self._device_at_seconds <= self._clock.monotonic():
            await self._look_at_device()
            self._device_at_seconds = self._next_at(self.device, self._device_seconds)
        if self._webhook_at_seconds <= self._clock.monotonic():
            await self._look_at_webhook()
            self._webhook_at_seconds = self._next_at(self.webhook, self._webhook_seconds)
        return max(min(self._device_at_seconds, self._webhook_at_seconds) - self._clock.monotonic(), 0.001)

    def _next_at(self, finding: Finding | None, interval_seconds: float) -> float:
        is_wrong = finding is not None and finding.ok is False
        return self._clock.monotonic() + (min(interval_seconds, _SOON_SECONDS) if is_wrong else interval_seconds)

    async def _look_at_device(self) -> None:
        state = await self._account.device()
        if isinstance(state, State):
            self._note_retention(state.retention)
            self.unclear_looks += state.ok is None
        before, self.device = self.device, self._finding(state, self.device)
        is_new = before is None or before.detail != self.device.detail
        if self.device.ok is False:
            if is_new:
                log.warning("device.lost", detail=self.device.detail)
            self._block(f"device: {self.device.detail}")
            return
        if isinstance(state, State) and state.ok is None and is_new:
            log.warning("device.unclear", detail=state.detail)
        if before is not None and before.ok is False:
            log.info("device.back", detail=self.device.detail)
            self._block(None)
            self._catch_up()

    async def _look_at_webhook(self) -> None:
        state = await self._account.webhook()
        if isinstance(state, State) and state.inactive_id:
            if self.webhook is None or self.webhook.ok is not False:
                log.warning("webhook.disabled", detail=state.detail)
                self.webhook_disabled_at = self._clock.now()
            enabled = await self._account.enable_webhook(state.inactive_id)
            if isinstance(enabled, State):  # otherwise it is known to have been inactive, and nothing else
                state = enabled
            if state.ok:
                log.info("webhook.enabled", detail=state.detail)
                self._catch_up()
        if isinstance(state, State):
            state = self._with_failures(state)
        before, self.webhook = self.webhook, self._finding(state, self.webhook)
        if self.webhook.ok is False and (before is None or before.detail != self.webhook.detail):
            log.warning("webhook.wrong", detail=self.webhook.detail)

    def _with_failures(self, state: State) -> State:
        """The state; not well from the look at which deliveries began to fail until one has gone well.

        The provider counts failures in a row: a count that is smaller than before says that one went well.
        """
        if self._failures is not None and state.failures != self._failures:
            self._is_failing = state.failures > self._failures
        self._failures = state.failures
        if not (state.ok and self._is_failing):
            return state
        return replace(state, ok=False, detail=f"{state.detail}; {failing(state.failures)}")

    def _finding(self, state: State | Unknown, before: Finding | None) -> Finding:
        match state:
            case State(ok=ok, detail=detail):
                return Finding(ok, detail, self._clock.now())
            case Unknown(reason):
                return before or Finding(None, f"no answer: {reason}", self._clock.now())
