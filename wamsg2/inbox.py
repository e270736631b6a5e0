"""The one door for events, whether a webhook brought them or we asked: one unit of work, then the log."""

from collections.abc import Callable
from functools import partial

import structlog

from wamsg2.clock import Clock
from wamsg2.model import DeviceChanged, Event, EventResult, EventSource, Ignored, Policy
from wamsg2.store.database import Store
from wamsg2.wassenger import events
from wamsg2.work import receiving
from wamsg2.work.signals import Signals

log = structlog.get_logger()


class Inbox:
    """Takes in events; when `receive` or `take` returns, the event and all its effects are on disk.

    Args:
        store: the database.
        clock: for the time of arrival.
        policy: for replies.
        signals: the sender.
        device_changed: called when the provider says that our device's session changed.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        policy: Policy,
        signals: Signals,
        device_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self._signals = signals
        self._device_changed = device_changed

    async def receive(self, body: bytes) -> EventResult:
        """Take in one webhook body.

        Raises:
            NotAnEventError: not a JSON object; nothing is stored.
            StoreUnavailableError: it cannot be stored now; nothing is.
        """
        return await self.take(events.parse(body), EventSource.WEBHOOK)

    async def take(self, event: Event, source: EventSource) -> EventResult:
        """Take in one event.

        Raises:
            StoreUnavailableError: it cannot be stored now; nothing is.
        """
        unit = partial(
            receiving.receive,
            event=event,
            arrived_at=self._clock.now(),
            policy=self._policy,
            signals=self._signals,
            source=source,
        )
        received = await self._store.write(unit)
        for recorded in received.interactions:
            log.info(
                "interaction.recorded",
                interaction_id=recorded.interaction_id,
                type=recorded.type,
                outcome=recorded.decision.outcome,
                contact_id=recorded.contact_id,
                campaign_id=recorded.decision.campaign_id,
                late_seconds=recorded.late_seconds,
                source=source,
            )
        if isinstance(event.content, Ignored):
            log.debug("event.ignored", name=event.name, why=event.content.why)
        elif isinstance(event.content, DeviceChanged):
            self._device_changed()
        return received.result
