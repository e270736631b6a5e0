"""The simulated Wassenger: what it has accepted, sent and been told is the truth of a run."""

from collections.abc import Callable, Sequence
from datetime import datetime

from tests.simulation import bodies
from tests.simulation.courier import Courier
from tests.simulation.ledger import Attempt, Blank, Message, Report, Shown, Stage, Touch, Word
from tests.simulation.timeline import HOUR_SECONDS
from tests.simulation.weather import Outages, spread
from tests.simulation.world import Plan, World
from wamsg2.model import ReceiptStatus

#: Look-ups may lie for so long; a request is accepted at most 15 s after its start, and proof takes 120 s.
_LONGEST_LAG_SECONDS = 100.0
_LIST_LAG_SECONDS = 60.0
#: A timer may fire a rounding error before its time.
_MOMENT_SECONDS = 0.001
#: The provider's own queue keeps a message for so long at the most.
_LONGEST_QUEUE_SECONDS = 30 * HOUR_SECONDS


class Wassenger:
    """One account; one of its devices is ours."""

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
        world.timeline.after(self._queue_seconds(), self._send, message)
        return message

    def _queue_seconds(self) -> float:
        """How long the provider's queue keeps a message; none until long after the days are over."""
        random, world = self._random, self._world
        if random.random() >= world.weather.queued_long:
            return spread(random, 0.05, 5.0)
        return min(spread(random, 60.0, _LONGEST_QUEUE_SECONDS), max(world.end_seconds - world.timeline.seconds, 1.0))

    def _send(self, message: Message) -> None:
        timeline, random, weather = self._world.timeline, self._random, self._world.weather
        if (online_at := self.offline.end(timeline.seconds)) is not None:
            timeline.after(online_at - timeline.seconds + random.uniform(_MOMENT_SECONDS, 5.0), self._send, message)
            return
        now, person = timeline.provider.now(), message.attempt.person
        message.processed_seconds = timeline.seconds
        if not (person.works and person.has_number(timeline.seconds)):
            message.stage = Stage.FAILED
            self._report_queue(message, ReceiptStatus.FAILED)
            return
        if not message.failed_first and random.random() < weather.failed_first:  # and tried again
            message.stage, message.failed_first = Stage.FAILED, True
            self._report_queue(message, ReceiptStatus.FAILED)
            timeline.after(spread(random, 1.0, HOUR_SECONDS), self._send, message)
            return
        message.stage = Stage.SENT
        message.sent_at = now.replace(microsecond=0 if random.random() < 0.5 else now.microsecond // 1000 * 1000)
        if self._world.account.plan is Plan.ALL:
            self._report_queue(message, ReceiptStatus.SENT)
        else:
            self._report(message, ReceiptStatus.SENT, bodies.chat_event(message, now))
        if random.random() < weather.colleague:
            timeline.after(spread(random, 0.05, HOUR_SECONDS), self._send_elsewhere, message)
        phone_is_off = random.random() < 0.1
        timeline.after(
            spread(random, 60.0, 36_000.0) if phone_is_off else spread(random, 0.1, 10.0), self._deliver, message
        )

    def _send_elsewhere(self, message: Message) -> None:
        """Somebody sends the same words to the same person, from another device of the account."""
        wa_id = f"3EB1{self._random.getrandbits(64):016X}"
        self._world.trace.note("wassenger", "elsewhere", phone=message.attempt.person.written, id=wa_id)
        body = bodies.other_devices_event(message, wa_id, self._world.timeline.provider.now())
        self._courier.send("another device's message", body)

    def _deliver(self, message: Message) -> None:
        if self._wait_for_session(self._deliver, message):
            return
        message.stage = Stage.DELIVERED
        self.delivered(message)
        if self._random.random() < 0.9 and self._world.account.plan.has_acks:  # not every phone tells
            self._ack(message, ReceiptStatus.DELIVERED)
        if self._random.random() < 0.6:
            self._world.timeline.after(spread(self._random, 0.5, 36_000.0), self._read, message)

    def _read(self, message: Message) -> None:
        if not self._wait_for_session(self._read, message):
            message.stage = Stage.READ
            if self._world.account.plan.has_acks:
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

    def _report_queue(self, message: Message, status: ReceiptStatus) -> None:
        """The queue's own word, which names everything."""
        at = self._world.timeline.provider.now()
        report = Report(message, status, names_all=True)
        self._note(report)
        if self._world.account.tells_in_rows:
            self._courier.send_in_a_row(
                f"message {status.value}", bodies.row_event(message, message.stage, at), report
            )
        else:
            self._courier.send(f"message {status.value}", bodies.queue_event(message, message.stage, at), report)

    def _report(self, message: Message, status: ReceiptStatus, body: bytes, *, shows_lid: bool = False) -> None:
        report = Report(message, status, shows_lid)
        self._note(report)
        self._courier.send(f"message {status.value}", body, report)

    def _note(self, report: Report) -> None:
        message, attempt = report.message, report.message.attempt
        self._world.trace.note(
            "wassenger", report.status.value, phone=attempt.person.written, reference=attempt.reference,
            id=message.wa_id,
        )  # fmt: skip

    def found(self, reference: str) -> Sequence[Message]:
        """What the search shows of a reference now: what is not listed yet, or removed already, it does not."""
        now_seconds, kept_seconds = self._world.timeline.seconds, self._world.account.keeps_seconds
        return [
            m
            for m in self._world.ledger.messages_of.get(reference, ())
            if m.visible_seconds <= now_seconds
            and (m.processed_seconds is None or now_seconds < m.processed_seconds + kept_seconds)
        ]

    # --- what people write ---

    def write(self, word: Word) -> None:
        """Somebody writes to us; a device that is offline gets it when it is back."""
        self._world.ledger.words[word.wa_id] = word
        self._world.trace.note(
            "contact", "writes", phone=word.person.written, id=word.wa_id, text=word.text,
            shown=word.shown.name.lower(), quotes=word.quotes and word.quotes.wa_id,
            to="another device" if word.to_other_device else None,
        )  # fmt: skip
        timeline = self._world.timeline
        online_at = self.offline.end(timeline.seconds) or timeline.seconds
        word.listed_seconds = online_at + self._random.uniform(0.0, _LIST_LAG_SECONDS) * (self._world.weather.lag > 0)
        timeline.after(online_at - timeline.seconds, self._tell_word, word)

    def _tell_word(self, word: Word) -> None:
        random = self._random
        if random.random() < self._world.weather.blank:
            self._courier.send("message in, blank", bodies.inbound_event(word, is_blank=True), Blank(word))
            self._world.timeline.after(spread(random, 0.05, 60.0), self._tell_words, word)
        else:
            self._tell_words(word)

    def _tell_words(self, word: Word) -> None:
        can_be_nested = word.shown is Shown.NUMBER and word.quotes is None and not word.to_other_device
        nested = can_be_nested and self._random.random() < 0.3
        body = bodies.nested_inbound_event(word) if nested else bodies.inbound_event(word)
        self._courier.send("message in", body, word)

    def react(self, message: Message) -> None:
        """Somebody puts an emoji on a message of ours."""
        if not self._world.account.plan.has_acks:
            return
        self._world.trace.note("contact", "reacts", phone=message.attempt.person.written, id=message.wa_id)
        body = bodies.reaction_event(message, self._world.timeline.provider.now())
        self._courier.send("reaction", body, Touch(message.wa_id))

    def listed(self, after: datetime) -> list[Word]:
        """What people wrote since then, the newest first."""
        now_seconds = self._world.timeline.seconds
        words = self._world.ledger.words.values()
        shown = [
            w for w in words if w.listed_seconds <= now_seconds and w.written_at >= after and not w.to_other_device
        ]
        return sorted(shown, key=lambda w: (w.written_at, w.wa_id), reverse=True)

    # --- the webhook ---

    @property
    def webhook_is_enabled(self) -> bool:
        """Whether events are delivered."""
        return self._courier.is_enabled

    def enable_webhook(self) -> None:
        """As asked through the API."""
        self._courier.enable()
