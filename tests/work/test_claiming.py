"""Who is next: Message 2 by age, Message 1 in turn, and never what must not be sent."""

import sqlite3
from collections.abc import AsyncIterator
from copy import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import START, House, house, inbound
from wamsg2.model import Accepted, Claims, Deferred, Step
from wamsg2.store.writer import StoreUnavailableError, Tx
from wamsg2.work import claiming

PHONES = tuple(f"+3460000000{n}" for n in range(9))


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def claim(home: House, most: int = 1, ahead_seconds: float = 0.0) -> Claims:
    now = home.clock.now()
    due_before = now + timedelta(seconds=ahead_seconds)
    return await home.store.write(lambda tx: claiming.claim(tx, now=now, due_before=due_before, most=most))


async def order(home: House, count: int) -> list[tuple[str, int, str]]:
    """(campaign, step, last digit of the phone) of the next claims."""
    return [(c.campaign, int(c.step), c.phone[-1]) for c in (await claim(home, count)).claims]


async def test_a_claim_marks_the_row(home: House) -> None:
    await home.campaign(PHONES[0], message_1="Hello")
    home.clock.advance(5)
    ((made,), dropped, next_due_at) = ((c := await claim(home)).claims, c.dropped, c.next_due_at)
    assert (made.campaign, made.step, made.attempt, made.phone, made.text) == (
        "spring", Step.MESSAGE_1, 1, PHONES[0], "Hello",
    )  # fmt: skip
    assert made.reference.startswith("w2-")
    assert (list(dropped), next_due_at) == ([], None)
    rows = await home.rows("SELECT status, attempt, reference, text, attempted_at FROM messages")
    assert rows == [("sending", 1, made.reference, "Hello", int(home.clock.now().timestamp() * 1000))]
    assert (await claim(home)).claims == []


async def test_no_reference_tells_a_number_or_is_used_twice(home: House) -> None:
    await home.campaign(*PHONES)
    await home.campaign(*PHONES, name="other")
    references = [reference for (reference,) in await home.rows("SELECT reference FROM messages")]
    assert len(set(references)) == 18
    assert not any(p[1:] in reference for p in PHONES for reference in references)


async def test_message_1_in_the_order_of_import(home: House) -> None:
    await home.campaign(*PHONES[:4])
    assert [phone for *_, phone in await order(home, 9)] == ["0", "1", "2", "3"]


async def test_message_2_goes_first_and_by_age(home: House) -> None:
    await home.campaign(*PHONES[:6])
    for _ in range(3):
        await home.send_one()
    for n, who in enumerate((2, 0, 1)):
        await home.receive(inbound(PHONES[who], at=home.clock.now(), wa_id=f"A{n}"))
        home.clock.advance(0.5)
    home.clock.advance(10)
    assert await order(home, 4) == [("spring", 2, "2"), ("spring", 2, "0"), ("spring", 2, "1"), ("spring", 1, "3")]


async def test_message_2_by_age_over_all_campaigns(home: House) -> None:
    for name, phone in (("a", PHONES[0]), ("b", PHONES[1]), ("c", PHONES[2])):
        await home.campaign(phone, name=name)
        await home.send_one()
    for n, who in enumerate((1, 2, 0)):
        await home.receive(inbound(PHONES[who], at=home.clock.now(), wa_id=f"A{n}"))
        home.clock.advance(0.5)
    home.clock.advance(10)
    assert [name for name, *_ in await order(home, 3)] == ["b", "c", "a"]


async def test_a_message_2_waits_for_its_delay(home: House) -> None:
    await home.campaign(PHONES[0])
    await home.send_one()
    await home.receive(inbound(PHONES[0], at=START, wa_id="A1"))
    looked = await claim(home)
    assert looked.claims == []
    assert looked.next_due_at == START + timedelta(seconds=2)
    home.clock.advance(1.96)
    assert (await claim(home)).claims == []
    assert len((await claim(home, ahead_seconds=0.05)).claims) == 1


async def test_campaigns_take_turns(home: House) -> None:
    await home.campaign(*PHONES[:4], name="a")
    await home.campaign(*PHONES[:2], name="b")
    await home.campaign(*PHONES[:3], name="c")
    assert "".join(name for name, *_ in await order(home, 9)) == "abcabcaca"


async def test_a_late_campaign_gets_its_turn_and_no_more(home: House) -> None:
    await home.campaign(*PHONES, name="a")
    await order(home, 4)
    await home.campaign(*PHONES[:3], name="b")
    assert "".join(name for name, *_ in await order(home, 6)) == "bababa"


async def test_message_2_takes_nobodys_turn(home: House) -> None:
    await home.campaign(*PHONES[:3], name="a")
    await home.send_one()
    await home.campaign(*PHONES[:2], name="b")
    await home.receive(inbound(PHONES[0], at=START, wa_id="A1"))
    home.clock.advance(3)
    assert [(name, step) for name, step, _ in await order(home, 4)] == [("a", 2), ("b", 1), ("a", 1), ("b", 1)]


@pytest.mark.parametrize("action", ["pause", "cancel"])
async def test_what_is_held_or_over_is_not_claimed(home: House, action: str) -> None:
    await home.campaign(*PHONES[:2])
    await home.send_one()
    await home.receive(inbound(PHONES[0], at=START, wa_id="A1"))
    await getattr(home.campaigns, action)("spring")
    home.clock.advance(10)
    looked = await claim(home, 5)
    assert (looked.claims, looked.next_due_at) == ([], None)


async def test_a_draft_is_not_claimed(home: House) -> None:
    await home.campaign(PHONES[0], launch=False)
    assert (await claim(home)).claims == []
    assert await home.rows("SELECT count(*) FROM messages") == [(0,)]


async def test_another_campaign_goes_on_while_one_is_paused(home: House) -> None:
    await home.campaign(*PHONES[:2], name="a")
    await home.campaign(*PHONES[:2], name="b")
    await home.campaigns.pause("a")
    assert [name for name, *_ in await order(home, 5)] == ["b", "b"]
    await home.campaigns.resume("a")
    assert [name for name, *_ in await order(home, 5)] == ["a", "a"]


async def test_a_text_that_does_not_render_fails_and_blocks_nobody(home: House) -> None:
    await home.campaign(*PHONES[:3], message_1="Hello {{name}}")
    await home.store.write(
        lambda tx: tx.execute("""UPDATE recipients SET variables = '{"name": "Ana"}' WHERE contact_id = 3""")
    )
    looked = await claim(home, 3)
    assert [c.text for c in looked.claims] == ["Hello Ana"]
    assert looked.dropped == [(1, "no value for {{name}}"), (2, "no value for {{name}}")]
    assert await home.rows("SELECT status, reason, attempt FROM messages WHERE id = 1") == [
        ("failed", "no value for {{name}}", 0)
    ]


async def test_both_texts_are_rendered_with_the_contacts_variables(home: House) -> None:
    await home.campaign(PHONES[0], message_1="Hello {{ name }}", message_2="{{name}}, {{code}}: thanks")
    values = '{"name": "Ana", "code": "7"}'
    await home.store.write(lambda tx: tx.execute("UPDATE recipients SET variables = ?", (values,)))
    assert (await home.send_one()).text == "Hello Ana"
    await home.receive(inbound(PHONES[0], at=START, wa_id="A1"))
    home.clock.advance(3)
    assert (await home.send_one()).text == "Ana, 7: thanks"
    assert await home.rows("SELECT text FROM messages ORDER BY id") == [("Hello Ana",), ("Ana, 7: thanks",)]


async def test_who_has_opted_out_is_never_claimed_however_the_row_came(home: House) -> None:
    await home.campaign(*PHONES[:2])
    await home.store.write(lambda tx: tx.execute("UPDATE contacts SET opted_out = 1 WHERE id = 1"))
    looked = await claim(home, 2)
    assert [c.phone for c in looked.claims] == [PHONES[1]]
    assert looked.dropped == [(1, "contact opted out")]
    assert (await home.statuses())[0] == (PHONES[0], 1, "cancelled")


async def test_what_was_put_back_keeps_its_place(home: House) -> None:
    await home.campaign(*PHONES[:3])
    first = await home.send_one(Deferred("refused"))
    again = await home.send_one(Accepted("a" * 24))
    assert (again.phone, again.attempt, again.reference) == (first.phone, 2, first.reference)


async def test_what_is_put_back_for_later_lets_others_pass(home: House) -> None:
    await home.campaign(*PHONES[:2])
    await home.send_one(Deferred("HTTP 429", timedelta(seconds=60)))
    assert [phone for *_, phone in await order(home, 2)] == ["1"]
    assert (await claim(home)).next_due_at == START + timedelta(seconds=60)


async def test_the_limit_in_force_is_stored_with_the_claim(home: House) -> None:
    await home.campaign(*PHONES[:2])
    await home.claim(limit=timedelta(seconds=1.5))
    assert await home.rows("SELECT limit_ms FROM messages ORDER BY id") == [(1500,), (None,)]


async def test_what_is_dropped_is_noted(home: House) -> None:
    await home.campaign(*PHONES[:2], message_1="Hello {{name}}")
    await home.store.write(lambda tx: tx.execute("UPDATE contacts SET opted_out = 1 WHERE id = 1"))
    await claim(home, 2)
    assert await home.rows("SELECT message_id, what FROM message_notes ORDER BY id") == [
        (1, "cancelled: contact opted out"),
        (2, "failed: no value for {{name}}"),
    ]


# --- rows that cannot be read --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ("", "unreadable row (JSONDecodeError)"),
        ("not JSON", "unreadable row (JSONDecodeError)"),
        ('{"name": "A', "unreadable row (JSONDecodeError)"),
        ('["Ana"]', "unreadable row (ValueError)"),
        ("null", "unreadable row (ValueError)"),
        ("7", "unreadable row (ValueError)"),
        ('"Ana"', "unreadable row (ValueError)"),
        ('{"name": 7}', "unreadable row (TypeError)"),
        ('{"name": ["Ana"]}', "unreadable row (TypeError)"),
        ('{"name": true}', "unreadable row (TypeError)"),
        ('{"name": NaN}', "unreadable row (TypeError)"),
        ('{"name": null}', "no value for {{name}}"),
        ('{"name": ""}', "no value for {{name}}"),
        ("{}", "no value for {{name}}"),
    ],
)
async def test_a_row_that_cannot_be_read_fails_alone(home: House, variables: str, reason: str) -> None:
    await home.campaign(*PHONES[:3], message_1="Hello {{name}}")
    await home.store.write(lambda tx: tx.execute("""UPDATE recipients SET variables = '{"name": "Ana"}'"""))
    await home.store.write(
        lambda tx: tx.execute("UPDATE recipients SET variables = ? WHERE contact_id = 2", (variables,))
    )
    looked = await claim(home, 3)
    assert [(c.phone, c.text) for c in looked.claims] == [(PHONES[0], "Hello Ana"), (PHONES[2], "Hello Ana")]
    assert looked.dropped == [(2, reason)]
    assert await home.rows("SELECT status, reason, attempt FROM messages WHERE id = 2") == [("failed", reason, 0)]
    assert (await claim(home, 3)).claims == []


async def test_a_row_that_is_nested_too_deeply_fails_alone(home: House) -> None:
    await home.campaign(*PHONES[:2])
    await home.store.write(
        lambda tx: tx.execute("UPDATE recipients SET variables = ? WHERE contact_id = 1", ("[" * 100_000,))
    )
    looked = await claim(home, 2)
    assert [c.phone for c in looked.claims] == [PHONES[1]]
    assert await home.statuses() == [(PHONES[0], 1, "failed"), (PHONES[1], 1, "sending")]


@pytest.mark.parametrize(
    ("table", "column", "where"),
    [("recipients", "variables", "contact_id"), ("contacts", "phone", "id"), ("messages", "reference", "id")],
)
async def test_a_row_with_text_that_is_none_fails_alone(home: House, table: str, column: str, where: str) -> None:
    """Bytes that are not UTF-8, as a damaged page or another program leaves them."""
    await home.campaign(*PHONES[:3])
    broken = f"UPDATE {table} SET {column} = CAST(x'ff' AS TEXT) WHERE {where} = 2"  # noqa: S608 - constants
    await home.store.write(lambda tx: tx.execute(broken))
    looked = await claim(home, 3)
    assert [c.phone for c in looked.claims] == [PHONES[0], PHONES[2]]
    assert looked.dropped == [(2, "unreadable row (OperationalError)")]
    assert home.store.failing is None, "the disk has done its part"


async def test_a_disk_that_fails_is_no_broken_row(home: House) -> None:
    """Or a full disk would turn the whole queue into failures."""
    await home.campaign(*PHONES[:3])
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def refuse(tx: Tx) -> Claims:
        def execute(sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql.lstrip().startswith("UPDATE messages SET status = 'sending'"):
                raise full
            return tx.execute(sql, *parameters)

        torn = copy(tx)
        torn.execute = execute
        return claiming.claim(torn, now=START, due_before=START, most=3)

    with pytest.raises(StoreUnavailableError, match="disk is full"):
        await home.store.write(refuse)
    assert {status for *_, status in await home.statuses()} == {"queued"}
    assert len((await claim(home, 3)).claims) == 3


async def test_a_message_2_that_cannot_be_read_fails_alone(home: House) -> None:
    await home.campaign(*PHONES[:2], message_2="Bye {{name}}")
    for n in range(2):
        await home.send_one()
        await home.receive(inbound(PHONES[n], at=START, wa_id=f"A{n}"))
    await home.store.write(
        lambda tx: tx.execute("""UPDATE recipients SET variables = CASE contact_id WHEN 1 THEN '[]'
                                 ELSE '{"name": "Bo"}' END""")
    )
    home.clock.advance(3)
    looked = await claim(home, 2)
    assert [c.text for c in looked.claims] == ["Bye Bo"]
    assert (await home.statuses())[2] == (PHONES[0], 2, "failed")


async def test_a_queue_of_nothing_but_unreadable_rows_comes_to_its_end(home: House) -> None:
    await home.campaign(*PHONES, message_1="Hello {{name}}")
    await home.store.write(lambda tx: tx.execute("UPDATE recipients SET variables = 'x'"))
    looked = await claim(home, 1)
    assert (looked.claims, len(looked.dropped), looked.next_due_at) == ([], len(PHONES), None)
    assert {status for *_, status in await home.statuses()} == {"failed"}


async def test_a_reason_shows_nothing_of_what_could_not_be_read(home: House) -> None:
    await home.campaign(PHONES[0], message_1="Hello {{name}}")
    await home.store.write(lambda tx: tx.execute("UPDATE recipients SET variables = ?", ("private +34600000001",)))
    ((_, reason),) = (await claim(home)).dropped
    assert "private" not in reason
    assert "346" not in reason
