"""What happens to a message after its acceptance, and what people do about it."""

import asyncio
import time
from dataclasses import replace
from datetime import datetime

from wamsg2.sandbox.contacts import Behaviour, Reply, behaviour_of
from wamsg2.sandbox.rows import Rows
from wamsg2.sandbox.state import (
    AcceptedMessage,
    ChatMessage,
    Notice,
    World,
    new_id,
    new_inbound_wa_id,
    new_outbound_wa_id,
    now,
)
from wamsg2.sandbox.webhooks import Delivery, Event, Postman
from wamsg2.sandbox.wire import DROPPED, Device, Json, Shape, chat_event, queue_event, session_event, wid_of

#: People react to messages of this priority, and to no other.
PRIORITY_OF_MESSAGE_1 = "normal"
#: Of the same account: what people write to it is none of ours.
OTHER_DEVICE = Device("68fd1067b488de07029f0002", "+5215600000003")


class Courier:
    """Accepts messages, brings them to the contacts and brings their answers back, all told to the webhooks."""

    def __init__(self, world: World, postman: Postman, device: Device) -> None:
        self._world = world
        self._postman = postman
        self._device = device
        self._rows = Rows(world, postman)

    def accept(self, body: Json, *, has_late_wa_id: bool, copy_of: AcceptedMessage | None = None) -> AcceptedMessage:
        """Record a valid ``POST /v1/messages``; ``carry`` or ``carry_at_once`` takes it from there."""
        phone = _text(body, "phone") or ""
        wid = wid_of(phone) if phone else str(body.get("group") or body.get("channel") or body["chat"])
        said = f"{wid}/{body.get('message')}"
        message = AcceptedMessage(
            id=new_id(),
            wa_id=new_outbound_wa_id(),
            phone=phone,
            wid=wid,
            subject=f"{said}/{self._world.ledger.count('accepted', said)}",
            reference=_text(body, "reference"),
            message=_text(body, "message"),
            priority=_text(body, "priority") or "normal",
            device=self._device.id,
            accepted_at=now(),
            monotonic_seconds=time.monotonic(),
            has_late_wa_id=has_late_wa_id,
            hides_wa_id=self._world.strikes("hidden_wa_id", said),
            copy_of=copy_of.id if copy_of else None,
        )
        self._world.ledger.accept(message)
        self._world.watch(Notice("accepted", phone, f"{message.priority}: {message.message}"))
        return message

    def carry(self, message: AcceptedMessage) -> None:
        """Send the message on after its delay, in the background."""
        self._world.tasks.spawn(self._carry(message))

    def carry_at_once(self, message: AcceptedMessage) -> list[Delivery]:
        """Send the message on now, if the device is online; returns the deliveries of that news.

        The rest follows in the background.
        """
        if not self._world.online.is_set():
            self.carry(message)
            return []
        deliveries = self._send(message, at_once=True)
        self._world.tasks.spawn(self._follow_up(message))
        return deliveries

    def set_device(self, *, online: bool) -> None:
        """The device's session begins or ends: ``number:session``. Without one, messages stay queued."""
        if online is self._world.online.is_set():
            return
        if online:
            self._world.online.set()
        else:
            self._world.online.clear()
        self._world.watch(Notice("device", self._device.phone, "online" if online else "offline"))
        subject = f"session/{self._world.ledger.count('session')}"
        body = session_event(self._device, is_online=online)
        self._postman.emit(Event("number:session", self._device.phone, subject, body))

    def inbound(
        self,
        phone: str,
        text: str | None,
        *,
        at: datetime | None = None,
        quoted: str | None = None,
        wa_id: str | None = None,
        kind: str = "text",
    ) -> ChatMessage:
        """A contact writes: ``message:in:new``."""
        ledger = self._world.ledger
        message = ChatMessage(
            wa_id=wa_id or new_inbound_wa_id(),
            flow="inbound",
            phone=phone,
            body=text,
            at=at or now(),
            ack="delivered",
            type=kind,
            quoted=ledger.chat.get(quoted, quoted) if quoted else None,
        )
        ledger.chat[message.wa_id] = message
        self._world.watch(Notice("reply", phone, text or ""))
        subject = f"in/{ledger.count('in', phone)}"
        if self._world.strikes("other_device", phone):
            self._tell_other_device(replace(message, wa_id=new_inbound_wa_id()), subject)
        if self._world.strikes("empty_first", phone):
            self._tell("message:in:new", replace(message, type="ciphertext", body=None), f"{subject}/empty")
        self._tell("message:in:new", message, subject)
        return message

    def edit(self, wa_id: str, text: str) -> ChatMessage:
        """A contact changes what they wrote: ``message:update``."""
        message = self._world.ledger.chat[wa_id]
        message.body = text
        edited = f"edit/{self._world.ledger.count('edit', message.phone)}"
        body = chat_event("message:update", message, self._device, self.shape_of(message))
        data = body["data"]
        meta = data["meta"] if isinstance(data, dict) else None
        if isinstance(meta, dict):
            meta["isEdited"] = True
        self._postman.emit(Event("message:update", message.phone, f"{message.phone}/{edited}", body))
        return message

    def react(self, phone: str, emoji: str, wa_id: str) -> None:
        """A contact puts an emoji on one of our messages: ``message:reaction``."""
        target = self._world.ledger.chat.get(wa_id)
        reaction = ChatMessage(
            wa_id=wa_id,
            flow="inbound",
            phone=phone,
            body=target.body if target else None,
            at=now(),
            ack="delivered",
            reaction=emoji,
        )
        self._world.watch(Notice("reaction", phone, emoji))
        self._tell("message:reaction", reaction, f"reaction/{self._world.ledger.count('reaction', phone)}")

    def shape_of(self, message: ChatMessage) -> Shape:
        """How a message of a chat is written: what a contact sends may come in one of the odd shapes."""
        if message.flow == "outbound":
            return Shape()
        strikes = self._world.strikes
        return Shape(
            is_lid=strikes("lid_sender", message.phone),
            is_nested=strikes("nested_shape", message.phone),
            has_null_body=strikes("missing_body", message.phone),
            has_lid_number=strikes("lid_number", message.phone),
        )

    async def _carry(self, message: AcceptedMessage) -> None:
        await self._pause("sent", message)
        await self._world.online.wait()
        self._send(message)
        await self._follow_up(message)

    def _send(self, message: AcceptedMessage, *, at_once: bool = False) -> list[Delivery]:
        if message.phone and self._world.strikes("delivery_failure", message.phone):
            message.failure_reason, message.failed_at = "recipient is not a WhatsApp user", now()
            return self._report(message, "failed", at_once=at_once)
        if message.phone and self._world.strikes("dropped_message", message.subject):
            message.status = str(self._world.dice.roll("dropped", message.subject).choice(sorted(DROPPED)))
            return self._drop(message)
        message.sent_at = now()
        if message.phone:
            self._enter_chat(message, message.sent_at)
        return self._report(message, "sent", at_once=at_once)

    def _drop(self, message: AcceptedMessage) -> list[Delivery]:
        """The queue will not send it; for two of its four words there is an event."""
        self._world.watch(Notice("failed", message.phone, message.status))
        name = DROPPED[message.status]
        if name is None:
            return []
        subject = f"{message.subject}/{message.status}"
        return self._postman.emit(Event(name, message.phone, subject, queue_event(name, message, self._device)))

    def _enter_chat(self, message: AcceptedMessage, at: datetime) -> None:
        self._world.ledger.chat[message.wa_id] = sent = ChatMessage(
            wa_id=message.wa_id,
            flow="outbound",
            phone=message.phone,
            body=message.message,
            at=at,
            ack="sent",
            reference=message.reference,
        )
        if self._world.settings.emits_out_new:
            self._emit_chat("message:out:new", sent, f"{message.subject}/new", Shape())

    async def _follow_up(self, message: AcceptedMessage) -> None:
        """Receipts, and what the contact does."""
        if message.status == "failed" or message.status in DROPPED or not message.phone:
            return
        behaviour = self._behaviour_of(message.phone)
        if message.priority == PRIORITY_OF_MESSAGE_1:
            for reply in behaviour.replies:
                self._world.tasks.spawn(self._do(reply, message))
        await self._pause("delivered", message)
        self._acknowledge(message, "delivered", is_told=not self._world.strikes("missing_delivered", message.subject))
        if behaviour.reads:
            await self._pause("read", message)
            self._acknowledge(message, "read")

    async def _do(self, reply: Reply, message: AcceptedMessage) -> None:
        await asyncio.sleep(reply.after_seconds)
        if reply.is_reaction:
            self.react(message.phone, reply.text, message.wa_id)
        else:
            self.inbound(message.phone, reply.text, quoted=message.wa_id if reply.quotes else None)

    def _behaviour_of(self, phone: str) -> Behaviour:
        settings = self._world.settings
        scripted = settings.script(phone) if settings.script else None
        return scripted or behaviour_of(phone, settings.habits, self._world.dice)

    async def _pause(self, step: str, message: AcceptedMessage) -> None:
        span = getattr(self._world.settings.delays, f"{step}_seconds")
        await asyncio.sleep(self._world.dice.between_seconds(span, step, message.subject))

    def _report(self, message: AcceptedMessage, status: str, *, at_once: bool) -> list[Delivery]:
        """Tell of the queue; the deliveries are known only where the news goes out at once."""
        message.status = status
        self._world.watch(Notice(status, message.phone, message.reference or ""))
        name = f"message:out:{status}"
        element = queue_event(name, message, self._device)
        event = Event(name, message.phone, f"{message.subject}/{status}", element)
        if not at_once and self._rows.takes(event):
            return []
        return self._postman.emit(Event(name, event.phone, event.subject, [element]))

    def _acknowledge(self, message: AcceptedMessage, ack: str, *, is_told: bool = True) -> None:
        message.status = ack
        sent = self._world.ledger.chat[message.wa_id]
        sent.ack = ack
        self._world.watch(Notice(ack, message.phone, message.reference or ""))
        if is_told:
            self._emit_chat("message:out:ack", sent, f"{message.subject}/{ack}", Shape(word=self._word(message, ack)))

    def _word(self, message: AcceptedMessage, ack: str) -> str | None:
        if not self._world.strikes("other_words", message.phone):
            return None
        other = self._world.dice.roll("word", message.phone).choice(["readed", "played"])
        return other if ack == "read" else ack

    def _tell_other_device(self, message: ChatMessage, subject: str) -> None:
        body = chat_event("message:in:new", message, OTHER_DEVICE, self.shape_of(message))
        self._postman.emit(Event("message:in:new", message.phone, f"{message.phone}/{subject}/other", body))

    def _tell(self, name: str, message: ChatMessage, subject: str) -> None:
        self._emit_chat(name, message, f"{message.phone}/{subject}", self.shape_of(message))

    def _emit_chat(self, name: str, message: ChatMessage, subject: str, shape: Shape) -> None:
        self._postman.emit(Event(name, message.phone, subject, chat_event(name, message, self._device, shape)))


def _text(body: Json, name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) else None
