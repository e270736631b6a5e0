"""Message texts on the command line: from an option or a file, with their slips."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from wamsg2 import slips
from wamsg2.characters import has_control_character
from wamsg2.work.campaigning import CampaignError

F = TypeVar("F", bound=Callable[..., Any])

_STANDARD_INPUT = Path("-")
#: A text has 4,096 characters at the most; a larger file is a wrong one.
_FILE_LIMIT_BYTES = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def option(step: int, help_: str) -> Callable[[F], F]:
    """`--message-N TEXT` and `--message-N-file FILE`."""
    file_help = f"The same from a file in UTF-8; - reads standard input. Not with --message-{step}."

    def decorate(function: F) -> F:
        path = click.Path(path_type=Path, allow_dash=True)
        function = click.option(f"--message-{step}-file", type=path, metavar="FILE", help=file_help)(function)
        return click.option(f"--message-{step}", metavar="TEXT", help=help_)(function)

    return decorate


def chosen(step: int, text: str | None, file: Path | None) -> str | None:
    """The text of one message: as typed, or the file's; None where neither is given.

    Raises:
        UsageError: both are given.
        CampaignError: the file cannot be used.
    """
    if file is None:
        return text
    if text is not None:
        raise click.UsageError(f"--message-{step} and --message-{step}-file: one of them, not both.")
    name = "standard input" if file == _STANDARD_INPUT else str(file)
    try:
        content = _bytes(file)
    except OSError as error:
        raise CampaignError(f"{name}: {error.strerror}") from None
    return _decoded(content, name)


def _bytes(file: Path) -> bytes:
    if file != _STANDARD_INPUT:
        with file.open("rb") as stream:
            return stream.read(_FILE_LIMIT_BYTES + 1)
    if sys.stdin is None:  # it was closed when the process began
        return b""
    return sys.stdin.buffer.read(_FILE_LIMIT_BYTES + 1)


def _decoded(content: bytes, name: str) -> str:
    """The text of a file without its last line break; line breaks are line feeds."""
    if len(content) > _FILE_LIMIT_BYTES:
        raise CampaignError(f"{name}: more than 1 MiB: this is no message")
    content = content.removeprefix(_BYTE_ORDER_MARK)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CampaignError(f"{name}: line {line} is not UTF-8: save the text as UTF-8") from None
    text = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")
    for line, words in enumerate(text.split("\n"), start=1):
        if has_control_character(words):
            raise CampaignError(f"{name}: line {line} holds a control character: save the text as plain UTF-8")
    return text


def slips_of(message_1: str, message_2: str | None) -> list[str]:
    """A line for each slip of both texts: what goes out as it is, in which message, and what to write for it."""
    texts = (("message 1", message_1), ("message 2", message_2 or ""))
    return [
        f"{slip.written} in {label} goes out as it is; {slip.instead}"
        for label, text in texts
        for slip in slips.find(text)
    ]


def warn(lines: list[str]) -> None:
    """Say on stderr what may not be meant."""
    for line in lines:
        click.echo(f"warning: {line}", err=True)


def show(text: str) -> None:
    """A text, set in so that it stands out."""
    for line in text.split("\n"):
        click.echo(f"  {line}".rstrip())
