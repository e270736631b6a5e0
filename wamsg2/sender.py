"""The one loop that sends: claim, commit, wait for the turn, request, settle.

No request leaves without a committed row that says so, and no transaction is open while one is under way.
"""

import asyncio
import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random

import structlog

from wamsg2.bell import Bell
from wamsg2.clock import Clock
from wamsg2.model import (
    Accepted,
    Claim,
    Deferred,
    Held,
    MessageStatus,
    Outcome,
    Policy,
    Rejected,
    Start,
    Uncertain,
    Withdrawn,
)
from wamsg2.pacing import FailureRun, TokenBucket, backoff_seconds
from wamsg2.store.database import Store
from wamsg2.store.writer import StoreUnavailableError
from wamsg2.wassenger.client import Client
from wamsg2.work import claiming, settling

log = structlog.get_logger()

#: Claims are made this much ahead of their turn, so that the commit does not slow the pace; at most this long a
#: claimed Message 1 can stand before a Message 2 that has just fallen due.
LEAD_SECONDS = 0.05
_STORE_RETRY_SECONDS = 1.0
#: After a hold, others are tried for so long before the message that was refused.
_OTHERS_FIRST_SECONDS = 5.0
#: Without a limit, claims wait so long for company: the commit of one costs as much as a request.
_GROUP_SECONDS = 0.002
#: Timers count in whole milliseconds and may be two late: the rest is waited for in steps, each a turn of the loop.
_TIMER_SECONDS, _LEAST_SECONDS = 0.002, 0.0004


@dataclass(frozen=True, slots=True)
class _Hold:
    """Nothing is sent; times are monotonic."""

    reason: str
    since_seconds: float
    until_seconds: float  #: then one message is tried


class Sender:
    """Sends what is queued, at the limit, Message 2 first.

    Args:
        store: the database.
        client: the provider.
        clock: wall and monotonic time.
        random: jitter of back-offs.
        policy: for replies that wait for a message to settle.
        rate_limit_seconds: between the starts of two sends; 0 for no limit.
        most_in_flight: requests under way at once.
        failures: notices when sends go wrong in a row; None: nobody does.
    """

    def __init__(
        self,
        *,
        store: Store,
        client: Client,
        clock: Clock,
        random: Random,
        policy: Policy,
        rate_limit_seconds: float,
        most_in_flight: int,
        failures: FailureRun | None = None,
    ) -> None:
        self._store = store
        self._client = client
        self._clock = clock
        self._random = random
        self._policy = policy
        self._limit = timedelta(seconds=rate_limit_seconds)
        self._bucket = TokenBucket(rate_limit_seconds, now_seconds=clock.monotonic())
        self._most_in_flight = most_in_flight
        self._bell = Bell()
        self._stopping = False
        self._in_flight: set[asyncio.Task[None]] = set()
        self._unsent: dict[int, int] = {}  # message id -> contact id, of claims whose request has not started
        self._withdrawn: set[int] = set()  # contacts, since the last claim was asked for
        self._failure_run = failures or FailureRun(0, 1.0)
        self._failures = 0  # holds in a row, without a message that went well between them
        self._held: _Hold | None = None
        self._accepted = 0  # messages, by this process
        self._accepted_at_refusal: dict[int, int] = {}  # message id -> how many had been accepted when it was refused
        self._blocked: str | None = None
        self.last_send_at: datetime | None = None

    # --- what others tell and ask ---

    def wake(self) -> None:
        """Look at the queue again: something may be due."""
        self._bell.ring()

    def withdraw(self, contact_id: int) -> None:
        """Send nothing more to this contact, even what is claimed already or in the same commit."""
        self._withdrawn.add(contact_id)
        for message_id in [m for m, c in self._unsent.items() if c == contact_id]:
            del self._unsent[message_id]

    def stop(self) -> None:
        """Claim nothing more; `run` returns when the requests under way are settled."""
        self._stopping = True
        self._bell.ring()

    def block(self, reason: str | None) -> None:
        """Send nothing, for this reason, until called again with None."""
        if reason is None and self._blocked:
            log.info("sending.resumed")
        elif reason and reason != self._blocked:
            log.warning("sending.held", reason=reason)
        self._blocked = reason
        self._bell.ring()

    @property
    def held(self) -> str | None:
        """Why nothing is sent now, or None."""
        return self._blocked or (self._held.reason if self._held else None)

    @property
    def in_flight(self) -> int:
        """Requests under way."""
        return len(self._in_flight)

    # --- the loop ---

    async def run(self) -> None:
        """Send until `stop`; an error that is nobody's answer ends it, and with it the process."""
        while not self._stopping:
            delay_seconds = await self.step()
            if delay_seconds:
                await self._bell.wait(delay_seconds)
        await self.settle_all()

    async def settle_all(self) -> None:
        """Wait for the requests under way."""
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    async def step(self) -> float:
        """Start what may start now; seconds until there may be more (0: at once, inf: when woken)."""
        now_seconds = self._clock.monotonic()
        if (hold_seconds := self._hold_seconds()) > 0:
            return hold_seconds
        if (free := await self._room()) <= 0:
            return math.inf  # a settled request wakes us
        most = self._bucket.tokens_within(now_seconds, LEAD_SECONDS, free)
        if not most:
            return max(self._bucket.ready_at_seconds - now_seconds - LEAD_SECONDS, 0.001)
        now, held = self._clock.now(), self._held
        due_before = now + timedelta(seconds=LEAD_SECONDS)
        unit = partial(claiming.claim, now=now, due_before=due_before, most=most, limit=self._limit)
        self._withdrawn.clear()
        try:
            claimed = await self._store.write(unit)
        except StoreUnavailableError as error:
            self._hold(str(error), _STORE_RETRY_SECONDS)
            return _STORE_RETRY_SECONDS
        for message_id, reason in claimed.dropped:
            log.warning("message.dropped", message_id=message_id, reason=reason)
        self._unsent |= {c.message_id: c.contact_id for c in claimed.claims if c.contact_id not in self._withdrawn}
        for claim in claimed.claims:
            await self._start(claim)
        if claimed.claims:
            return 0
        if (
            self._held is held and claimed.next_due_at is None
        ):  # an answer that came meanwhile may hold the queue anew
            self._held = None  # nothing to try it with
        if claimed.next_due_at is None:
            return math.inf
        return max((claimed.next_due_at - now).total_seconds() - LEAD_SECONDS, 0.001)

    async def _room(self) -> int:
        """How many requests may be under way besides those that are."""
        if not self._limit and 0 < self.in_flight < self._most_in_flight:
            await asyncio.sleep(_GROUP_SECONDS)  # others end meanwhile: one commit serves their successors
        return 1 - self.in_flight if self._failures else self._most_in_flight - self.in_flight

    async def _start(self, claim: Claim) -> None:
        """Wait for the message's turn, then start its request; one that may not leave any more is settled."""
        due_in_seconds = (claim.due_at - self._clock.now()).total_seconds()
        due_at = self._clock.monotonic() + min(due_in_seconds, LEAD_SECONDS)
        while (wait_seconds := self._until_turn(due_at)) > 0:  # noqa: ASYNC110 - a timer may fire early
            await asyncio.sleep(max(wait_seconds - _TIMER_SECONDS, min(wait_seconds, _LEAST_SECONDS)))
        if self._stopping or self._hold_seconds() > 0:
            self._unsent.pop(claim.message_id, None)
            await self._settle(claim, Deferred(self.held or "the daemon was stopping"), None)
            return
        self._bucket.take(self._clock.monotonic())
        task = asyncio.get_running_loop().create_task(self._send(claim), name=f"send-{claim.message_id}")
        self._in_flight.add(task)
        task.add_done_callback(self._finished)
        if self._limit:
            await asyncio.sleep(0)  # it starts now: the next one keeps its distance from there

    def _until_turn(self, due_at_seconds: float) -> float:
        # Asked again and again: the send before this one may start late.
        return max(self._bucket.ready_at_seconds, due_at_seconds) - self._clock.monotonic()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._bell.ring()

    async def _send(self, claim: Claim) -> None:
        if self._unsent.pop(claim.message_id, None) is None:
            await self._settle(claim, Withdrawn("contact opted out"), None)
            return
        self.last_send_at = self._clock.now()
        started_seconds = self._clock.monotonic()
        start = Start(self.last_send_at, timedelta(seconds=self._bucket.note_start(started_seconds)))
        try:
            outcome = await self._client.send(claim)
        except Exception as error:
            log.exception("request.broken", message_id=claim.message_id)
            outcome = Uncertain(f"internal error ({type(error).__name__})")
        outcome = self._take_in(claim, outcome, started_seconds)
        if not isinstance(outcome, Held):
            self._accepted += isinstance(outcome, Accepted)
            self._accepted_at_refusal.pop(claim.message_id, None)
        status = await self._settle(claim, outcome, start)
        self._learn(outcome, status, started_seconds)

    # --- outcomes ---

    def _take_in(self, claim: Claim, outcome: Outcome, started_seconds: float) -> Outcome:
        """What an answer that nothing can be sent now means for the queue as a whole."""
        match outcome:
            case Deferred(_, None) | Held() if self._is_old_news(started_seconds):
                pass
            case Deferred(reason, retry_after):
                self._failures += 1
                seconds = retry_after.total_seconds() if retry_after else self._backoff(1.0, 60.0)
                self._hold(reason, seconds)
                return Deferred(reason, timedelta(seconds=seconds))
            case Held(reason, is_about_device):
                self._failures += 1
                seconds = self._backoff(60.0, 600.0)
                self._hold(reason, seconds)
                if not is_about_device:
                    return self._put_behind(claim, outcome, seconds)
            case Accepted() | Rejected() | Uncertain() | Withdrawn():
                pass
        return outcome

    def _put_behind(self, claim: Claim, refused: Held, hold_seconds: float) -> Held:
        """Have others tried first: perhaps this message alone is refused."""
        accepted_before = self._accepted_at_refusal.get(claim.message_id, 0)
        self._accepted_at_refusal[claim.message_id] = self._accepted
        retry_after = timedelta(seconds=hold_seconds + _OTHERS_FIRST_SECONDS)
        return replace(refused, retry_after=retry_after, is_alone=self._accepted > accepted_before)

    def _learn(self, outcome: Outcome, status: MessageStatus | None, started_seconds: float) -> None:
        """Whether it is better to go on, from how a request ended that started then."""
        if self._is_old_news(started_seconds):
            return
        match outcome:
            case Uncertain() if status is not MessageStatus.UNCERTAIN:
                self._failure_run.note(failed=False)  # its receipt was faster than its answer
            case Accepted():
                self._failure_run.note(failed=False)
                self._resume()
            case Rejected(is_about_person=True):
                pass  # a bad number says nothing of the others
            case Rejected(reason) | Uncertain(reason):
                self._failure_run.note(failed=True)
                if self._failure_run.is_on:
                    self._failures += 1
                    self._hold(f"{self._failure_run}, the last: {reason}", self._backoff(60.0, 600.0))
                elif isinstance(outcome, Rejected):
                    self._resume()
            case Deferred() | Held() | Withdrawn():
                pass

    def _is_old_news(self, started_seconds: float) -> bool:
        """Whether a request that started then was under way when the queue was held: it says nothing of now."""
        return self._held is not None and started_seconds < self._held.since_seconds

    def _resume(self) -> None:
        """A message went its way: so may the others."""
        self._failures = 0
        if self._held:
            log.info("sending.resumed")
            self._held = None
            self._failure_run.clear()

    def _hold_seconds(self) -> float:
        if self._blocked:
            return math.inf  # whoever blocked it rings
        return self._held.until_seconds - self._clock.monotonic() if self._held else 0.0

    def _backoff(self, base_seconds: float, most_seconds: float) -> float:
        return backoff_seconds(self._failures, self._random, base_seconds=base_seconds, most_seconds=most_seconds)

    def _hold(self, reason: str, seconds: float) -> None:
        log.warning("sending.held", reason=reason, next_try_seconds=round(seconds, 1))
        now_seconds = self._clock.monotonic()
        until_seconds = now_seconds + seconds
        if self._held and self._held.until_seconds > until_seconds:  # the longer one stands
            reason, until_seconds = self._held.reason, self._held.until_seconds
        self._held = _Hold(reason, now_seconds, until_seconds)

    async def _settle(self, claim: Claim, outcome: Outcome, start: Start | None) -> MessageStatus | None:
        """Store the outcome; the status that it led to. While the disk refuses, it is kept: lost, it were a doubt.

        One that cannot be stored for another reason is a doubt too, so that nothing stays under way for ever.
        """
        broken: str | None = None
        while True:
            now = self._clock.now()
            if broken is None:
                unit = partial(
                    settling.settle,
                    claim=claim,
                    outcome=outcome,
                    start=start,
                    now=now,
                    policy=self._policy,
                    signals=self,
                )
            else:
                outcome = Uncertain(broken)
                unit = partial(settling.doubt_unsettled, claim=claim, reason=broken, now=now, policy=self._policy)
            try:
                status = await self._store.write(unit)
            except StoreUnavailableError as error:
                log.warning("outcome.kept", message_id=claim.message_id, reason=str(error))
                self._hold(str(error), _STORE_RETRY_SECONDS)
                if self._stopping:
                    return None
                await asyncio.sleep(_STORE_RETRY_SECONDS)
            except Exception as error:
                log.exception("outcome.broken", message_id=claim.message_id)
                if broken is not None:
                    return None
                broken = f"internal error ({type(error).__name__})"
            else:
                self._log(claim, outcome, status)
                return status

    def _log(self, claim: Claim, outcome: Outcome, status: MessageStatus | None) -> None:
        facts = {
            "message_id": claim.message_id,
            "campaign": claim.campaign,
            "step": int(claim.step),
            "attempt": claim.attempt,
            "status": status,
        }
        match outcome:
            case Accepted():
                log.info("message.sent", **facts)
            case Rejected(reason):
                log.warning("message.failed", reason=reason, **facts)
            case Deferred(reason) | Held(reason):
                log.info("message.deferred", reason=reason, **facts)
            case Uncertain(reason) if status is MessageStatus.UNCERTAIN:
                log.warning("message.doubted", reason=reason, **facts)
            case Uncertain(reason):
                log.info("message.settled", reason=reason, **facts)
            case Withdrawn(reason):
                log.info("message.withdrawn", reason=reason, **facts)
