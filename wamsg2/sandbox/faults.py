"""The faults that can be switched on: each a rate from 0 (never) to 1 (always), or a time in seconds."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What goes wrong, and how often.

    A fault of a request is decided for each attempt by the seed, the phone, the text and the number of the attempt
    (never by the reference, which differs from run to run): the next attempt at the same message may succeed. Where
    several strike at once, the first in this order wins.
    A fault of a contact is decided by the seed and the phone, and so holds for the whole run.
    """

    # POST /v1/messages, the message is not accepted
    reset_before_accept: float = field(default=0.0, metadata={"help": "connection reset, not accepted"})
    timeout_before_accept: float = field(default=0.0, metadata={"help": "not accepted, and no answer ever comes"})
    too_many_requests: float = field(default=0.0, metadata={"help": "429"})
    bad_gateway: float = field(default=0.0, metadata={"help": "502 with an HTML page, not accepted"})
    server_error: float = field(default=0.0, metadata={"help": "500 with a JSON body, not accepted"})
    unauthorized: float = field(default=0.0, metadata={"help": "401 although the key is right"})
    payment_required: float = field(default=0.0, metadata={"help": "402, no credit"})
    forbidden: float = field(default=0.0, metadata={"help": "403, no scope"})
    retry_after_seconds: float = field(default=0.0, metadata={"help": "Retry-After of a 429; 0 = no header"})

    # POST /v1/messages, the message is accepted
    accept_twice: float = field(
        default=0.0, metadata={"help": "one request becomes two queue entries with one reference"}
    )
    late_wa_id: float = field(default=0.0, metadata={"help": "waId absent until the message is sent"})
    event_before_answer: float = field(
        default=0.0, metadata={"help": "message:out:sent is delivered before the answer leaves"}
    )
    accept_then_timeout: float = field(default=0.0, metadata={"help": "accepted, but no answer ever comes"})
    accept_then_reset: float = field(default=0.0, metadata={"help": "accepted, then connection reset"})
    slow_answer: float = field(default=0.0, metadata={"help": "accepted, the answer waits slow_answer_seconds"})
    accept_then_bad_gateway: float = field(default=0.0, metadata={"help": "accepted, answered 502 HTML"})
    accept_then_server_error: float = field(default=0.0, metadata={"help": "accepted, answered 500 with a JSON body"})
    unreadable_answer: float = field(default=0.0, metadata={"help": "accepted, answered 201 with broken JSON"})
    wrong_json: float = field(default=0.0, metadata={"help": "accepted, answered 201 with JSON of another shape"})
    slow_drip: float = field(
        default=0.0, metadata={"help": "accepted, the answer comes byte by byte over timeout_seconds"}
    )
    endless_body: float = field(default=0.0, metadata={"help": "accepted, the answer goes on for timeout_seconds"})
    timeout_seconds: float = field(
        default=120.0, metadata={"help": "how long a fault that outlasts its client holds on"}
    )
    slow_answer_seconds: float = field(default=5.0, metadata={"help": "how late a slow answer is"})
    faulty_attempts: int = field(
        default=0, metadata={"help": "only the first N attempts at a message meet a fault; 0 = all may"}
    )

    # GET
    lookup_error: float = field(default=0.0, metadata={"help": "502 with an HTML page on GET /v1/messages"})
    lookup_lag_seconds: float = field(
        default=0.0, metadata={"help": "GET /v1/messages does not list a message before this age"}
    )
    device_offline: float = field(default=0.0, metadata={"help": "GET /v1/devices shows the session offline"})

    # webhooks
    drop_event: float = field(default=0.0, metadata={"help": "an event is lost and never delivered"})
    duplicate_event: float = field(default=0.0, metadata={"help": "an event is delivered twice"})
    reorder_event: float = field(default=0.0, metadata={"help": "an event is held back, others overtake it"})
    reorder_window_seconds: float = field(default=0.5, metadata={"help": "longest time an event is held back"})
    missing_delivered: float = field(default=0.0, metadata={"help": "no `delivered` receipt, `read` comes first"})

    gzip_body: float = field(default=0.0, metadata={"help": "the body of a webhook comes as gzip"})
    chunked_body: float = field(default=0.0, metadata={"help": "the body of a webhook comes without its length"})
    bare_signature: float = field(default=0.0, metadata={"help": "a signature is bare hex, without sha256="})

    # messages on their way
    dropped_message: float = field(
        default=0.0, metadata={"help": "the queue drops a message: expired, removed, invalid or cancelled"}
    )
    hidden_wa_id: float = field(default=0.0, metadata={"help": "the queue never tells the waId of a message"})
    other_words: float = field(
        default=0.0, metadata={"help": "readed or played for read, and the word stands around the entity only"}
    )

    # contacts
    delivery_failure: float = field(default=0.0, metadata={"help": "contacts without WhatsApp: message:out:failed"})
    lid_sender: float = field(default=0.0, metadata={"help": "contacts who write as …@lid, without a phone"})
    nested_shape: float = field(default=0.0, metadata={"help": "contacts whose replies come in the nested shape"})
    lid_number: float = field(default=0.0, metadata={"help": "…@lid contacts whose fromNumber repeats its digits"})
    other_device: float = field(
        default=0.0, metadata={"help": "contacts who also write to another device of the account"}
    )
    empty_first: float = field(
        default=0.0, metadata={"help": "contacts whose replies come as ciphertext first, then with their words"}
    )
    missing_body: float = field(default=0.0, metadata={"help": "contacts whose replies have a null body"})

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            _check(name, value)

    @classmethod
    def from_json(cls, values: Mapping[str, object]) -> Self:
        """Faults from their JSON object; absent ones are off. Raises ``ValueError`` on a name or value unknown."""
        known = {item.name for item in fields(cls)}
        if unknown := sorted(values.keys() - known):
            raise ValueError(f"unknown fault: {', '.join(unknown)}")
        return cls(**{name: _number(name, value) for name, value in values.items()})  # type: ignore[arg-type] # __post_init__ refuses a fractional count

    def rate_of(self, name: str) -> float:
        """The rate of the fault of this name."""
        return float(getattr(self, name))


def is_rate(name: str) -> bool:
    """Whether this field of ``Faults`` is a rate, not a time or a count."""
    return not name.endswith("_seconds") and name != "faulty_attempts"


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be a number")  # noqa: TRY004 - one error class for whoever sends JSON
    return value


def _check(name: str, value: float) -> None:
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} must be a number from 0")
    if is_rate(name) and value > 1:
        raise ValueError(f"{name} is a rate, from 0 to 1")
    if name == "faulty_attempts" and not isinstance(value, int):
        raise ValueError(f"{name} is a whole number")
