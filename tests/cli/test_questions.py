"""Commands that hurt ask first; where nobody can answer, they say which flag does."""

import os

import pytest

from tests.cli.conftest import ANA, BRUNO, CommandLine
from tests.cli.test_commands import doubted

UNANSWERED = "wamsg2: no terminal to ask on: pass --yes to go ahead without asking\n"


@pytest.fixture
def asked(wamsg2: CommandLine) -> CommandLine:
    """A running campaign with a doubt, a draft, and somebody who opted out."""
    wamsg2.campaign(ANA)
    doubted(wamsg2)
    wamsg2("campaign", "create", "draft", "--message-1", "Hello")
    wamsg2("campaign", "import", "draft", wamsg2.csv("phone", BRUNO))
    wamsg2("contact", "opt-out", BRUNO)
    wamsg2("backup", "copy.db")
    return wamsg2


COMMANDS = (
    (["campaign", "launch", "draft"], "Send Message 1 of 'draft' to 1 contact, over 0:00:01? [y/N]: "),
    (
        ["campaign", "cancel", "spring"],
        "Cancel 'spring' for good? 0 queued messages will not be sent, and no reply gets a Message 2. [y/N]: ",
    ),
    (["message", "resolve", "1", "retry"], "It may have arrived. Send it again? [y/N]: "),
    (["contact", "opt-in", BRUNO], "Write to this number again? Only with the person's consent. [y/N]: "),
    (["contact", "forget", BRUNO], "Erase everything about this person? It cannot be taken back. [y/N]: "),
    (["restore", "copy.db"], "Put copy.db in place of "),
)


@pytest.mark.parametrize(("arguments", "question"), COMMANDS, ids=lambda each: " ".join(each[:2]))
def test_commands_that_hurt_ask(asked: CommandLine, arguments: list[str], question: str) -> None:
    before = asked.sql("SELECT status FROM campaigns"), asked.statuses(), asked.sql("SELECT * FROM consents")
    assert question in asked(*arguments, types="n\n", code=1).out
    said = asked(*arguments, code=1)
    assert question in said.out
    assert said.err == UNANSWERED
    assert (
        asked.sql("SELECT status FROM campaigns"),
        asked.statuses(),
        asked.sql("SELECT * FROM consents"),
    ) == before
    assert question not in asked(*arguments, "--yes").out


@pytest.mark.parametrize("resolution", ["sent", "fail"])
def test_what_sends_nothing_is_not_asked(asked: CommandLine, resolution: str) -> None:
    asked("message", "resolve", "1", resolution)


def test_before_a_message_is_sent_again_it_is_shown(asked: CommandLine) -> None:
    said = asked("message", "resolve", "1", "retry", types="y\n").out
    assert said.startswith("spring: Message 1 to ")
    assert "uncertain  (no answer)" in said
    assert "attempt 1" in said
    assert ANA not in said


def test_a_campaign_that_is_cancelled_is_not_asked_for_again(asked: CommandLine) -> None:
    asked("campaign", "cancel", "spring", "--yes")
    asked("campaign", "cancel", "spring")


def test_nobody_is_forgotten_who_is_not_known(asked: CommandLine) -> None:
    said = asked("contact", "forget", "+34600000009", "--yes", code=1)
    assert said.err == "wamsg2: nothing is stored of this number; `wamsg2 contact opt-out` keeps campaigns from it\n"
    assert asked.sql("SELECT count(*) FROM forgotten") == [(0,)]


def test_a_launch_without_a_daemon_says_that_nothing_leaves(
    asked: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = "no daemon is running: nothing leaves until `wamsg2 serve`"
    assert asked("campaign", "launch", "draft", "--yes").out.splitlines()[-1] == alone
    asked("campaign", "pause", "draft")
    monkeypatch.setattr("wamsg2.cli.campaign.is_served", lambda _: True)
    assert alone not in asked("campaign", "resume", "draft").out


@pytest.mark.parametrize(
    "arguments",
    [
        ["campaign", "create", "caf\udce9", "--message-1", "Hello"],
        ["campaign", "create", "cafe", "--message-1", "caf\udce9"],
        ["campaign", "show", "caf\udce9"],
        ["campaign", "import", "spring", "caf\udce9.csv"],
        ["--config", "caf\udce9.toml", "status"],
    ],
    ids=lambda each: " ".join(each).encode("ascii", "replace").decode(),
)
def test_an_argument_in_latin_1(asked: CommandLine, arguments: list[str]) -> None:
    assert asked(*arguments, code=2).err == "Error: an argument is not UTF-8: set the terminal to UTF-8\n"


def test_a_file_whose_name_is_not_utf_8(asked: CommandLine) -> None:
    asked.csv("phone", ANA).rename("caf\udce9.csv")
    asked("campaign", "import", "draft", "caf\udce9.csv")


def test_a_pipe_takes_an_export(asked: CommandLine) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, encoding="utf-8") as pipe:
        asked("campaign", "export", "spring", f"/dev/fd/{writing}")
        os.close(writing)
        assert pipe.read().count("\n") == 2


def test_a_configuration_with_a_byte_order_mark(asked: CommandLine) -> None:
    file = asked.directory / "config.toml"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    asked("campaign", "list")
