"""The one door for events, whether a webhook brought them or we asked.

All that came at once is one unit of work; then it is logged.
"""

from collections.abc import Callable, Sequence
from functools import partial

import structlog

from wamsg2.clock import Clock
from wamsg2.model import DeviceChanged, Event, EventResult, EventSource, Ignored, Policy
from wamsg2.store.database import Store
from wamsg2.wassenger import events
from wamsg2.wassenger.unknown_words import UnknownWords
from wamsg2.work import receiving
from wamsg2.work.receiving import Received
from wamsg2.work.signals import Signals

log = structlog.get_logger()

#: Of a row of events, the first of these that any of them came to is the answer.
_RANKING = (EventResult.ACCEPTED, EventResult.DUPLICATE, EventResult.IGNORED)


def log_unknown_word(word: str) -> None:
    """Log a new word of the provider for the state of a message."""
    log.info("provider.unknown_word", word=word)


class Inbox:
    """Takes in events; when `receive` or `take` returns, the event and all its effects are on disk.

    Args:
        store: the database.
        clock: for the time of arrival.
        policy: for replies.
        signals: the sender.
        device: the id of our device: events of the others of the account are kept, and count for nothing but an
            opt-out. None: those of every device count.
        unknown_words: counts the words of the provider that are not known.
        device_changed: called when the provider says that our device's session changed.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        policy: Policy,
        signals: Signals,
        device: str | None,
        unknown_words: UnknownWords | None = None,
        device_changed: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self._signals = signals
        self._device = device
        self._unknown_words = unknown_words or UnknownWords(log_unknown_word)
        self._device_changed = device_changed

    async def receive(self, body: bytes) -> EventResult:
        """Take in one webhook body, which may be a row of events.

        Returns:
            `accepted` if any of them was, else `duplicate` if any was, else `ignored`.

        Raises:
            NotAnEventError: neither a JSON object nor an array; nothing is stored.
            StoreUnavailableError: it cannot be stored now; nothing is.
        """
        results = set(await self.take_row(events.parse_row(body, device=self._device), EventSource.WEBHOOK))
        return next((result for result in _RANKING if result in results), EventResult.IGNORED)

    async def take(self, event: Event, source: EventSource) -> EventResult:
        """Take in one event.

        Raises:
            StoreUnavailableError: it cannot be stored now; nothing is.
        """
        (result,) = await self.take_row([event], source)
        return result

    async def take_row(self, row: Sequence[Event], source: EventSource) -> Sequence[EventResult]:
        """Take in a row of events, all in one transaction; the result of each.

        Raises:
            StoreUnavailableError: they cannot be stored now; none is.
        """
        if not row:
            return ()
        unit = partial(
            receiving.receive_row,
            row=row,
            arrived_at=self._clock.now(),
            policy=self._policy,
            signals=self._signals,
            source=source,
        )
        received = await self._store.write(unit)
        for event, each in zip(row, received, strict=True):
            self._tell(event, each, source)
        return [each.result for each in received]

    def _tell(self, event: Event, received: Received, source: EventSource) -> None:
        for recorded in received.interactions:
            log.info(
                "interaction.recorded",
                interaction_id=recorded.interaction_id,
                type=recorded.type,
                outcome=recorded.decision.outcome,
                contact_id=recorded.contact_id,
                matched_by=recorded.matched_by,
                campaign_id=recorded.decision.campaign_id,
                late_seconds=recorded.late_seconds,
                source=source,
            )
        if received.result is not EventResult.DUPLICATE:
            self._unknown_words.note(event.unknown_words)
        if isinstance(event.content, Ignored):
            log.debug("event.ignored", name=event.name, why=event.content.why)
        elif isinstance(event.content, DeviceChanged):
            self._device_changed()
