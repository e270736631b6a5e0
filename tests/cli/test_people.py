"""`wamsg2 message` and `wamsg2 interaction`: what a person sees of single rows, and what they can say about them."""

import re
from typing import Any

import pytest

from tests.cli.conftest import ANA, BRUNO, CHLOE, CommandLine

NOW_MS = 1_795_000_000_000
LID = "183000000000001@lid"
TEXT = "nobody's business"


def doubted(line: CommandLine, phone: str) -> None:
    """Make the Message 1 of a contact one that may have been accepted."""
    line.sql(
        """UPDATE messages SET status = 'uncertain', doubts = 1, attempt = 1, text = ?1, attempted_at = created_at,
                  uncertain_since = created_at, look_up_at = created_at, reason = 'no answer'
           WHERE contact_id = (SELECT id FROM contacts WHERE phone = ?2)""",
        TEXT,
        phone,
    )


def went_out(line: CommandLine) -> None:
    """Make every queued Message 1 one that was sent when it was created."""
    line.sql(
        """UPDATE messages SET status = 'sent', attempt = 1, text = 'Hello', attempted_at = created_at,
                  sent_at = created_at WHERE status = 'queued'"""
    )


def written(line: CommandLine, **values: object) -> int:
    """Plant what an unknown sender wrote, a second after Message 1; its id."""
    columns: dict[str, Any] = {
        "type": "text",
        "outcome": "unknown_contact",
        "text": TEXT,
        "wa_id": "w1",
        "sender_chat": LID,
    } | values
    marks = ", ".join("?" * len(columns))
    ((row,),) = line.sql(
        f"""INSERT INTO interactions ({", ".join(columns)}, reply_at, written_at, received_at)
            SELECT {marks}, max(created_at) + 1000, max(created_at) + 1000, max(created_at) + 1000 FROM campaigns
            RETURNING id""",  # noqa: S608
        *columns.values(),
    )
    return int(row)


# --- message list ----------------------------------------------------------------------------------------------


@pytest.fixture
def two(wamsg2: CommandLine) -> CommandLine:
    """Two campaigns, three messages, one in doubt."""
    wamsg2.campaign(ANA, BRUNO)
    wamsg2.campaign(CHLOE, name="autumn")
    doubted(wamsg2, BRUNO)
    return wamsg2


def test_message_list(two: CommandLine) -> None:
    lines = [line.split() for line in two("message", "list").out.splitlines()]
    assert [line[:6] for line in lines] == [
        ["3", "autumn", "Message", "1", "+33…5678", "queued"],
        ["2", "spring", "Message", "1", "+55…4321", "uncertain"],
        ["1", "spring", "Message", "1", "+34…0001", "queued"],
    ]
    assert lines[1][-2:] == ["(no", "answer)"]


def test_message_list_as_json(two: CommandLine) -> None:
    listed = two("message", "list", "--json").json
    assert [each["id"] for each in listed] == [3, 2, 1]
    wanted = {"campaign": "spring", "step": 1, "status": "uncertain", "phone": "+55…4321", "reason": "no answer"}
    assert wanted.items() <= listed[1].items()
    assert re.fullmatch(r"20\d\d-.*\.\d{3}Z", listed[1]["uncertain_since"])


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--uncertain"], [2]),
        (["--status", "queued"], [3, 1]),
        (["--status", "uncertain", "--uncertain"], [2]),
        (["--status", "read"], []),
        (["--campaign", "spring"], [2, 1]),
        (["--campaign", "spring", "--status", "queued"], [1]),
        (["--limit", "2"], [3, 2]),
    ],
)
def test_message_list_of_some(two: CommandLine, arguments: list[str], ids: list[int]) -> None:
    assert [each["id"] for each in two("message", "list", "--json", *arguments).json] == ids
    lines = two("message", "list", *arguments).out.splitlines()
    assert [int(line.split()[0]) for line in lines if line.startswith(" ")] == ids
    assert ("more than 2: --limit shows them" in lines) is ("--limit" in arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["message", "list", "--status", "lost"],
        ["message", "list", "--uncertain", "--status", "sent"],
        ["message", "list", "--limit", "0"],
        ["message", "show"],
        ["message", "show", "one"],
        ["message", "show", "0"],
        ["interaction", "list", "--limit", "many"],
        ["interaction", "assign", "1"],
        ["interaction", "assign", "one", ANA],
        ["verify", "one", "two"],
    ],
    ids=" ".join,
)
def test_wrong_usage(wamsg2: CommandLine, arguments: list[str]) -> None:
    wamsg2(*arguments, code=2)


@pytest.mark.parametrize("noun", ["message", "interaction"])
def test_a_list_of_an_unknown_campaign(two: CommandLine, noun: str) -> None:
    said = two(noun, "list", "--campaign", "winter", code=1)
    assert said.err == "wamsg2: there is no campaign named 'winter'\n"


# --- message show ----------------------------------------------------------------------------------------------


def test_message_show(two: CommandLine) -> None:
    lines = two("message", "show", "2").out.splitlines()
    assert lines[0] == "spring: Message 1 to +55…4321, uncertain  (no answer)"
    assert [line.split(maxsplit=2)[2] for line in lines[1:]] == [
        "created",
        "attempt 1",
        "doubted: no answer",
        "next look-up, by the daemon",
    ]
    assert two("message", "show", "1").out.splitlines()[-1].endswith("  due")


def test_message_show_as_json(two: CommandLine) -> None:
    said = two("message", "show", "2", "--json")
    assert said.json["phone"] == "+55…4321"
    assert [each["what"] for each in said.json["history"]] == ["created", "attempt 1", "doubted: no answer"]
    assert TEXT not in said.out
    assert BRUNO not in said.out


def test_the_number_is_shown_to_who_asks_for_it(two: CommandLine) -> None:
    """Who settles a doubt has to find the chat."""
    assert BRUNO in two("message", "show", "2", "--reveal").out
    assert two("message", "show", "2", "--reveal", "--json").json["phone"] == BRUNO


def test_a_resolution_is_part_of_the_history(two: CommandLine) -> None:
    two("message", "resolve", "2", "retry", "--yes")
    assert "back in line: resolved by hand: retry" in two("message", "show", "2").out
    two("verify")


@pytest.mark.parametrize("number", ["4", "99"])
def test_a_message_that_is_not_there(two: CommandLine, number: str) -> None:
    assert two("message", "show", number, code=1).err == f"wamsg2: there is no message {number}\n"


# --- interaction list --------------------------------------------------------------------------------------------


@pytest.fixture
def unmatched(wamsg2: CommandLine) -> CommandLine:
    """A Message 1 that went out, and three interactions: of nobody known, of a strange number, of the contact."""
    wamsg2.campaign(ANA)
    went_out(wamsg2)
    written(wamsg2)
    written(wamsg2, sender_phone=BRUNO, sender_chat=f"{BRUNO[1:]}@c.us", wa_id="w2")
    written(wamsg2, outcome="opt_in", contact_id=1, campaign_id=1, message_id=1, sender_phone=ANA, wa_id="w3")
    wamsg2.sql("UPDATE contacts SET consent_at = ?", NOW_MS)
    return wamsg2


def test_interaction_list(unmatched: CommandLine) -> None:
    lines = [line.split() for line in unmatched("interaction", "list").out.splitlines()]
    assert [[line[0], *line[3:]] for line in lines] == [
        ["3", "spring", "text", "opt_in", "+34…0001"],
        ["2", "-", "text", "unknown_contact", "+55…4321"],
        ["1", "-", "text", "unknown_contact", "18…0001@lid"],
    ]


def test_interaction_list_as_json(unmatched: CommandLine) -> None:
    said = unmatched("interaction", "list", "--json")
    third, second, first = said.json
    assert (third["campaign"], third["outcome"], third["message_id"]) == ("spring", "opt_in", 1)
    assert (second["phone"], second["chat_id"]) == ("+55…4321", "55…4321@c.us")
    assert (first["phone"], first["chat_id"]) == (None, "18…0001@lid")
    assert TEXT not in said.out


def test_numbers_are_shown_to_who_asks_for_them(unmatched: CommandLine) -> None:
    assert unmatched("interaction", "list", "--reveal").out.count(BRUNO) == 1
    assert unmatched("interaction", "list", "--reveal", "--json").json[2]["chat_id"] == LID


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [(["--unmatched"], [2, 1]), (["--campaign", "spring"], [3]), (["--limit", "1"], [3])],
)
def test_interaction_list_of_some(unmatched: CommandLine, arguments: list[str], ids: list[int]) -> None:
    assert [each["id"] for each in unmatched("interaction", "list", "--json", *arguments).json] == ids


# --- interaction assign -------------------------------------------------------------------------------------------


def test_assign(unmatched: CommandLine) -> None:
    assert unmatched("interaction", "assign", "1", "+34 600-000-001").out == "interaction 1 is message_2_queued\n"
    assert unmatched.statuses() == {"sent": 1, "queued": 1}
    assert unmatched.sql("SELECT chat_id, contact_id FROM chat_ids") == [(LID, 1)]
    assert unmatched("status", "--json").json["webhooks"]["unmatched"] == 1
    unmatched("verify")


def test_assign_decides_all_from_the_same_id(unmatched: CommandLine) -> None:
    written(unmatched, wa_id="w4")
    assert unmatched("interaction", "assign", "4", ANA).out.splitlines() == [
        "interaction 4 is message_2_exists",
        "interaction 1 is message_2_queued",
    ]
    unmatched("verify")


def test_what_cannot_be_assigned(unmatched: CommandLine) -> None:
    for number, phone, why in (
        ("3", ANA, "interaction 3 is opt_in: only an unmatched one can be assigned"),
        ("9", ANA, "there is no interaction 9"),
        ("1", BRUNO, "there is no contact with this number"),
    ):
        assert unmatched("interaction", "assign", number, phone, code=1).err == f"wamsg2: {why}\n"
    said = unmatched("interaction", "assign", "1", "6OO OOO OO1", code=1)
    assert said.err.startswith("wamsg2: PHONE: ")
    assert "6OO" not in said.err
    assert len(unmatched("interaction", "list", "--unmatched", "--json").json) == 2


# --- suspected opt-outs --------------------------------------------------------------------------------------------


@pytest.fixture
def suspected(two: CommandLine) -> CommandLine:
    """Message 1 was sent, and Ana wrote what may be an opt-out."""
    went_out(two)
    words = "Stop\u202e, je viens demain"
    written(two, outcome="opt_out_suspected", contact_id=1, campaign_id=1, message_id=1, text=words)
    return two


def test_a_suspected_opt_out_is_listed_and_counted(suspected: CommandLine) -> None:
    (listed,) = suspected("interaction", "list", "--suspected", "--json").json
    assert (listed["id"], listed["outcome"]) == (1, "opt_out_suspected")
    assert "decide" in suspected("interaction", "list", "--suspected").out
    assert "je viens" not in suspected("interaction", "list", "--suspected").out
    assert suspected("status", "--json").json["webhooks"]["suspected"] == 1
    assert suspected("interaction", "list", "--unmatched", "--json").json == []
    assert suspected("interaction", "list", "--unmatched", "--suspected", code=2).out == ""


def test_decided_as_an_opt_out(suspected: CommandLine) -> None:
    said = suspected("interaction", "decide", "1", "opt-out").out
    assert said == "interaction 1 is opt_out: nothing more goes to this contact\n"
    assert suspected.sql("SELECT opted_out FROM contacts WHERE id = 1") == [(1,)]
    assert suspected.sql("SELECT 1 FROM messages WHERE step = 2") == []
    suspected("verify")


def test_decided_as_a_reply(suspected: CommandLine) -> None:
    assert suspected("interaction", "decide", "1", "reply").out.startswith("interaction 1 is message_2_queued")
    assert suspected.sql("SELECT status FROM messages WHERE step = 2") == [("queued",)]
    again = suspected("interaction", "decide", "1", "reply", code=1)
    assert again.err == "wamsg2: interaction 1 is message_2_queued: only a suspected opt-out is to be decided\n"
    suspected("verify")


def test_a_decision_needs_a_person(suspected: CommandLine) -> None:
    assert "opt-out or reply" in suspected("interaction", "decide", "1", code=1).err
    assert suspected("interaction", "decide", "7", "reply", code=1).err == "wamsg2: there is no interaction 7\n"


# --- verify FILE ---------------------------------------------------------------------------------------------------


def test_verify_of_a_backup(two: CommandLine) -> None:
    backup = two.directory / "größer and elsewhere?.db"
    two.sql("VACUUM INTO ?", str(backup))
    before = backup.read_bytes()
    two.sql("UPDATE message_counts SET n = 7")
    two("verify", code=1)
    assert two("verify", backup).out == "3 messages checked\nevery promise holds\n"
    assert two("verify", backup, "--json").json["ok"] is True
    assert backup.read_bytes() == before
    assert not [file.name for file in two.directory.iterdir() if file.name.startswith(f"{backup.name}-")]


def test_verify_of_a_broken_backup(two: CommandLine) -> None:
    two.sql("DROP INDEX messages_once")
    two.sql("VACUUM INTO ?", str(two.directory / "backup.db"))
    said = two("verify", "backup.db", code=1)
    assert said.out.splitlines() == [
        "3 messages checked",
        "database: the schema is not as it was made: index messages_once is missing",
        "P1: the unique index is missing: index messages_once",
    ]
    assert said.err == "wamsg2: 2 checks failed\n"


def test_verify_of_what_is_no_database(wamsg2: CommandLine) -> None:
    assert wamsg2("verify", "nowhere.db", code=1).err == "wamsg2: nowhere.db: no such database\n"
    (wamsg2.directory / "text").write_text("phone\n" * 500, encoding="utf-8")
    assert wamsg2("verify", "text", code=1).err == "wamsg2: text: file is not a database\n"
    assert not wamsg2.database.exists()
