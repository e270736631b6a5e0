"""Judges whether webhooks come in, by what was refused, what was accepted and what catch-up found. No I/O."""

from collections import deque
from datetime import datetime, timedelta

from wamsg2.clock import Clock
from wamsg2.model import Finding

#: Refusals within `_REFUSALS_WITHIN_SECONDS` that make a problem: fewer may be strangers.
_REFUSALS = 3
_REFUSALS_WITHIN_SECONDS = 3600.0
#: A webhook may be this late: Wassenger tries it again after a failure.
_LATE = timedelta(minutes=2)
#: The webhook of a sent message may come this long before the time of sending: two clocks are compared.
_EARLY = timedelta(minutes=5)


class Arrivals:
    """What is known of the arrival of webhooks.

    Attributes:
        refused: not ok while requests are refused for their secret or signature and none is accepted; ok once one is
            accepted; None before anything is known.
        lost: not ok from when catch-up found what a webhook should have brought, until a round has found nothing more
            and a webhook was accepted; None before anything is known.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._expected_from = clock.now()
        self._proved_after = clock.now()  # a webhook accepted after this time shows that they come
        self._accepted_at: datetime | None = None
        self._refused_first_at = clock.now()
        self._refused_count = 0
        self._refused_seconds: deque[float] = deque(maxlen=_REFUSALS)
        self._lost_messages = self._lost_receipts = 0
        self._is_round_clean = True
        self.refused: Finding | None = None
        self.lost: Finding | None = None

    def accept(self) -> None:
        """Note a webhook that was stored."""
        now = self._accepted_at = self._clock.now()
        self._refused_count = 0
        self._refused_seconds.clear()
        if self.refused is None or not self.refused.ok:
            self.refused = Finding(ok=True, detail="webhooks are accepted", checked_at=now)

    def refuse(self) -> None:
        """Note a request with a wrong secret or signature."""
        now, seconds = self._clock.now(), self._clock.monotonic()
        if not self._refused_count:
            self._refused_first_at = now
        self._refused_count += 1
        self._refused_seconds.append(seconds)
        is_full = len(self._refused_seconds) == _REFUSALS
        is_problem = is_full and seconds - self._refused_seconds[0] <= _REFUSALS_WITHIN_SECONDS
        if is_problem or (self.refused and not self.refused.ok):
            since = self._refused_first_at.isoformat(timespec="seconds").replace("+00:00", "Z")
            detail = (
                f"{self._refused_count} requests were refused for their secret or signature since {since}, "
                "and none was accepted: compare webhook.secrets and the webhook's address at Wassenger"
            )
            self.refused = Finding(ok=False, detail=detail, checked_at=now)

    def excuse(self) -> None:
        """Expect no webhook of what happened until now: it is known why some may be missing."""
        self._expected_from = self._clock.now()

    def found_message(self, written_at: datetime | None) -> None:
        """Note a message that catch-up found, with the time of writing by the provider's clock."""
        if written_at and self._expected_from <= written_at <= self._clock.now() - _LATE:
            self._lost_messages += 1
            self._is_round_clean = False

    def found_receipt(self, sent_at: datetime) -> None:
        """Note a receipt that catch-up found, with the time at which its message was sent.

        Only a message of which no webhook can have told counts: not every plan has webhooks for every receipt.
        """
        is_told = self._accepted_at is not None and self._accepted_at >= sent_at - _EARLY
        if sent_at >= self._expected_from and not is_told:
            self._lost_receipts += 1
            self._is_round_clean = False

    def end_round(self, *, is_complete: bool) -> None:
        """Judge a round of catch-up. One that is incomplete may find a loss, and never shows that there is none."""
        now = self._clock.now()
        if not self._is_round_clean:
            self._is_round_clean, self._proved_after = True, now
            detail = (
                f"catch-up found {self._lost_messages} messages and {self._lost_receipts} receipts that no webhook "
                "had brought: look at the proxy and at Wassenger's log of the webhook"
            )
            self.lost = Finding(ok=False, detail=detail, checked_at=now)
        elif is_complete and self._accepted_at and self._accepted_at > self._proved_after:
            self._lost_messages = self._lost_receipts = 0
            self.lost = Finding(ok=True, detail="webhooks bring what they should", checked_at=now)
