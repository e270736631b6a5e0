"""The one door for webhook events: parse, one unit of work, log."""

from functools import partial

import structlog

from wamsg2.clock import Clock
from wamsg2.model import EventResult, Ignored, Policy
from wamsg2.store.database import Store
from wamsg2.wassenger import events
from wamsg2.work import receiving
from wamsg2.work.signals import Signals

log = structlog.get_logger()


class Inbox:
    """Takes in events; when `receive` returns, the event and all its effects are on disk."""

    def __init__(self, *, store: Store, clock: Clock, policy: Policy, signals: Signals) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self._signals = signals

    async def receive(self, body: bytes) -> EventResult:
        """Take in one webhook body.

        Raises:
            NotAnEventError: not a JSON object; nothing is stored.
            StoreUnavailableError: it cannot be stored now; nothing is.
        """
        event = events.parse(body)
        unit = partial(
            receiving.receive,
            event=event,
            arrived_at=self._clock.now(),
            policy=self._policy,
            signals=self._signals,
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
            )
        if isinstance(event.content, Ignored):
            log.debug("event.ignored", name=event.name, why=event.content.why)
        return received.result
