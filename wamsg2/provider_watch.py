"""Is the device online, is the webhook alive? Asked at intervals; what can be put right is put right."""

import math
from collections.abc import Callable
from datetime import datetime

import structlog

from wamsg2.bell import Bell
from wamsg2.clock import Clock
from wamsg2.model import Finding, Unknown
from wamsg2.wassenger.account import Account, State

log = structlog.get_logger()

#: What is wrong is looked at again this soon.
_SOON_SECONDS = 10.0


class ProviderWatch:
    """Holds the queue while the device cannot send, and has a disabled webhook enabled again.

    No answer changes nothing: what is held stays held, what runs goes on.

    Args:
        account: the provider.
        clock: for intervals and times of findings.
        device_changed: rung when the provider says that the device's session changed.
        block: told why nothing may be sent, or None.
        catch_up: called when events may have been lost.
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
        device_seconds: float,
        webhook_seconds: float,
    ) -> None:
        self._account = account
        self._clock = clock
        self._block = block
        self._catch_up = catch_up
        self._device_changed = device_changed
        self._device_seconds = device_seconds or math.inf
        self._webhook_seconds = webhook_seconds or math.inf
        now_seconds = clock.monotonic()
        self._device_at_seconds = now_seconds if device_seconds else math.inf
        self._webhook_at_seconds = now_seconds if webhook_seconds else math.inf
        self.device: Finding | None = None
        self.webhook: Finding | None = None
        self.webhook_disabled_at: datetime | None = None  #: when it was last found so, having been well before

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
        before, self.device = self.device, self._finding(await self._account.device(), self.device)
        match self.device.ok:
            case False:
                if before is None or before.detail != self.device.detail:
                    log.warning("device.lost", detail=self.device.detail)
                self._block(f"device: {self.device.detail}")
            case True if before is not None and before.ok is False:
                log.info("device.back", detail=self.device.detail)
                self._block(None)
                self._catch_up()

    async def _look_at_webhook(self) -> None:
        state = await self._account.webhook()
        if isinstance(state, State) and state.disabled_id:
            if self.webhook is None or self.webhook.ok is not False:
                log.warning("webhook.disabled", detail=state.detail)
                self.webhook_disabled_at = self._clock.now()
            enabled = await self._account.enable_webhook(state.disabled_id)
            if isinstance(enabled, State):  # otherwise it is known to have been disabled, and nothing else
                state = enabled
            if state.ok:
                log.info("webhook.enabled", detail=state.detail)
                self._catch_up()
        before, self.webhook = self.webhook, self._finding(state, self.webhook)
        if self.webhook.ok is False and (before is None or before.detail != self.webhook.detail):
            log.warning("webhook.wrong", detail=self.webhook.detail)

    def _finding(self, state: State | Unknown, before: Finding | None) -> Finding:
        match state:
            case State(ok, detail):
                return Finding(ok, detail, self._clock.now())
            case Unknown(reason):
                return before or Finding(None, f"no answer: {reason}", self._clock.now())
