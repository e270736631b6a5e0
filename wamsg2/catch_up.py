"""Asks for what webhooks should have told: after a start, at intervals, and when somebody wants it."""

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from wamsg2 import rules
from wamsg2.arrivals import Arrivals
from wamsg2.bell import Bell
from wamsg2.clock import Clock
from wamsg2.inbox import Inbox
from wamsg2.model import Absent, Event, EventResult, EventSource, InboundMessage, Policy, Unknown
from wamsg2.store import listings, messages
from wamsg2.store.database import Store
from wamsg2.store.listings import Listing
from wamsg2.store.writer import StoreUnavailableError, WriterStoppedError
from wamsg2.wassenger.history import History, Page
from wamsg2.work import catching_up

log = structlog.get_logger()

#: Pages of a list in one round. Then receipts are asked for, and the next round goes on with the list.
_MOST_PAGES = 300
#: So many questions about single messages in one round, and so many in a row without an answer.
_MOST_QUESTIONS = 100
_MOST_UNANSWERED = 3
#: A page of nothing but known messages is the end, unless a burst came in between and pushed them there.
_MOST_KNOWN_PAGES = 2


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What a round found that no webhook had told.

    Attributes:
        messages: number of messages from people.
        receipts: number of receipts of our messages.
        problem: why the round ended early, if it did.
        is_unfinished: the list of messages is longer than the round.
    """

    messages: int = 0
    receipts: int = 0
    problem: str | None = None
    is_unfinished: bool = False


class CatchUp:
    """Finds inbound messages and receipts whose webhooks were lost.

    Args:
        store: the database.
        history: the provider.
        inbox: takes in what is found, as if its webhook had come.
        clock: for what is due.
        policy: how long a message without a receipt is asked about.
        arrivals: told what is found, to judge whether a webhook should have brought it.
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
        arrivals: Arrivals,
        interval_seconds: float,
        gap_seconds: float,
    ) -> None:
        self._store = store
        self._history = history
        self._inbox = inbox
        self._clock = clock
        self._policy = policy
        self._arrivals = arrivals
        self._interval_seconds = interval_seconds or math.inf
        self._gap_seconds = gap_seconds
        self._bell = Bell()
        self._thorough_from: datetime | None = None  # None: the next round is a thorough one
        self.last_at: datetime | None = None  #: when a round last came to its end
        self.problem: str | None = None  #: why the last one did not

    def ask(self) -> None:
        """Start a thorough round soon: events may have been lost."""
        self._arrivals.excuse()
        self._thorough_from = None
        self._bell.ring()

    async def run(self) -> None:
        """Catch up for ever."""
        while True:
            done = await self.step()
            if not done.is_unfinished:
                await self._bell.wait(self._interval_seconds)

    async def finish(self) -> CaughtUp:
        """Do rounds until the list is finished; return the sum of what they found, and the last problem."""
        done = await self.step()
        while done.is_unfinished:
            more = await self.step()
            done = CaughtUp(
                done.messages + more.messages,
                done.receipts + more.receipts,
                more.problem or done.problem,
                more.is_unfinished,
            )
        return done

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
            self._arrivals.excuse()  # webhooks were refused too
        if inbound.problem and thoroughly:
            self._thorough_from = None
        done = CaughtUp(inbound.messages, reports.receipts, inbound.problem or reports.problem, inbound.is_unfinished)
        self.problem = done.problem
        is_complete = done.problem is None and not done.is_unfinished
        self._arrivals.end_round(is_complete=is_complete)
        if is_complete:
            self.last_at = self._clock.now()
        if done.messages or done.receipts or done.problem:
            log.warning("catch_up.done", messages=done.messages, receipts=done.receipts, problem=done.problem)
        return done

    # --- what people wrote ---

    async def _inbound(self, now: datetime, *, thoroughly: bool) -> CaughtUp:
        unit = partial(catching_up.begin, now=now, thoroughly=thoroughly)
        listing, is_new = await self._store.write(unit)
        if thoroughly and not is_new:
            self._thorough_from = None  # the next list is a thorough one
        return CaughtUp() if listing is None else await self._read(listing)

    async def _read(self, listing: Listing) -> CaughtUp:
        """Read the next pages of a list, as many as one round may."""
        found, seen, known_pages = 0, set[str](), 0
        for number in _pages(listing):
            page = await self._history.inbound(listing.since, number)
            if isinstance(page, Unknown):
                if seen and number == listing.next_page:  # the first page was answered, and this one is not
                    await self._begin_anew()
                return CaughtUp(found, problem=f"inbound messages: {page.reason}")
            known_pages = known_pages + 1 if seen.issuperset(page.ids) else 0
            if not page.ids or known_pages == _MOST_KNOWN_PAGES:  # or a provider that gives one page for ever
                await self._store.write(partial(catching_up.finish, listing=listing, now=self._clock.now()))
                return CaughtUp(found)
            seen.update(page.ids)
            found += await self._take_messages(self._listed_events(page, listing))
            if number >= listing.next_page:
                unit = partial(listings.reached, listing=listing, next_page=number + 1, newest_at=page.newest_at)
                await self._store.write(unit)
            await asyncio.sleep(self._gap_seconds)
        return CaughtUp(found, is_unfinished=True)

    async def _begin_anew(self) -> None:
        """Give the list up; the next round begins another that reaches as far back."""
        await self._store.write(listings.remove)
        self._thorough_from = None

    def _listed_events(self, page: Page, listing: Listing) -> Sequence[Event]:
        """The events of a page, without those that have become too old since the list began."""
        oldest_at = rules.oldest_listed(self._clock.now())
        return [event for event in page.events if not _is_between(event, listing.since, oldest_at)]

    async def _take_messages(self, events: Sequence[Event]) -> int:
        """Take in messages; return how many were new."""
        new = [event for event in events if await self._is_new(event)]
        for event in new:
            if isinstance(event.content, InboundMessage):
                self._arrivals.found_message(event.content.written_at)
        return len(new)

    async def _is_new(self, event: Event) -> bool:
        return await self._inbox.take(event, EventSource.CATCH_UP) is EventResult.ACCEPTED

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
                    if await self._is_new(report):
                        found += 1
                        self._arrivals.found_receipt(silent.sent_at)
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


def _pages(listing: Listing) -> Iterator[int]:
    """The page numbers of a round. The first page is read in each one: it has what came in since the list began."""
    if listing.next_page:
        yield 0
    yield from range(listing.next_page, listing.next_page + _MOST_PAGES)


def _is_between(event: Event, since: datetime, until: datetime) -> bool:
    content = event.content
    return (
        isinstance(content, InboundMessage) and content.written_at is not None and since <= content.written_at < until
    )
