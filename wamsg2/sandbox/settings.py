"""What a sandbox is told when it is built."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from wamsg2.sandbox.contacts import Habits, Script
from wamsg2.sandbox.dice import Span
from wamsg2.sandbox.faults import Faults

#: Looks like a real key (80 hex characters), and opens nothing but a sandbox.
SANDBOX_KEY = "5a4d" * 20

#: How long a processed message can be looked up; None: for the life of a sandbox.
RETENTION_POLICIES: Mapping[str, timedelta | None] = {
    "plan_defaults": None,
    "never": timedelta(0),
    **{f"{minutes}m": timedelta(minutes=minutes) for minutes in (5, 15, 30)},
    **{f"{hours}h": timedelta(hours=hours) for hours in (1, 12, 24)},
    **{f"{days}d": timedelta(days=days) for days in range(2, 11)},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """How long an accepted message takes from one state to the next, in seconds, shortest and longest."""

    sent_seconds: Span = (0.0, 0.0)
    delivered_seconds: Span = (0.0, 0.0)
    read_seconds: Span = (0.0, 0.0)

    def __post_init__(self) -> None:
        for shortest, longest in (self.sent_seconds, self.delivered_seconds, self.read_seconds):
            if not 0 <= shortest <= longest:
                raise ValueError("a delay is a shortest and a longest time")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRules:
    """How webhooks are delivered: at least once, a failed attempt is repeated with exponential back-off."""

    timeout_seconds: float = 10.0  #: an attempt without an answer by then has failed
    backoff_seconds: float = 1.0  #: before the second attempt; doubles each time
    backoff_max_seconds: float = 60.0
    max_attempts: int = 100
    disable_after: int = 500  #: failed attempts in a row that disable a webhook; 0 = never
    concurrency: int = 16  #: attempts at the same time
    row_share: float = (
        0.5  #: share of ``message:out:sent`` and ``…:failed`` that wait for others, to come in one array
    )
    row_wait_seconds: Span = (0.0, 0.02)  #: how long the first one of an array waits for others
    max_row_events: int = 25  #: elements of one array


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """Everything a ``Sandbox`` needs to know; the defaults suit tests: any port, no delays, silent contacts."""

    host: str = "127.0.0.1"  #: loopback only: the control endpoints ask for no key
    port: int = 0  #: 0 = any free one
    api_key: str = SANDBOX_KEY
    device_id: str = "68fd1067b488de07029f0001"  #: 24 hex
    device_phone: str = "+5215600000002"
    seed: int = 0
    webhook_url: str | None = None  #: registered at the start, for all events; may carry ``?secret=…``
    signing_secret: str | None = None  #: signs what goes to every webhook without a secret of its own
    retention_policy: str = "plan_defaults"  #: how long processed messages are found: ``never``, ``5m``, ... ``10d``
    emits_out_new: bool = False  #: whether ``message:out:new`` precedes ``message:out:sent``
    delays: Delays = Delays()
    habits: Habits = field(default_factory=Habits)
    script: Script | None = None  #: overrules the habits where it returns a behaviour
    webhooks: WebhookRules = WebhookRules()
    faults: Faults = field(default_factory=Faults)

    def __post_init__(self) -> None:
        if self.host != "localhost" and not ipaddress.ip_address(self.host).is_loopback:
            raise ValueError(f"{self.host} is not a loopback address: a sandbox is for this machine only")
        if not re.fullmatch("[0-9a-f]{24}", self.device_id):
            raise ValueError("a device id is 24 hexadecimal characters")
        if self.retention_policy not in RETENTION_POLICIES:
            raise ValueError(f"a retention policy is one of {', '.join(RETENTION_POLICIES)}")
