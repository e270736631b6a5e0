"""What a log may show of a number, a secret, somebody's words."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wamsg2.masking import SENSITIVE_NAME, mask_id, mask_phone, mask_text


@pytest.mark.parametrize(
    ("phone", "masked"),
    [
        ("+5215512340001", "+52…0001"),
        ("5215512340001", "52…0001"),
        ("5215512340001@c.us", "52…0001"),
        ("+52 1 55 1234-0001", "+52…0001"),
        ("+49301234", "+…34"),
        ("1", "…1"),
        ("", "…"),
    ],
)
def test_a_masked_phone_keeps_its_country_and_its_end(phone: str, masked: str) -> None:
    assert mask_phone(phone) == masked
    assert mask_phone(masked) == masked


def test_a_number_behind_an_ellipsis_is_masked_all_the_same() -> None:
    assert mask_phone("…5215512340001") == "52…0001"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("to +5215512340001 3 times", "to +52…0001 3 times"),
        ("to +52 1 (55) 1234-0001.", "to +52…0001."),
        ("5215512340001@c.us", "52…0001@c.us"),
        ("true_5215512340001@c.us_3EB0C431C26A1916E07E", "true_52…0001@c.us_3EB0C431C26A1916E07E"),
        ("/api/contacts/%2B5215512340001", "/api/contacts/%2B52…0001"),
        ("phone5215512340001x", "phone52…0001x"),
        ("POST /hook?secret=s3cret&x=1", "POST /hook?secret=***&x=1"),
        ("GET /?token=abc HTTP/1.1", "GET /?token=*** HTTP/1.1"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("{'Token': 'abc'}", "{'Token': ***}"),
        ("('X-Webhook-Secret', 'abc')", "('X-Webhook-Secret', ***)"),
        ('{"text": "see you \\"there\\"", "n": 1}', '{"text": ***, "n": 1}'),
        ("InboundMessage(text='hola, sí', id=7)", "InboundMessage(text=***, id=7)"),
        ("cut off: body='hola", "cut off: body=***"),
        (r'{"raw": "{\"body\": \"hola\"}"}', r'{"raw": "{\"body\": \***}'),
    ],
)
def test_what_is_private_is_masked_wherever_it_stands(text: str, masked: str) -> None:
    assert mask_text(text) == masked
    assert mask_text(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "507f1f77bcf86cd799439011",
        "12345678-1234-1234-1234-123456789012",
        "<Task at 0x7f3a12345678>",
        "2026-11-22T10:00:00.000Z",
        "webhook.secrets: is required",
        "1 of 1234567 messages in the context of texts",
        "127.0.0.1:8080",
    ],
)
def test_what_is_not_private_stays(text: str) -> None:
    assert mask_text(text) == text


def test_an_id_keeps_its_digits_but_not_the_number_in_a_chat_address() -> None:
    assert mask_id("1234567890123456") == "1234567890123456"
    assert mask_id("true_5215512340001@c.us_3EB0") == "true_52…0001@c.us_3EB0"
    assert mask_id("token=abc") == "token=***"


@pytest.mark.parametrize(
    "name",
    ["text", "body", "message_text", "secret", "token", "api_key", "Authorization", "X-Webhook-Secret", "secrets"],
)
def test_names_of_private_values(name: str) -> None:
    assert SENSITIVE_NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["context", "text_length", "secretary", "event", "message_id"])
def test_names_of_other_values(name: str) -> None:
    assert not SENSITIVE_NAME.fullmatch(name)


@given(before=st.text(), digits=st.from_regex(r"\+?[1-9][0-9]{9,14}", fullmatch=True), after=st.text("xyz@ ,.;"))
def test_no_number_survives_in_any_surroundings(before: str, digits: str, after: str) -> None:
    # Hex letters in front could make an id of it, which is kept on purpose.
    before = before.rstrip("0123456789abcdefABCDEF+")
    assert digits.lstrip("+") not in mask_text(f"{before}{digits}{after}")


@given(st.text("0123456789abcx+-@ =:,'\"\\text"))
def test_masking_twice_is_masking_once(text: str) -> None:
    once = mask_text(text)
    assert mask_text(once) == once


@pytest.mark.parametrize(
    "piece", ['text=\\"', "text='", "secret=", "+1 ", "1234567 ", "a1", "authorization: ", "\\", "-"]
)
def test_a_hostile_text_costs_little_time(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    start = time.perf_counter()
    mask_text(text)
    assert time.perf_counter() - start < 2
