"""Slips in message texts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wamsg2 import slips


@pytest.mark.parametrize(
    ("text", "written", "instead"),
    [
        (r"Bonjour\nMerci", r"\n", "press Enter for a line break"),
        (r"Bonjour\r\nMerci", r"\r\n", "press Enter for a line break"),
        ("Bonjour<br/>Merci", "<br/>", "press Enter for a line break"),
        (r"a\tb", r"\t", "press the tab key for a tab, or use a file"),
        ("Bonjour {prenom}", "{prenom}", "{{prenom}} fills in a column"),
        ("Bonjour { first name }", "{ first name }", "{{first name}} fills in a column"),
        ("Bonjour ${name}", "${name}", "{{name}} fills in a column"),
        ("Bonjour #{name}", "#{name}", "{{name}} fills in a column"),
        ("Bonjour {{{name}}}", "{{{name}}}", "{{name}} fills in a column"),
        ("Bonjour {}", "{}", "{{column}} fills in a column"),
        ("Bonjour {0}", "{0}", "{{0}} fills in a column"),
        ("Bonjour [prénom]", "[prénom]", "{{prénom}} fills in a column"),
        ("Bonjour [[NAME]],", "[[NAME]]", "{{NAME}} fills in a column"),
        ("Bonjour %name%", "%name%", "{{name}} fills in a column"),
        ("Bonjour %%name%%", "%%name%%", "{{name}} fills in a column"),
        ("Bonjour #name#", "#name#", "{{name}} fills in a column"),
        ("Bonjour <name>", "<name>", "{{name}} fills in a column"),
        ("Bonjour <<First Name>>", "<<First Name>>", "{{First Name}} fills in a column"),
        ("<b>Bonjour", "<b>", "WhatsApp has *bold* and _italic_"),
        ('<a href="https://example.org">ici', '<a href="https://example.org">', "WhatsApp has *bold* and _italic_"),
        ("caf&eacute;", "&eacute;", "write é"),
        ("Tom &#38; Ana", "&#38;", "write &"),
        ("10&nbsp;h", "&nbsp;", "type a space"),
        ("message.txt", "message.txt", "--message-1-file and --message-2-file read files"),
        ("@message.txt\n", "@message.txt", "--message-1-file and --message-2-file read files"),
    ],
)
def test_a_slip(text: str, written: str, instead: str) -> None:
    assert slips.find(text) == [slips.Slip(written, instead)]


@pytest.mark.parametrize(
    "text",
    [
        "Bonjour {{prenom}}, merci",
        "{{ name }}{{ville}}",
        "Bonjour\nMerci\tbien",
        "-20 % le 3, 50% de remise, 100% naturel et 5%",
        "https://example.org/caf%C3%A9?a=%20b%20&copy=1",
        "https://example.org/message.txt",
        "see [the page](https://example.org), note [1]",
        "<3 a < b > c, 1 <2> 3",
        "#promo #soldes",
        r"¯\_(ツ)_/¯",
        "Tom & Ana; R&D;",
        "*gras* _italique_ ~barré~",
        "Écrivez à <ana@example.org>",
    ],
)
def test_what_is_meant(text: str) -> None:
    assert slips.find(text) == []


def test_each_spelling_is_told_once_in_order() -> None:
    assert [slip.written for slip in slips.find(r"{b}\n[a]\n{{c}}{b}{B}")] == ["{b}", r"\n", "[a]", "{B}"]


def test_no_more_of_a_text_is_told_than_shows_the_slip() -> None:
    (slip,) = slips.find(f'<a href="{"x" * 100}">')
    assert slip.written == f'<a href="{"x" * 51}…'


plain = st.text(st.characters(categories=["L", "Zs"], include_characters=".,!?'-"), max_size=10)
names = st.text("abc é_-", min_size=1).filter(str.strip)


@settings(deadline=None)
@given(st.lists(st.tuples(plain, names)))
def test_a_variable_is_no_slip(parts: list[tuple[str, str]]) -> None:
    text = "".join(f"{words}{{{{{name}}}}}" for words, name in parts)
    assert slips.find(text) == []


@pytest.mark.parametrize("part", ["[", "%", "<", "{", "#", "{a", "[a ", "%a", "<a ", "&a"])
def test_a_hostile_text_costs_linear_time(part: str) -> None:
    slips.find(part * 50_000)  # hours, where the time grew with the square
