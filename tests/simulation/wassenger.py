"""The simulated Wassenger: what it has accepted, sent and been told is the truth of a run."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from tests.simulation import bodies
from tests.simulation.courier import Courier
from tests.simulation.ledger import Attempt, Message, Report, Shown, Stage, Touch, Word
from tests.simulation.weather import Outages, spread
from tests.simulation.world import World
from wamsg2.model import ReceiptStatus

#: Look-ups may lie for so long; a request is accepted at most 15 s after its start, and proof takes 120 s.
_LONGEST_LAG_SECONDS = 100.0
_LIST_LAG_SECONDS = 60.0
#: A timer may fire a rounding error before its time.
_MOMENT_SECONDS = 0.001


class Wassenger:
    """One account with one device."""

    def __init__(self, world: World, courier: Courier) -> None:
        self._world = world
        self._courier = courier
        self._random = world.chance("wassenger")
        self.offline = Outages.drawn(
            world.chance("offline"), days=world.days, a_day=0.5, shortest=60.0, longest=6 * 3600.0
        )
        self.no_credit = Outages.drawn(
            world.chance("credit"), days=world.days, a_day=0.5, shortest=60.0, longest=2 * 3600.0
        )
        self.delivered: Callable[[Message], None] = lambda _: None  #: the person has it on their phone
        for start, end in self.offline.spans:
            for seconds in (start, end):
                world.timeline.after(seconds, self._tell_session)

    @property
    def is_online(self) -> bool:
        """Whether the device is connected to WhatsApp."""
        return self.offline.end(self._world.timeline.seconds) is None

    def _tell_session(self) -> None:
        self._world.trace.note("wassenger", "online" if self.is_online else "offline")
        self._courier.send("number:session", b'{"event":"number:session","data":{}}')

    # --- our messages ---

    def accept(self, attempt: Attempt, text: str) -> Message:
        """A request has arrived, and is taken."""
        world, random = self._world, self._random
        number = len(world.ledger.messages) + 1
        lag_seconds = random.uniform(0.0, _LONGEST_LAG_SECONDS) if random.random() < world.weather.lag else 0.0
        moment = world.trace.note(
            "wassenger", "accepted", phone=attempt.person.written, reference=attempt.reference, text=text
        )
        message = Message(attempt, text, f"{number:024x}", f"3EB0{number:016X}", moment, moment.seconds + lag_seconds)
        world.ledger.messages.append(message)
        world.ledger.messages_of[attempt.reference].append(message)
        world.timeline.after(spread(random, 0.05, 5.0), self._send, message)
        return message

    def _send(self, message: Message) -> None:
        timeline, random = self._world.timeline, self._random
        if (online_at := self.offline.end(timeline.seconds)) is not None:
            timeline.after(online_at - timeline.seconds + random.uniform(_MOMENT_SECONDS, 5.0), self._send, message)
            return
        now = timeline.provider.now()
        if not message.attempt.person.works:
            message.stage = Stage.FAILED
            self._report(message, ReceiptStatus.FAILED, bodies.queue_event(message, Stage.FAILED, now))
            return
        message.stage = Stage.SENT
        message.sent_at = now.replace(microsecond=0 if random.random() < 0.5 else now.microsecond // 1000 * 1000)
        self._report(message, ReceiptStatus.SENT, bodies.queue_event(message, Stage.SENT, now))
        phone_is_off = random.random() < 0.1
        timeline.after(
            spread(random, 60.0, 36_000.0) if phone_is_off else spread(random, 0.1, 10.0), self._deliver, message
        )

    def _deliver(self, message: Message) -> None:
        if self._wait_for_session(self._deliver, message):
            return
        message.stage = Stage.DELIVERED
        self.delivered(message)
        if self._random.random() < 0.9:  # not every device tells
            self._ack(message, ReceiptStatus.DELIVERED)
        if self._random.random() < 0.6:
            self._world.timeline.after(spread(self._random, 0.5, 36_000.0), self._read, message)

    def _read(self, message: Message) -> None:
        if not self._wait_for_session(self._read, message):
            message.stage = Stage.READ
            self._ack(message, ReceiptStatus.READ)

    def _wait_for_session(self, do: Callable[[Message], None], message: Message) -> bool:
        """Whether the device is offline: then it learns of this when it is back."""
        timeline = self._world.timeline
        if (online_at := self.offline.end(timeline.seconds)) is None:
            return False
        timeline.after(online_at - timeline.seconds + _MOMENT_SECONDS, do, message)
        return True

    def _ack(self, message: Message, status: ReceiptStatus) -> None:
        with_lid = self._random.random() < 0.5
        body = bodies.ack_event(message, status, self._world.timeline.provider.now(), with_lid=with_lid)
        self._report(message, status, body, shows_lid=with_lid)

    def _report(self, message: Message, status: ReceiptStatus, body: bytes, *, shows_lid: bool = False) -> None:
        attempt = message.attempt
        self._world.trace.note(
            "wassenger", status.value, phone=attempt.person.written, reference=attempt.reference, id=message.wa_id
        )
        self._courier.send(f"message {status.value}", body, Report(message, status, shows_lid))

    def found(self, reference: str) -> Sequence[Message]:
        """What the search shows of a reference now."""
        now_seconds = self._world.timeline.seconds
        return [m for m in self._world.ledger.messages_of.get(reference, ()) if m.visible_seconds <= now_seconds]

    # --- what people write ---

    def write(self, word: Word) -> None:
        """Somebody writes to us; a device that is offline gets it when it is back."""
        self._world.ledger.words[word.wa_id] = word
        self._world.trace.note(
            "contact", "writes", phone=word.person.written, id=word.wa_id, text=word.text,
            shown=word.shown.name.lower(), quotes=word.quotes and word.quotes.wa_id,
        )  # fmt: skip
        timeline = self._world.timeline
        online_at = self.offline.end(timeline.seconds) or timeline.seconds
        word.listed_seconds = online_at + self._random.uniform(0.0, _LIST_LAG_SECONDS) * (self._world.weather.lag > 0)
        timeline.after(online_at - timeline.seconds, self._tell_word, word)

    def _tell_word(self, word: Word) -> None:
        nested = word.shown is Shown.NUMBER and word.quotes is None and self._random.random() < 0.3
        body = bodies.nested_inbound_event(word) if nested else bodies.inbound_event(word)
        self._courier.send("message in", body, word)

    def react(self, message: Message) -> None:
        """Somebody puts an emoji on a message of ours."""
        self._world.trace.note("contact", "reacts", phone=message.attempt.person.written, id=message.wa_id)
        body = bodies.reaction_event(message, self._world.timeline.provider.now())
        self._courier.send("reaction", body, Touch(message.wa_id))

    def listed(self, after: datetime) -> list[Word]:
        """What people wrote since then, the newest first."""
        now_seconds = self._world.timeline.seconds
        words = self._world.ledger.words.values()
        shown = [w for w in words if w.listed_seconds <= now_seconds and w.written_at >= after]
        return sorted(shown, key=lambda w: (w.written_at, w.wa_id), reverse=True)

    # --- the webhook ---

    @property
    def webhook_is_enabled(self) -> bool:
        """Whether events are delivered."""
        return self._courier.is_enabled

    def enable_webhook(self) -> None:
        """As asked through the API."""
        self._courier.enable()


def whole_seconds(moment: datetime) -> datetime:
    """As WhatsApp stamps messages."""
    return moment - timedelta(microseconds=moment.microsecond)
