"""Asks for what webhooks should have told: after a start, at intervals, and when somebody wants it."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from wamsg2 import rules
from wamsg2.bell import Bell
from wamsg2.clock import Clock
from wamsg2.inbox import Inbox
from wamsg2.model import Absent, Event, EventResult, EventSource, Policy, Unknown
from wamsg2.store import messages
from wamsg2.store.database import Store
from wamsg2.store.writer import StoreUnavailableError, WriterStoppedError
from wamsg2.wassenger.history import History
from wamsg2.work import catching_up

log = structlog.get_logger()

#: A list that is longer than this is read again from its beginning next time.
_MOST_PAGES = 1000
#: So many questions about single messages in one round, and so many in a row without an answer.
_MOST_QUESTIONS = 100
_MOST_UNANSWERED = 3
#: A page of nothing but known messages is the end, unless a burst came in between and pushed them there.
_MOST_KNOWN_PAGES = 2


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What a round found that no webhook had told, and why it could not go on, if it could not."""

    messages: int = 0
    receipts: int = 0
    problem: str | None = None


class CatchUp:
    """Finds inbound messages and receipts whose webhooks were lost.

    Args:
        store: the database.
        history: the provider.
        inbox: takes in what is found, as if its webhook had come.
        clock: for what is due.
        policy: how long a message without a receipt is asked about.
        interval_seconds: between two rounds; 0: only at the start and when asked.
        gap_seconds: between two questions.
    """

    def __init__(
        self,
        *,
        store: Store,
        history: History,
        inbox: Inbox,
        clock: Clock,
        policy: Policy,
        interval_seconds: float,
        gap_seconds: float,
    ) -> None:
        self._store = store
        self._history = history
        self._inbox = inbox
        self._clock = clock
        self._policy = policy
        self._interval_seconds = interval_seconds or math.inf
        self._gap_seconds = gap_seconds
        self._bell = Bell()
        self._thorough_from: datetime | None = None  # None: the next round is a thorough one
        self.last_at: datetime | None = None  #: when a round last came to its end
        self.problem: str | None = None  #: why the last one did not

    def ask(self) -> None:
        """Start a thorough round soon."""
        self._thorough_from = None
        self._bell.ring()

    async def run(self) -> None:
        """Catch up for ever."""
        while True:
            await self.step()
            await self._bell.wait(self._interval_seconds)

    async def step(self) -> CaughtUp:
        """One round; it never raises for what the provider or the disk do."""
        now = self._clock.now()
        thoroughly = self._thorough_from is None or now >= self._thorough_from
        if thoroughly:  # before the first page: who asks meanwhile wants another
            self._thorough_from = now + rules.LIST_THOROUGHLY_EVERY
        try:
            inbound = await self._inbound(now, thoroughly=thoroughly)
            reports = await self._reports()
        except WriterStoppedError:
            raise
        except StoreUnavailableError as error:
            inbound = reports = CaughtUp(problem=str(error))
        if inbound.problem and thoroughly:
            self._thorough_from = None
        done = CaughtUp(inbound.messages, reports.receipts, inbound.problem or reports.problem)
        self.problem = done.problem
        if done.problem is None:
            self.last_at = self._clock.now()
        if done.messages or done.receipts or done.problem:
            log.warning("catch_up.done", messages=done.messages, receipts=done.receipts, problem=done.problem)
        return done

    # --- what people wrote ---

    async def _inbound(self, now: datetime, *, thoroughly: bool) -> CaughtUp:
        since = await self._store.write(partial(catching_up.list_since, now=now, thoroughly=thoroughly))
        if since is None:
            return CaughtUp()
        found, seen, newest, known_pages = 0, set[str](), list[datetime](), 0
        for number in range(_MOST_PAGES):
            page = await self._history.inbound(since, number)
            if isinstance(page, Unknown):
                return CaughtUp(found, problem=f"inbound messages: {page.reason}")
            known_pages = known_pages + 1 if seen.issuperset(page.ids) else 0
            if not page.ids or known_pages == _MOST_KNOWN_PAGES:  # or a provider that gives one page for ever
                break
            seen.update(page.ids)
            newest += [page.newest_at] if page.newest_at else []
            found += await self._take(page.events)
            await asyncio.sleep(self._gap_seconds)
        else:
            return CaughtUp(found, problem=f"inbound messages: more than {_MOST_PAGES} pages")
        newest_at = max(newest, default=None)
        await self._store.write(partial(catching_up.listed, newest_at=newest_at, now=self._clock.now()))
        return CaughtUp(found)

    async def _take(self, events: Sequence[Event]) -> int:
        """How many were new."""
        results = [await self._inbox.take(event, EventSource.CATCH_UP) for event in events]
        return results.count(EventResult.ACCEPTED)

    # --- how far our messages got ---

    async def _reports(self) -> CaughtUp:
        silences = partial(messages.unreported, now=self._clock.now(), most=_MOST_QUESTIONS)
        found, unanswered, problem = 0, 0, None
        for silent in await self._store.write(silences):
            report = await self._history.report(silent.reference)
            match report:
                case Unknown(reason):
                    problem = f"receipts: {reason}"
                case Absent():
                    log.warning("message.missing", message_id=silent.message_id)
                case Event():
                    found += await self._take([report])
            # Put off without an answer too: one of which the provider cannot tell is not to stand before all others.
            is_answered = not isinstance(report, Unknown)
            now = self._clock.now()
            ask_at = rules.next_question(silent.look_ups, silent.sent_at, now, self._policy.window)
            unit = partial(messages.asked, message_id=silent.message_id, ask_at=ask_at, is_answered=is_answered)
            await self._store.write(unit)
            unanswered = 0 if is_answered else unanswered + 1
            if unanswered == _MOST_UNANSWERED:
                break
            await asyncio.sleep(self._gap_seconds)
        return CaughtUp(receipts=found, problem=problem)
