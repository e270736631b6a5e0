"""A database in which much has happened, and all of it is in order: rows of every kind."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.support import KEPT, House, ack, house, inbound, inbound_from_lid, payload, receipt
from wamsg2.model import Absent, Accepted, Deferred, EventSource, Outcome, Rejected, Uncertain
from wamsg2.store import messages
from wamsg2.wassenger import events
from wamsg2.work import consent, settling

ONE, TWO, THREE, FOUR, FIVE, SIX, SEVEN, EIGHT = PHONES = tuple(f"+3460000000{n}" for n in range(1, 9))
STRANGER, LID = "+34699999999", "5@lid"
LIMIT = timedelta(seconds=1)
HOUR = timedelta(hours=1)


async def send(home: House, outcome: Outcome | None = None) -> int:
    """Let a second pass, and send the next message; its id, of which its WhatsApp id is made."""
    home.clock.advance(1)
    (claim,) = await home.claim(limit=LIMIT)
    await home.settle(claim, outcome or Accepted(f"{claim.message_id:024x}", f"3EB0{claim.message_id:016X}"))
    return claim.message_id


async def write(home: House, number: str, text: str, wa_id: str, **changes: Any) -> None:
    """A person writes now."""
    await home.receive(inbound(number, text, at=home.clock.now(), wa_id=wa_id, **changes))


async def react(home: House, number: str, message_id: int) -> None:
    """A person puts an emoji on a message of ours."""
    body = inbound(number, "", at=home.clock.now(), wa_id=f"3EB0{message_id:016X}", type="reaction")
    body["data"]["reactionMessage"] = f"3EB0{message_id:016X}"
    await home.receive(body)


@asynccontextmanager
async def healthy(path: Path) -> AsyncIterator[House]:
    """The house; the numbers of the rows are those of the order below."""
    async with house(path) as home:
        # Messages 1 to 8, of campaign 1.
        await home.campaign(*PHONES)
        await send(home)  # 1: read, with a Message 2
        await send(home)  # 2: sent; then a STOP
        await send(home, Uncertain("no answer in time"))  # 3: uncertain, with a reply that waits
        await send(home, Rejected("HTTP 400"))  # 4: failed
        await send(home, Deferred("HTTP 429", HOUR))  # 5: queued again
        await send(home)  # 6: delivered, and a failure reported too late
        await send(home)  # 7: sent; then opted out by hand
        # Interactions, in order.
        await write(home, ONE, "yes", "A1")  # 1: message_2_queued; the Message 2 is message 9
        await write(home, ONE, "and?", "A2")  # 2: message_2_exists
        await write(home, THREE, "yes", "A3")  # 3: waiting_for_message_1
        await write(home, STRANGER, "who?", "A4")  # 4: unknown_contact
        await write(home, EIGHT, "hello", "A5")  # 5: no_recent_message_1
        await write(home, TWO, "STOP", "A6")  # 6: opt_out
        await write(home, TWO, "yes", "A7")  # 7: opted_out
        now = home.clock.now()
        await home.store.write(lambda tx: consent.opt_out_number(tx, SIX, SIX, now))
        home.clock.advance(1)
        await write(home, SIX, "START", "A8")  # 8: opt_in
        await react(home, ONE, 1)  # 9: reaction
        await home.receive(ack("read", at=home.clock.now(), wa_id=f"3EB0{1:016X}", number=ONE, lid=LID))
        await home.receive(ack("delivered", at=home.clock.now(), wa_id=f"3EB0{6:016X}", number=SIX))
        await home.receive(receipt("failed", at=home.clock.now(), queue_id=f"{6:024x}", reason="too late"))
        await home.receive(receipt("sent", at=home.clock.now(), queue_id="f" * 24))  # a receipt that waits
        await home.receive(payload("message_in_new.text.json") | {"event": "contact:update"})  # ignored
        home.clock.advance(10)
        doubt, _ = await home.store.write(lambda tx: messages.next_doubt(tx, home.clock.now()))
        assert doubt
        await home.store.write(
            lambda tx: settling.settle_look_up(
                tx, doubt, Absent(), retention=KEPT, now=home.clock.now(), policy=home.policy
            )
        )
        await send(home)  # 9
        now = home.clock.now()
        await home.store.write(lambda tx: consent.opt_out_number(tx, SEVEN, SEVEN, now))
        # What a webhook did not tell, from an id that is known by now.
        found = events.parse(json.dumps(inbound_from_lid(LID, "at long last", at=now, wa_id="A10")).encode())
        await home.inbox.take(found, EventSource.CATCH_UP)  # 10: message_2_exists
        # Campaign 2 is cancelled, campaign 3 has no Message 2, campaign 4 is a draft.
        await home.campaign(FOUR, FIVE, name="cancelled")
        await send(home)  # 10: sent
        await home.campaigns.cancel("cancelled")  # 11: cancelled
        await write(home, FOUR, "yes", "A11")  # 11: campaign_cancelled
        await home.campaign(FIVE, SIX, name="plain", message_2=None)
        await send(home)  # 12: sent; 13 is queued
        await write(home, FIVE, "yes", "A12")  # 12: no_message_2
        home.clock.advance(1)
        await home.claim(limit=LIMIT)  # 8: sending
        await home.campaign(ONE, name="draft", launch=False)
        home.clock.advance(1)
        yield home
