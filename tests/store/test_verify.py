"""`verify` finds every promise broken that rows can show broken, and nothing in a house that is in order."""

import hashlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.store.healthy import FIVE, FOUR, LIMIT, SEVEN, TWO, healthy, write
from tests.support import House, house, inbound, inbound_from_lid
from wamsg2 import rules
from wamsg2.model import Accepted, Deferred, MessageStatus, Policy, ReplyOutcome
from wamsg2.store import blueprint, retention, schema, verify
from wamsg2.store.database import DatabaseError, Reader, open_file
from wamsg2.store.verify import Violation
from wamsg2.wassenger.events import INBOUND_EVENTS
from wamsg2.work import campaigning, claiming, consent, pruning, settling

DAY_MS = 86_400_000


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with healthy(tmp_path) as made:
        yield made


async def violations(
    home: House,
    *,
    window: timedelta = timedelta(hours=24),
    reader: Reader | None = None,
    later: timedelta | None = None,
) -> list[Violation]:
    return await verify.violations(
        reader or home.store.reader,
        window=window,
        tolerance=rules.TOLERANCE,
        now=home.clock.now() + (later or timedelta(0)),
        inbound_events=INBOUND_EVENTS,
    )


async def found(home: House, window: timedelta = timedelta(hours=24)) -> list[tuple[str, str]]:
    return [(violation.promise, violation.what) for violation in await violations(home, window=window)]


def tamper(home: House, *statements: str) -> None:
    """What only a hand in the file could do."""
    with closing(sqlite3.connect(home.store.path)) as other, other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            other.execute(statement)


# --- what is in order ------------------------------------------------------------------------------------------


async def test_what_is_in_order(home: House) -> None:
    assert await violations(home) == []
    totals = await verify.totals(home.store.reader)
    assert sum(totals.values()) == len(await home.statuses())
    assert totals["message_2.sent"] == 1


async def test_what_is_in_order_has_rows_of_every_kind(home: House) -> None:
    """Or the checks would have been held against nothing."""
    assert {status for *_, status in await home.statuses()} == set(MessageStatus)
    later = {ReplyOutcome.NOT_A_REPLY, ReplyOutcome.OPT_OUT_SUSPECTED}
    assert set(await home.outcomes()) == set(ReplyOutcome) - later
    tables = [name for kind, name in blueprint.of_version(1).objects if kind == "table"]
    empty = {table for table in tables if await home.rows(f"SELECT 1 FROM {table} LIMIT 1") == []}  # noqa: S608
    assert empty <= {"notifications", "forgotten", "keys", "marks"}


@pytest.mark.parametrize("later", [timedelta(days=1, minutes=1), timedelta(days=9), timedelta(days=400)])
async def test_what_is_in_order_stays_so(home: House, later: timedelta) -> None:
    assert await violations(home, later=later) == []


async def test_events_may_be_pruned_after_a_week(home: House) -> None:
    await write(home, FIVE, "hello again", "B1")
    old = [row[0] for row in await home.rows("SELECT id FROM events")]
    await home.store.write(lambda tx: retention.delete_events(tx, old))
    assert await violations(home, later=timedelta(days=8)) == []
    home.clock.advance(8 * 86400)
    await write(home, FIVE, "and again", "B2")  # as event 1, since all others are gone
    assert await violations(home) == []


# --- what is not -------------------------------------------------------------------------------------------------

REMADE = (
    "CREATE TABLE other AS SELECT * FROM messages",
    "DROP TABLE messages",
    "ALTER TABLE other RENAME TO messages",
)

BROKEN = {
    # P1
    "no unique index": (["DROP INDEX messages_once"], "P1", "the unique index is missing", ["index messages_once"]),
    "two rows": (
        [
            "DROP INDEX messages_once",
            """INSERT INTO messages (contact_id, campaign_id, step, status, reference, created_at, due_at)
               SELECT contact_id, campaign_id, step, 'queued', 'again', 0, 0 FROM messages WHERE id = 1""",
        ],
        "P1", "two messages for one contact, campaign and step", ["messages 1,14"],
    ),
    "one WhatsApp id": (
        ["UPDATE messages SET wa_id = 'same' WHERE id IN (6, 7)"],
        "P1", "one provider message for two of ours", ["messages 6,7"],
    ),
    "one queue id": (
        ["UPDATE messages SET queue_id = 'same' WHERE id IN (2, 9)"],
        "P1", "one provider message for two of ours", ["messages 2,9"],
    ),
    # P2
    "Message 1 never went": (
        ["UPDATE messages SET status = 'queued', sent_at = NULL WHERE id = 1"],
        "P2", "a Message 2 without a Message 1 that went out", ["message 9"],
    ),
    "no Message 1": (
        ["DELETE FROM messages WHERE id = 1"],
        "P2", "a Message 2 without a Message 1 that went out", ["message 9"],
    ),
    "no reply": (
        ["DELETE FROM interactions WHERE id = 1"], "P2", "a Message 2 without a recorded reply", ["message 9"],
    ),
    "another reply": (
        ["UPDATE messages SET reply_at = reply_at + 1 WHERE id = 9"],
        "P2", "a Message 2 without a recorded reply", ["message 9"],
    ),
    "late reply": (
        [f"UPDATE messages SET reply_at = reply_at + {DAY_MS} WHERE id = 9"],  # noqa: S608 - constants
        "P2", "a Message 2 whose reply is outside the window", ["message 9"],
    ),
    "early reply": (
        ["UPDATE messages SET reply_at = reply_at - 11001 WHERE id = 9"],
        "P2", "a Message 2 whose reply is outside the window", ["message 9"],
    ),
    "a shorter window": (
        ["UPDATE messages SET window_ms = 1000 WHERE id = 9"],
        "P2", "a Message 2 whose reply is outside the window", ["message 9"],
    ),
    "unanswered": (
        ["DELETE FROM messages WHERE id = 9"],
        "P2", "a reply that was to be answered without a Message 2", ["interaction 1"],
    ),
    "left waiting": (
        ["UPDATE messages SET status = 'failed', look_up_at = NULL WHERE id = 3"],
        "P2", "a reply waits for a Message 1 that is settled", ["interaction 3"],
    ),
    # P3
    "request after STOP": (
        ["UPDATE messages SET claim_number = 12 WHERE id = 2"],
        "P3", "a request to a contact after the commit that opted them out", ["message 2"],
    ),
    "request after an opt-out by hand": (
        ["UPDATE messages SET claim_number = 12 WHERE id = 7"],
        "P3", "a request to a contact after the commit that opted them out", ["message 7"],
    ),
    "request after an opt-in that was taken back": (
        [
            f"""INSERT INTO consents (contact_id, opted_out, source, written_at, recorded_at, claims_before)
                VALUES (7, {out}, 'hand', 0, 0, {claims})""" for out, claims in ((0, 20), (1, 30))  # noqa: S608 - constants
        ]
        + ["UPDATE messages SET claim_number = 31 WHERE id = 7"],
        "P3", "a request to a contact after the commit that opted them out", ["message 7"],
    ),
    "queued after STOP": (
        ["UPDATE contacts SET opted_out = 1 WHERE id = 5"],
        "P3", "a queued message to a contact who has opted out", ["message 5"],
    ),
    "STOP forgotten": (
        ["UPDATE contacts SET opted_out = 0 WHERE id = 2"],
        "P3", "an opt-out word that its contact does not show", ["interaction 6 contact 2"],
    ),
    "STOP never noticed": (
        ["UPDATE contacts SET opted_out = 0, consent_at = NULL WHERE id = 2"],
        "P3", "an opt-out word that its contact does not show", ["interaction 6 contact 2"],
    ),
    # P4
    "two requests at once": (
        ["UPDATE messages SET gap_ms = gap_ms - 1 WHERE id = 7"],
        "P4", "two requests closer than the limit",
        ["message 7: 999 ms after the start before it, the limit is 1000"],
    ),
    "a higher limit": (
        ["UPDATE messages SET limit_ms = 2000 WHERE id = 4"],
        "P4", "two requests closer than the limit",
        ["message 4: 1000 ms after the start before it, the limit is 2000"],
    ),
    # P5
    "event gone": (
        ["DELETE FROM events WHERE id = 5"],
        "P5", "the raw event of an interaction is gone that nothing removed", ["interaction 5 event 5"],
    ),
    "event replaced": (
        ["UPDATE events SET received_at = received_at + 1 WHERE id = 4"],
        "P5", "the raw event of an interaction is gone that nothing removed", ["interaction 4 event 4"],
    ),
    "event cut short": (
        ["UPDATE events SET body = substr(body, 1, 40) WHERE id = 2"],
        "P5", "a raw event that cannot be read", ["event 2"],
    ),
    "event of a newer version": (
        ["UPDATE events SET packing = 9 WHERE id = 2"], "P5", "a raw event that cannot be read", ["event 2"],
    ),
    "interaction gone": (
        ["DELETE FROM interactions WHERE id = 2"], "P5", "an accepted message without an interaction", ["event 2"],
    ),
    "message gone": (
        ["DELETE FROM messages WHERE id = 12"],
        "P5", "an interaction with a message that is not there", ["interaction 12 message 12"],
    ),
    "another's message": (
        ["UPDATE interactions SET message_id = 6 WHERE id = 2"],
        "P5", "a reply to a message that is not the Message 1 of its contact and campaign",
        ["interaction 2 message 6"],
    ),
    "a Message 2 answered": (
        ["UPDATE interactions SET message_id = 9 WHERE id = 2"],
        "P5", "a reply to a message that is not the Message 1 of its contact and campaign",
        ["interaction 2 message 9"],
    ),
    "reply not shown": (
        ["UPDATE recipients SET replied_at = NULL WHERE contact_id = 3"],
        "P5", "the first reply or opt-out that a campaign shows is another", ["campaign 1 contact 3"],
    ),
    "another first reply": (
        ["UPDATE recipients SET replied_at = replied_at + 1 WHERE contact_id = 3"],
        "P5", "the first reply or opt-out that a campaign shows is another", ["campaign 1 contact 3"],
    ),
    "a reply that nobody wrote": (
        ["UPDATE recipients SET replied_at = 1 WHERE contact_id = 7"],
        "P5", "the first reply or opt-out that a campaign shows is another", ["campaign 1 contact 7"],
    ),
    "opt-out not shown": (
        ["UPDATE recipients SET opted_out_at = NULL WHERE contact_id = 2"],
        "P5", "the first reply or opt-out that a campaign shows is another", ["campaign 1 contact 2"],
    ),
    "receipt not taken": (
        [f"UPDATE waiting_receipts SET wa_id = '3EB0{7:016X}'"],  # noqa: S608 - constants
        "P5", "a receipt waits for a message that is known", ["receipt 1 message 7"],
    ),
    # P6
    "over, and a message open": (
        [
            "UPDATE message_counts SET n = 0 WHERE campaign_id = 1 AND status IN ('queued', 'sending', 'uncertain')",
            f"UPDATE messages SET sent_at = sent_at - {DAY_MS}, attempted_at = attempted_at - {DAY_MS}",  # noqa: S608 - constants
        ],
        "P6", "a campaign that is over, and something in it still waits",
        ["campaign 1 message 3", "campaign 1 message 5", "campaign 1 message 8", "campaign 1 interaction 3"],
    ),
    "never due": (
        [f"UPDATE messages SET due_at = due_at + {2 * DAY_MS} WHERE id = 13"],  # noqa: S608 - constants
        "P6", "a message waits for a time that is more than a day away", ["message 13"],
    ),
    "never looked up": (
        [f"UPDATE messages SET look_up_at = look_up_at + {2 * DAY_MS} WHERE id = 3"],  # noqa: S608 - constants
        "P6", "a message waits for a time that is more than a day away", ["message 3"],
    ),
    "sent by a draft": (
        ["UPDATE campaigns SET status = 'draft', launched_at = NULL WHERE id = 3"],
        "P6", "a campaign that was never launched has sent something", ["campaign 3 message 12"],
    ),
    "to nobody": (
        ["DELETE FROM recipients WHERE campaign_id = 2 AND contact_id = 5"],
        "P6", "a message to somebody who is not in its campaign", ["message 11 campaign 2 contact 5"],
    ),
    "queued after cancel": (
        ["UPDATE messages SET status = 'queued' WHERE id = 11"],
        "P6", "a queued message of a cancelled campaign", ["message 11"],
    ),
    "left out": (
        ["DELETE FROM messages WHERE id = 5"],
        "P6", "a launched campaign has a contact without a Message 1", ["campaign 1 contact 5"],
    ),
    # P8
    "known still": (
        ["UPDATE contacts SET forgotten_at = 1 WHERE id = 7"],
        "P8", "something is left of a contact who was forgotten", ["contact 7"],
    ),
    "words left": (
        [
            "UPDATE contacts SET opted_out = 1, consent_at = 0, forgotten_at = 1, phone = 'forgotten' WHERE id = 2",
            """UPDATE interactions SET text = '', wa_id = '', sender_phone = NULL, sender_chat = NULL, reply_at = 0
               WHERE contact_id = 2 AND text <> 'yes'""",
        ],
        "P8", "something is left of a contact who was forgotten", ["contact 2"],
    ),
    # counters
    "message counts": (
        ["UPDATE message_counts SET n = n + 1 WHERE campaign_id = 1 AND status = 'sent' AND step = 1"],
        "counters", "message counts differ from the rows", ["campaign 1 step 1 sent: counted 3, rows 2"],
    ),
    "message counts gone": (
        ["DELETE FROM message_counts WHERE status = 'failed'"],
        "counters", "message counts differ from the rows", ["campaign 1 step 1 failed: counted 0, rows 1"],
    ),
    **{
        f"count of {column}": (
            [f"UPDATE campaign_counts SET {column} = {column} + 1 WHERE campaign_id = 1"],  # noqa: S608 - constants
            "counters", "campaign counts differ from the rows", [f"campaign 1 {column}: counted {n + 1}, rows {n}"],
        )
        for column, n in {"contacts": 8, "replied": 4, "opted_out": 1, "interactions": 8}.items()
    },
    "unmatched": (
        ["UPDATE totals SET value = 0 WHERE name = 'unmatched'"],
        "counters", "the counts of interactions differ from the rows",
        ["totals unmatched: counted 0, rows 1"],
    ),
    "suspected": (
        ["UPDATE totals SET value = 1 WHERE name = 'suspected'"],
        "counters", "the counts of interactions differ from the rows",
        ["totals suspected: counted 1, rows 0"],
    ),
    "unmatched gone": (
        ["DELETE FROM totals WHERE name = 'unmatched'"],
        "counters", "the counts of interactions differ from the rows",
        ["totals unmatched: counted 0, rows 1"],
    ),
    "webhooks": (
        ["UPDATE totals SET value = value + 1 WHERE name = 'webhooks_received'"],
        "counters", "the counts of events differ from the rows",
        ["totals webhooks_received 17, caught_up 1, events_removed 0; rows 16 and 1"],
    ),
    "caught up": (
        [
            "UPDATE totals SET value = 0 WHERE name = 'caught_up'",
            "UPDATE totals SET value = value + 1 WHERE name = 'webhooks_received'",
        ],
        "counters", "the counts of events differ from the rows",
        ["totals webhooks_received 17, caught_up 0, events_removed 0; rows 16 and 1"],
    ),
    "turns": (
        ["UPDATE totals SET value = 9 WHERE name = 'last_turn'"],
        "counters", "the number of the last turn is behind a campaign's", [
            "campaign 3 turn 10, totals last_turn 9",
            "campaign 1 turn 11, totals last_turn 9",
        ],
    ),
    # the database
    "illegal status": (
        ["UPDATE messages SET status = 'lost' WHERE id = 7"],
        "database", "a row that the schema forbids",
        [
            "messages 7: CHECK (status IN ('queued', 'sending', 'sent', 'delivered', 'read',…)",
            "messages 7: CHECK (look_up_at IS NULL OR status IN ('uncertain', 'sent'))",
        ],
    ),
    "sent without a time": (
        ["UPDATE messages SET sent_at = NULL WHERE id IN (10, 12)"],
        "database", "a row that the schema forbids",
        [
            f"messages {n}: CHECK (status NOT IN ('sent', 'delivered', 'read') OR sent_at IS NO…)" for n in (10, 12)
        ],
    ),
    "unknown, and known": (
        ["UPDATE interactions SET contact_id = 1 WHERE id = 4"],
        "database", "a row that the schema forbids",
        ["interactions 4: CHECK (outcome <> 'unknown_contact' OR contact_id IS NULL)"],
    ),
    "contact gone": (
        ["UPDATE interactions SET contact_id = 999 WHERE id = 1"],
        "database", "a row points to one that is not there", ["interactions 1: contact_id 999"],
    ),
    "recipient gone": (
        ["DELETE FROM contacts WHERE id = 8"],
        "database", "a row points to one that is not there",
        ["chat_ids 93…0008@lid: contact_id 8", "recipients 1/8: contact_id 8", "messages 8: contact_id 8",
         "interactions 5: contact_id 8"],
    ),
    "note of nothing": (
        ["UPDATE message_notes SET message_id = 99 WHERE id = 1"],
        "database", "a row points to one that is not there", ["message_notes 1: message_id 99"],
    ),
    "index gone": (
        ["DROP INDEX interactions_waiting"],
        "database", "the schema is not as it was made", ["index interactions_waiting is missing"],
    ),
    "trigger gone": (
        ["DROP TRIGGER messages_moved"],
        "database", "the schema is not as it was made", ["trigger messages_moved is missing"],
    ),
    "strange trigger": (
        ["CREATE TRIGGER strange AFTER INSERT ON messages BEGIN DELETE FROM messages WHERE id = new.id; END"],
        "database", "the schema is not as it was made", ["trigger strange is none of ours"],
    ),
    "another trigger": (
        [
            "DROP TRIGGER events_added",
            "CREATE TRIGGER events_added AFTER INSERT ON events BEGIN UPDATE totals SET value = value; END",
        ],
        "database", "the schema is not as it was made", ["trigger events_added is another"],
    ),
    "checks gone": (
        ["UPDATE sqlite_master SET sql = replace(sql, 'CHECK (step IN (1, 2))', '') WHERE name = 'messages'"],
        "database", "the schema is not as it was made", ["table messages is another"],
    ),
    "table gone": (
        ["DROP TABLE marks"], "database", "the schema is not as it was made", ["table marks is missing"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("statements", "promise", "what", "rows"), BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_broken_is_found(
    home: House, statements: list[str], promise: str, what: str, rows: list[str]
) -> None:
    tamper(home, *statements)
    named = {(violation.promise, violation.what): list(violation.rows) for violation in await violations(home)}
    assert named[promise, what] == rows


async def test_every_check_is_tried_here() -> None:
    tried = {(promise, what) for _, promise, what, _ in BROKEN.values()}
    tried.add(("database", "SQLite finds the file damaged"))  # below
    assert {(promise, what) for promise, what, _ in verify._CHECKS} <= tried


async def test_one_wrong_thing_is_one_violation(home: House) -> None:
    tamper(home, "UPDATE contacts SET opted_out = 1 WHERE id = 5")
    (violation,) = await violations(home)
    assert violation.rows == ("message 5",)


async def test_many_rows_are_summed_up(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.campaign(*(f"+346{n:08d}" for n in range(30)))
        tamper(home, "UPDATE contacts SET opted_out = 1")
        (violation,) = await violations(home)
        assert len(violation.rows) == 21
        assert violation.rows[-1] == "and 10 more"


async def test_a_damaged_file_is_a_finding_and_no_crash(home: House) -> None:
    tamper(home, "UPDATE sqlite_master SET rootpage = 3 WHERE name = 'interactions_contact'")
    async with await type(home.store).open(home.store.path) as fresh:
        named = await violations(home, reader=fresh.reader)
    assert ("database", "SQLite finds the file damaged") in {(v.promise, v.what) for v in named}


async def test_the_window_of_today_says_nothing_of_yesterdays(home: House) -> None:
    assert await found(home, timedelta(seconds=1)) == []


# --- the schema ----------------------------------------------------------------------------------------------------


def test_a_comment_may_change_without_a_migration() -> None:
    rows = [("table", "x", "CREATE TABLE x (a -- why\n ,\n  b)"), ("table", "x", "CREATE TABLE x (a , b)")]
    assert blueprint.normalised(rows[:1]) == blueprint.normalised(rows[1:])


async def test_what_sqlite_adds_for_itself_is_no_difference(home: House) -> None:
    tamper(home, "ANALYZE")
    assert await violations(home) == []


def test_every_check_of_the_schema_is_known() -> None:
    newest = blueprint.of_version(schema.migrations()[-1][0])
    tables = "".join(sql for (kind, _), sql in newest.objects.items() if kind == "table")
    assert len(newest.checks) == tables.count("CHECK (") > 10


# --- a backup ------------------------------------------------------------------------------------------------------


def back_up(home: House, name: str = "backup.db") -> Path:
    """As `sqlite3 … .backup` does it, into a directory of its own."""
    directory = home.store.path.parent / "backups"
    directory.mkdir(exist_ok=True)
    with closing(sqlite3.connect(home.store.path)) as live, closing(sqlite3.connect(directory / name)) as copy:
        live.backup(copy)
    return directory / name


def state(directory: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in directory.iterdir()}


async def test_a_backup_is_read_and_left_alone(home: House) -> None:
    backup = back_up(home)
    before = state(backup.parent)
    async with open_file(backup) as reader:
        assert await violations(home, reader=reader) == []
        assert await verify.totals(reader) == await verify.totals(home.store.reader)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await reader.execute("DELETE FROM contacts")
    assert state(backup.parent) == before
    assert set(before) == {"backup.db"}


async def test_a_backup_on_a_medium_that_takes_no_writes(home: House) -> None:
    backup = back_up(home)
    backup.chmod(0o400)
    backup.parent.chmod(0o500)
    try:
        async with open_file(backup) as reader:
            assert await violations(home, reader=reader) == []
    finally:
        backup.parent.chmod(0o700)


async def test_a_file_with_its_log_is_read_with_it(home: House) -> None:
    """Somebody copied all files of a database that was running."""
    backup = back_up(home)
    with closing(sqlite3.connect(home.store.path)) as holder:
        holder.execute("SELECT count(*) FROM messages").fetchone()  # keeps the log
        await home.send_one(Deferred("refused"))
        for suffix in ("", "-wal"):
            source = home.store.path.with_name(home.store.path.name + suffix)
            backup.with_name(backup.name + suffix).write_bytes(source.read_bytes())
    before = state(backup.parent)
    async with open_file(backup) as reader:
        assert await violations(home, reader=reader) == []
        assert await verify.totals(reader) == await verify.totals(home.store.reader)
    after = state(backup.parent)
    assert {name: digest for name, digest in after.items() if not name.endswith("-shm")} == before


async def test_half_a_backup_is_an_error(home: House) -> None:
    backup = back_up(home)
    backup.write_bytes(backup.read_bytes()[: backup.stat().st_size // 2])
    with pytest.raises(DatabaseError, match=r"backup\.db: database disk image is malformed"):
        open_file(backup)


async def test_a_broken_backup_is_a_finding_and_no_crash(home: House) -> None:
    backup = back_up(home)
    whole = backup.read_bytes()
    backup.write_bytes(whole[:8192] + b"\xa5" * 65536 + whole[73728:])
    async with open_file(backup) as reader:
        assert "database" in {violation.promise for violation in await violations(home, reader=reader)}
        assert isinstance(await verify.totals(reader), dict)


@pytest.mark.parametrize(
    ("statements", "why"),
    [
        (["PRAGMA user_version = 99"], "the database has schema version 99, newer than this program knows"),
        (["CREATE TABLE x (y)", "PRAGMA user_version = 0"], "the file is no database of wamsg2"),
        ([], "the file is no database of wamsg2"),
    ],
)
async def test_a_file_that_is_none_of_ours(tmp_path: Path, statements: list[str], why: str) -> None:
    file = tmp_path / "strange.db"
    file.touch()
    with closing(sqlite3.connect(file)) as other, other:
        for statement in statements:
            other.execute(statement)
    with pytest.raises(DatabaseError, match=f"^{file}: {why}"):
        open_file(file)


async def test_a_file_that_is_no_database_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("phone\n" * 500)
    with pytest.raises(DatabaseError, match="text: file is not a database"):
        open_file(tmp_path / "text")
    with pytest.raises(DatabaseError, match="nowhere: no such database"):
        open_file(tmp_path / "nowhere")
    with pytest.raises(DatabaseError, match=f"{tmp_path}: "):
        open_file(tmp_path)


# --- what looks broken and is not ----------------------------------------------------------------------------------


async def test_start_makes_later_requests_right(home: House) -> None:
    home.clock.advance(60)
    await home.receive(inbound(TWO, "START", at=home.clock.now(), wa_id="B5"))
    await home.campaign(TWO, name="later")
    home.clock.advance(60)
    now = home.clock.now()
    claims = (await home.store.write(lambda tx: claiming.claim(tx, now=now, due_before=now, most=9))).claims
    assert TWO in {claim.phone for claim in claims}
    assert await found(home) == []


async def test_a_stop_that_arrives_late_and_is_outdated(home: House) -> None:
    home.clock.advance(60)
    await home.receive(inbound(FOUR, "START", at=home.clock.now(), wa_id="B5"))
    await home.receive(inbound(FOUR, "STOP", at=home.clock.now() - timedelta(seconds=30), wa_id="B6"))
    await home.campaign(FOUR, name="later")
    home.clock.advance(60)
    await home.claim(9)
    assert await found(home) == []


@pytest.mark.parametrize("who", [TWO, SEVEN])
async def test_an_opt_in_by_hand_makes_later_requests_right(home: House, who: str) -> None:
    home.clock.advance(60)
    now = home.clock.now()
    await home.store.write(lambda tx: consent.opt_in_number(tx, who, now))
    await home.campaign(who, name="later")
    home.clock.advance(60)
    await home.claim(9)
    assert await found(home) == []


async def test_a_claim_between_a_stops_arrival_and_its_commit(home: House) -> None:
    home.clock.advance(3600)
    arrived_at = home.clock.now()
    home.clock.advance(0.02)  # the STOP waits behind the commit that is under way
    claims = await home.claim(9)
    assert FIVE in {claim.phone for claim in claims}
    home.clock.step_wall(-0.02)
    assert home.clock.now() == arrived_at
    await home.receive(inbound(FIVE, "STOP", at=arrived_at, wa_id="B5"))
    assert await found(home) == []


async def test_a_stop_whose_sender_becomes_known_after_the_request(home: House) -> None:
    await home.receive(inbound_from_lid("55@lid", "STOP", at=home.clock.now(), wa_id="B5"))
    home.clock.advance(60)
    await home.send_one(Accepted("5" * 24, chat_id="55@lid"))
    assert (await home.outcomes())[-1] == "opt_out"
    assert await found(home) == []


async def test_a_claim_without_a_request_is_too_early_for_nobody(home: House) -> None:
    home.clock.advance(3600)
    (first,) = await home.claim(limit=LIMIT)
    now = home.clock.now()
    await home.store.write(
        lambda tx: settling.settle(
            tx, first, Deferred("the daemon was stopping", timedelta(seconds=9)),
            start=None, now=now, policy=home.policy,
        )
    )  # fmt: skip
    home.clock.advance(0.1)
    (second,) = await home.claim(limit=LIMIT)
    assert second.message_id != first.message_id
    await home.settle(second, Accepted("5" * 24))
    assert await found(home) == []


async def test_a_claim_is_a_little_ahead_of_its_request(home: House) -> None:
    home.clock.advance(3600)
    (first,) = await home.claim(limit=LIMIT)
    home.clock.advance(0.05)
    await home.settle(first, Accepted("5" * 24))
    home.clock.advance(0.95)
    await home.claim(limit=LIMIT)  # its request would be later by as much
    assert await found(home) == []


async def test_a_lower_limit_after_a_restart(home: House) -> None:
    home.clock.advance(3600)
    for limit, pause_seconds in ((timedelta(seconds=60), 2), (timedelta(seconds=1), 1)):
        (claim,) = await home.claim(limit=limit)
        await home.settle(claim, Accepted(f"{claim.message_id:024x}"))
        home.clock.advance(pause_seconds)
    assert await found(home) == []


@pytest.mark.parametrize("seconds", [-0.3, -1.5, -90_000, 90_000])
async def test_a_clock_that_was_set_is_no_haste(home: House, seconds: float) -> None:
    home.clock.advance(3600)
    for step_seconds in (seconds, -seconds):
        await home.campaign(FOUR, name=f"later {step_seconds}")
        (claim,) = await home.claim(limit=LIMIT)
        await home.settle(claim, Accepted(f"{claim.message_id:024x}"))
        home.clock.advance(1)
        home.clock.step_wall(step_seconds)
        assert await found(home) == []


async def test_a_stop_after_an_opt_in_by_hand(home: House) -> None:
    home.clock.advance(60)
    now = home.clock.now()
    await home.store.write(lambda tx: consent.opt_in_number(tx, TWO, now))
    await home.campaign(TWO, name="later")
    home.clock.advance(60)
    assert TWO in {claim.phone for claim in await home.claim(9)}
    await write(home, TWO, "STOP", "B7")
    assert await found(home) == []


@pytest.mark.parametrize("behind_seconds", [0, 55, 90_000])
async def test_an_opt_out_by_a_command_whose_clock_is_behind(home: House, behind_seconds: int) -> None:
    """The daemon goes on with its own time where the time of day was set back."""
    await home.send_one()
    command_now = home.clock.now() - timedelta(seconds=behind_seconds)
    await home.store.write(lambda tx: consent.opt_out_number(tx, FIVE, FIVE, command_now))
    assert await found(home) == []


async def test_a_late_stop_whose_campaign_is_removed(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.campaign(TWO, name="a")
        await home.send_one()
        home.clock.advance(3600)
        stop_at = home.clock.now()
        home.clock.advance(3600)
        await home.campaign(TWO, name="b", message_2=None)
        await home.send_one()  # before the STOP reached us
        home.clock.advance(3600)
        ((wa_id,),) = await home.rows("SELECT wa_id FROM messages WHERE campaign_id = 1")
        await home.receive(inbound(TWO, "STOP", at=stop_at, wa_id="B8", quoted=wa_id))
        assert await found(home) == []
        home.clock.advance(100 * 86_400)
        now, before = home.clock.now(), home.clock.now() - timedelta(days=30)
        old = await retention.old_events(home.store.reader, before, 9)
        await home.store.write(lambda tx: retention.delete_events(tx, old))
        for _ in range(3):
            await home.store.write(
                lambda tx: pruning.remove_some(
                    tx, 1, ended_before=before, events_before=before, policy=home.policy, now=now, most=50
                )
            )
        assert await home.rows("SELECT name FROM campaigns") == [("b",)]
        assert await found(home) == []


async def test_a_reply_in_a_window_that_is_shorter_by_now(tmp_path: Path) -> None:
    async with house(tmp_path, policy=Policy(window=timedelta(hours=48))) as home:
        await home.campaign(TWO)
        await home.send_one()
        home.clock.advance(30 * 3600)
        await write(home, TWO, "yes", "B9")
        home.clock.advance(60)
        await home.send_one()
        assert await home.rows("SELECT status FROM messages WHERE step = 2") == [("sent",)]
        assert await found(home, timedelta(hours=24)) == []


async def test_a_cancellation_that_is_cut_off(home: House) -> None:
    await home.store.write(lambda tx: campaigning.cancel(tx, "spring", home.clock.now()))
    assert ("queued",) in await home.rows("SELECT status FROM messages WHERE campaign_id = 1")
    assert await found(home) == []
    await home.campaigns.cancel("spring")
    assert await home.rows("SELECT name FROM marks") == []
    assert ("queued",) not in await home.rows("SELECT status FROM messages WHERE campaign_id = 1")
    assert await found(home) == []


@pytest.mark.parametrize("ahead_days", [0, 3])
async def test_a_daemon_whose_clock_is_ahead_of_the_commands(home: House, ahead_days: int) -> None:
    """Its events go, and its messages wait, by its own time."""
    home.clock.advance(40 * 86_400)
    await write(home, FIVE, "hello again", "B1")
    await home.campaign(FOUR, name="later")
    old = await retention.old_events(home.store.reader, home.clock.now() - timedelta(days=1), 99)
    await home.store.write(lambda tx: retention.delete_events(tx, old))
    assert await violations(home, later=-timedelta(days=ahead_days)) == []
