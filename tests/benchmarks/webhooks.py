"""The webhooks that the load is made of, as whole HTTP requests, made before anything is measured.

The mix, over a database of `databases.recent`, each contact once until all have had their turn:

- 50 % replies. Those of the first half of the contacts queue a Message 2, the others are `no_recent_message_1`.
- 45 % receipts (`message:out:ack`, half of them delivered, half read) of a Message 1 that is `sent`.
- 5 % repeat a webhook of a moment before: half of them a reply, half a receipt.

Bodies are the captured ones (3 KB), each signed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from tests.benchmarks import databases, load
from tests.support import ack, inbound
from wamsg2.clock import SystemClock
from wamsg2.wassenger.signature import SIGNATURE_HEADER, sign

#: The mix repeats after so many: counts are multiples of it.
PERIOD = 40
#: A prime that no number of contacts here is a multiple of: the walk meets everyone once.
_STRIDE = 7919
_NUMBER, _WA_ID = "+34699999999", "WA-ID-TO-BE-FILLED-IN"


@dataclass(frozen=True, slots=True)
class Expected:
    """What webhooks of the mix must have led to."""

    answered: int  #: replies that queue a Message 2
    too_late: int  #: replies that are `no_recent_message_1`
    receipts: int
    duplicates: int

    @property
    def events(self) -> int:
        """How many are stored."""
        return self.answered + self.too_late + self.receipts


class Mix:
    """The webhooks of a database of `databases.recent`.

    Args:
        contacts: how many the database has.
        target: path and query of the webhook.
        signing_key: for the signature.
    """

    def __init__(self, contacts: int, target: str, signing_key: str) -> None:
        self._contacts = contacts
        self._target = target
        self._signing_key = signing_key
        now, number = SystemClock().now(), _NUMBER
        lid = f"9{number.lstrip('+')}@lid"
        self._reply = _bytes(inbound(number, at=now, wa_id=_WA_ID))
        self._receipts = [
            _bytes(ack(status, at=now, wa_id=_WA_ID, number=number, lid=lid)) for status in ("delivered", "read")
        ]

    def requests(self, first: int, count: int) -> list[bytes]:
        """The requests from number `first` on."""
        made: dict[int, bytes] = {}
        for n in range(first, first + count):
            source = _source(n)
            made[n] = made[source] if source != n else self._request(n)
        return list(made.values())

    def replies(self, count: int) -> list[bytes]:
        """A reply of each of the first contacts."""
        return [self._signed(self._filled(self._reply, n, f"AC{n:030X}")) for n in range(1, count + 1)]

    def _request(self, n: int) -> bytes:
        contact = contact_of(n, self._contacts)
        if n % 2 == 0:
            return self._signed(self._filled(self._reply, contact, f"AC{n:030X}"))
        campaign = 1 if contact <= self._contacts // 2 else 2
        body = self._receipts[n // 2 % 2]
        return self._signed(self._filled(body, contact, databases.wa_id(campaign, contact)))

    def _filled(self, template: bytes, contact: int, wa_id: str) -> bytes:
        number = databases.phone(contact).lstrip("+").encode()
        return template.replace(_NUMBER.lstrip("+").encode(), number).replace(_WA_ID.encode(), wa_id.encode())

    def _signed(self, body: bytes) -> bytes:
        return load.request(self._target, body, {SIGNATURE_HEADER: sign(body, self._signing_key)})


def expected(contacts: int, first: int, count: int) -> Expected:
    """What the requests from number `first` on lead to, as long as no contact has a second turn."""
    assert first % PERIOD == count % PERIOD == 0
    assert first + count <= contacts
    numbers = [n for n in range(first, first + count) if _source(n) == n]
    replies = [contact_of(n, contacts) for n in numbers if n % 2 == 0]
    answered = sum(contact <= contacts // 2 for contact in replies)
    return Expected(answered, len(replies) - answered, len(numbers) - len(replies), count - len(numbers))


def contact_of(n: int, contacts: int) -> int:
    """The id of the contact that request number `n` is about."""
    return n * _STRIDE % contacts + 1


def _source(n: int) -> int:
    """The number of the request that number `n` repeats; its own, if it is a new one."""
    match n % PERIOD:
        case 19:
            return n - 10
        case 39:
            return n - 9
        case _:
            return n


def _bytes(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()
