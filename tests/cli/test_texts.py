"""Message texts on the command line: from files, with their slips, shown before they go out."""

import io

import pytest

from tests.cli.conftest import ANA, BRUNO, CommandLine
from tests.cli.test_questions import UNANSWERED

PRENOM = "{prenom} in message 1 goes out as it is; {{prenom}} fills in a column"
BREAK = r"\n in message 2 goes out as it is; press Enter for a line break"


def texts(line: CommandLine, name: str = "spring") -> tuple[str, str | None]:
    shown = line("campaign", "show", name, "--json").json["texts"]
    return shown["message_1"], shown["message_2"]


# --- from files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Bonjour\n\nà vous 👋\n".encode(), "Bonjour\n\nà vous 👋"),
        ("\ufeffBonjour à vous\n".encode(), "Bonjour à vous"),
        (b"Bonjour", "Bonjour"),
        (b"Bonjour\r\nMerci\r\n", "Bonjour\nMerci"),
        (b"Bonjour\n\n", "Bonjour\n"),
        (b"Bonjour\tMerci\rAna", "Bonjour\tMerci\nAna"),
    ],
)
@pytest.mark.parametrize("step", [1, 2])
def test_a_text_from_a_file(wamsg2: CommandLine, content: bytes, text: str, step: int) -> None:
    file = wamsg2.directory / "text.md"
    file.write_bytes(content)
    other = 3 - step
    wamsg2("campaign", "create", "spring", f"--message-{step}-file", file, f"--message-{other}", "Typed")
    assert texts(wamsg2) == ((text, "Typed") if step == 1 else ("Typed", text))


def test_a_text_from_standard_input(wamsg2: CommandLine) -> None:
    other = wamsg2.directory / "2.txt"
    other.write_text("Voici\n", encoding="utf-8")
    arguments = ["campaign", "create", "spring", "--message-1-file", "-", "--message-2-file", str(other)]
    wamsg2(*arguments, stdin=io.BytesIO("Été\n".encode()))
    assert texts(wamsg2) == ("Été", "Voici")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("un\nété\n".encode("cp1252"), "line 2 is not UTF-8: save the text as UTF-8"),
        ("été".encode("utf-16"), "line 1 is not UTF-8: save the text as UTF-8"),
        (b"a\nb\x00c\n", "line 2 holds a control character: save the text as plain UTF-8"),
        (b"x" * ((1 << 20) + 1), "more than 1 MiB: this is no message"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_holds_no_text(wamsg2: CommandLine, content: bytes | None, problem: str) -> None:
    file = wamsg2.directory / "text.txt"
    if content is not None:
        file.write_bytes(content)
    said = wamsg2("campaign", "create", "spring", "--message-1-file", file, code=1)
    assert said.err == f"wamsg2: {file}: {problem}\n"
    assert not wamsg2.database.exists()


@pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf\r\n"])
def test_an_empty_file(wamsg2: CommandLine, content: bytes) -> None:
    said = wamsg2("campaign", "create", "spring", "--message-1-file", "-", code=1, stdin=io.BytesIO(content))
    assert said.err == "wamsg2: message 1: the text is empty\n"


def test_a_text_that_is_too_long_whatever_is_filled_in(wamsg2: CommandLine) -> None:
    content = b"{{name}}" + b"x" * 4097
    said = wamsg2("campaign", "create", "spring", "--message-1-file", "-", code=1, stdin=io.BytesIO(content))
    assert said.err == "wamsg2: message 1: the text has 4097 characters; the limit is 4096\n"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--message-1 TEXT or --message-1-file FILE is missing."),
        (["--message-2", "More"], "--message-1 TEXT or --message-1-file FILE is missing."),
        (["--message-1", "a", "--message-1-file", "b"], "--message-1 and --message-1-file: one of them, not both."),
        (
            ["--message-1", "a", "--message-2", "a", "--message-2-file", "b"],
            "--message-2 and --message-2-file: one of them, not both.",
        ),
        (
            ["--message-1-file", "-", "--message-2-file", "-"],
            "standard input holds one text: only one file can be -.",
        ),
    ],
)
def test_texts_that_do_not_go_together(wamsg2: CommandLine, arguments: list[str], problem: str) -> None:
    assert wamsg2("campaign", "create", "spring", *arguments, code=2).err.endswith(f"Error: {problem}\n")


# --- slips ----------------------------------------------------------------------------------------------------


@pytest.fixture
def slipped(wamsg2: CommandLine) -> CommandLine:
    """A draft with a mistake in each of its texts."""
    words = ["--message-1", "Bonjour {prenom} {{name}}", "--message-2", r"Voici\n{{name}}"]
    wamsg2("campaign", "create", "spring", *words, warnings=[PRENOM, BREAK])
    wamsg2("campaign", "import", "spring", wamsg2.csv("phone,name", f"{ANA},Ana", f"{BRUNO},Bruno"))
    return wamsg2


def test_a_launch_asks_about_slips(slipped: CommandLine) -> None:
    question = "Send what is written there, as it is? [y/N]: "
    said = slipped("campaign", "launch", "spring", types="n\n", code=1, warnings=[PRENOM, BREAK])
    assert said.out.endswith(question)
    said = slipped("campaign", "launch", "spring", code=1, warnings=[PRENOM, BREAK])
    assert said.out.endswith(f"{question}\n")
    assert said.err.endswith(UNANSWERED)
    said = slipped("campaign", "launch", "spring", types="y\nn\n", code=1, warnings=[PRENOM, BREAK])
    assert said.out.endswith("Send Message 1 of 'spring' to 2 contacts, over 0:00:02? [y/N]: ")
    assert slipped.statuses() == {}
    slipped("campaign", "launch", "spring", types="y\ny\n", warnings=[PRENOM, BREAK])
    assert slipped.statuses() == {"queued": 2}


def test_a_launch_that_is_not_asked_about_warns_of_slips(slipped: CommandLine) -> None:
    said = slipped("campaign", "launch", "spring", "--yes", warnings=[PRENOM, BREAK])
    assert "Bonjour" not in said.out
    assert slipped.statuses() == {"queued": 2}


# --- shown ----------------------------------------------------------------------------------------------------


def test_a_launch_shows_the_first_contact_s_texts(wamsg2: CommandLine) -> None:
    words = ["--message-1", "Bonjour {{name}},\n\nà bientôt", "--message-2", "Voici, {{name}}"]
    wamsg2("campaign", "create", "spring", *words)
    wamsg2("campaign", "import", "spring", wamsg2.csv("phone,name", f"{ANA},Ana", f"{BRUNO},Bruno"))
    said = wamsg2("campaign", "launch", "spring", types="n\n", code=1)
    assert said.out.splitlines() == [
        "Message 1 to the first contact, +34…0001:",
        "  Bonjour Ana,",
        "",
        "  à bientôt",
        "Message 2, after a reply within 24 hours:",
        "  Voici, Ana",
        "Send Message 1 of 'spring' to 2 contacts, over 0:00:02? [y/N]: ",
    ]
    wamsg2("contact", "opt-out", ANA)
    assert "  Bonjour Bruno," in wamsg2("campaign", "launch", "spring", types="n\n", code=1).out
    wamsg2("contact", "opt-out", BRUNO)
    said = wamsg2("campaign", "launch", "spring", types="n\n", code=1)
    assert said.out.startswith("every contact has opted out: nothing will be sent\nSend ")


def test_a_campaign_is_shown_with_its_texts(wamsg2: CommandLine) -> None:
    words = ["--message-1", "Bonjour {{name}},\nà bientôt", "--message-2", "Voici"]
    wamsg2("campaign", "create", "spring", *words)
    assert wamsg2("campaign", "show", "spring").out.splitlines()[:6] == [
        "spring: draft, 0 contacts",
        "Message 1: none",
        "  Bonjour {{name}},",
        "  à bientôt",
        "Message 2: none",
        "  Voici",
    ]
    assert texts(wamsg2) == ("Bonjour {{name}},\nà bientôt", "Voici")
    wamsg2("campaign", "create", "alone", "--message-1", "Bonjour")
    assert texts(wamsg2, "alone") == ("Bonjour", None)
    assert wamsg2("campaign", "show", "alone").out.splitlines()[1:4] == [
        "Message 1: none",
        "  Bonjour",
        "Message 2: none",
    ]
