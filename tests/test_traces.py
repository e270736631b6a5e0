"""What tells of a person is found in text and bytes, in whatever spelling, and nothing of others is."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import START, inbound, payload
from wamsg2 import phone
from wamsg2.traces import BLOT, Traces, names_in

SPAIN, MEXICO, ARGENTINA, BRAZIL = "+34600000001", "+525600000001", "+541123456789", "+553187654321"
ABIDJAN, LIBREVILLE = "+2250707123456", "+24177280150"
OTHER_SPELLINGS = {MEXICO: "+5215600000001", ARGENTINA: "+5491123456789", BRAZIL: "+5531987654321"} | {
    ABIDJAN: "+22507123456",
    LIBREVILLE: "+24107280150",
}


@pytest.mark.parametrize("number", [SPAIN, *OTHER_SPELLINGS, *OTHER_SPELLINGS.values()])
@pytest.mark.parametrize("written", ["{}", "+{}", "00{}", "{}@c.us", '"{}"', "tel:{}.", "%2B{}"])
def test_every_spelling_is_found(number: str, written: str) -> None:
    traces = Traces(phone.key(number))
    for spelling in phone.spellings(phone.key(number)):
        text = f"before {written.format(spelling.removeprefix('+'))} behind"
        assert traces.are_in_text(text)
        assert traces.are_in_body(text.encode())
        assert not traces.are_in_text(traces.blotted(text))
        assert traces.blotted(text).startswith("before ")
        assert traces.blotted(text).endswith(" behind")


@pytest.mark.parametrize(
    "text", ["+34 600 000 001", "34-600-000-001", "(+34) 600.00.00.01", "+34 6 0 0 0 0 0 0 0 1", "+34/600000001"]
)
def test_numbers_in_groups_are_found(text: str) -> None:
    traces = Traces(SPAIN)
    assert traces.are_in_text(text)
    assert traces.are_in_body(text.encode())
    assert not traces.are_in_text(traces.blotted(text))


def test_a_number_across_lines_is_found() -> None:
    assert Traces(SPAIN).blotted("call +34\u00a0600 000\n001 now") == f"call {BLOT} now"


def test_chat_ids_are_found_without_their_server() -> None:
    traces = Traces(SPAIN, ["183000000000001@lid", "Someone.Else:7@lid"])
    assert traces.blotted("183000000000001 or someone.else:7@lid or 5@lid") == f"{BLOT} or {BLOT} or 5@lid"
    assert traces.are_in_body(b'{"chat": "SOMEONE.ELSE:7@lid"}')
    assert not traces.are_in_body(b'{"chat": "someone.else:8@lid"}')


def test_ids_of_messages_are_looked_for_in_events_alone() -> None:
    traces = Traces(SPAIN, message_ids=["w2-00ff00ff00ff", "3EB0A1B2C3", "A1"])
    assert traces.are_in_body(b'{"reference": "w2-00ff00ff00ff"}')
    assert traces.are_in_body(b'{"waId": "3EB0A1B2C3"}')
    assert not traces.are_in_body(b'{"id": "A1"}')  # stands everywhere
    assert not traces.are_in_text("3EB0A1B2C3")


def test_others_are_left_alone() -> None:
    traces = Traces(SPAIN, ["183000000000001@lid"])
    others = inbound("+34600000002", "600000001", at=START, wa_id="A1")
    assert not traces.are_in_body(json.dumps(others).encode())
    assert not traces.are_in_text(None)
    assert not traces.are_in_text("")
    assert not traces.are_in_text("+34 600 000 002, not 600 000 001")


@pytest.mark.parametrize(
    ("chat_id", "number", "is_theirs"),
    [
        (None, "+5215600000001", True),
        (None, "+525600000001", True),
        ("5215600000001@c.us", None, True),
        ("525600000001@c.us", None, True),
        ("7@lid", None, True),
        ("7@lid", "+34600000002", True),
        ("8@lid", "+34600000002", False),
        ("5215600000002@c.us", None, False),
        (None, None, False),
    ],
)
def test_a_sender_is_known_by_either(chat_id: str | None, number: str | None, is_theirs: bool) -> None:  # noqa: FBT001 - a column
    assert Traces(MEXICO, ["7@lid"]).name(chat_id, number) is is_theirs


@given(st.text(), st.sampled_from(["+34600000001", "34 600 000 001", "183000000000001@lid"]), st.text())
def test_nothing_is_left_of_them(before: str, name: str, behind: str) -> None:
    traces = Traces(SPAIN, ["183000000000001@lid"])
    blotted = traces.blotted(f"{before}{name}{behind}")
    assert not traces.are_in_text(blotted)
    assert "600000001" not in blotted or "600000001" in before + behind


# --- the names in an event -----------------------------------------------------------------------------------------


def test_the_names_in_an_event() -> None:
    body = json.dumps(payload("message_in_new.text.json")).encode()
    names = names_in(body, 100)
    assert names is not None
    assert {MEXICO, "183000000000001@lid", "5215600000001@c.us"} <= names
    assert "+525600000002" in names  # our own number is a name too
    assert names_in(b'{"id": "abc", "text": "12 456"}', 100) == set()


def test_too_many_names_are_not_looked_at() -> None:
    assert names_in(b" ".join(b"%d" % n for n in range(34600000000, 34600000102)), 100) is None
    assert names_in(b"a@b " * 101, 100) is None


@pytest.mark.parametrize("body", [b"1" * 1_000_000, b"@" * 1_000_000, b"a@" * 500_000, b"a." * 500_000])
def test_a_hostile_event_costs_little(body: bytes) -> None:
    assert not names_in(body, 2000)


@given(st.binary())
def test_any_bytes_will_do(body: bytes) -> None:
    names_in(body, 100)
    Traces(SPAIN).are_in_body(body)
