"""What every command needs: settings, the store, JSON or words, and an event loop."""

import asyncio
import errno
import json
import os
import re
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import wraps
from pathlib import Path
from random import SystemRandom
from typing import Any, ParamSpec, TextIO, TypeVar, cast

import click

from wamsg2 import config, phone
from wamsg2.campaigns import Campaigns
from wamsg2.clock import SystemClock
from wamsg2.config import Settings
from wamsg2.model import WamsgError
from wamsg2.store.database import DatabaseError, Store
from wamsg2.store.verify import Violation

P = ParamSpec("P")
T = TypeVar("T")

#: Every command that reports has it.
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


_HALF = re.compile("[\ud800-\udfff]")

#: Of what there may be a hundred thousand of.
limit_option = click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True, metavar="N", help="So many at most."
)
#: Where a person has to find somebody.
reveal_option = click.option("--reveal", is_flag=True, help="Whole numbers, not masked ones.")
#: An id in a table.
ROW_ID = click.IntRange(1, 2**63 - 1)


#: Every command that asks has it.
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


class UnansweredError(WamsgError):
    """A command has no terminal to ask on; the message names the flag or argument that answers."""

    def __init__(self, answer: str = "pass --yes to go ahead without asking") -> None:
        super().__init__(f"no terminal to ask on: {answer}")


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person for a yes; `yes` is `--yes`, which answers already.

    Raises:
        click.Abort: the answer is no.
        UnansweredError: there is neither a terminal nor an answer.
    """
    if yes:
        return
    if sys.stdin is None:  # it was closed when the process began
        raise UnansweredError
    try:
        answer = click.confirm(question)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo()  # behind the question
        raise UnansweredError from None
    if not answer:
        raise click.Abort


def loop_factory() -> asyncio.AbstractEventLoop:
    """uvloop where it is installed: it raised the webhook rate from 7.6 to 10.8 thousand a second."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the event loop of our choice."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)


def asynchronous(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Let a coroutine function be a click command."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_async(function(*args, **kwargs))

    return call


def settings() -> Settings:
    """The settings, with the `--config` of the command line."""
    path: Path | None = click.get_current_context().find_root().obj
    return config.load(path)


@asynccontextmanager
async def open_store(loaded: Settings, *, must_exist: bool = False) -> AsyncIterator[Store]:
    """The database of the settings, beside a running daemon or without one."""
    path = loaded.database.path
    if must_exist and not path.exists():
        raise DatabaseError(f"{path}: no such database")
    async with await Store.open(path) as store:
        yield store


def campaigns_on(store: Store, loaded: Settings) -> Campaigns:
    """The campaign actions on a store."""
    country = loaded.contacts.default_country
    return Campaigns(store=store, clock=SystemClock(), random=SystemRandom(), default_country=country)


def phone_and_key(number: str, loaded: Settings) -> tuple[str, str]:
    """A number that somebody typed, as E.164 and as the key of its contact.

    Raises:
        WamsgError: it is none.
    """
    try:
        e164 = phone.parse(number, loaded.contacts.default_country)
    except phone.PhoneError as error:
        raise WamsgError(f"PHONE: {error}") from None
    return e164, phone.key(e164)


@contextmanager
def destination(file: Path) -> Iterator[TextIO]:
    """Where an export goes: into place only once it is whole. A pipe or device is written to as it is.

    Raises:
        OSError: not all of it can be written.
    """
    if str(file) == "-":
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        yield sys.stdout
        sys.stdout.flush()
        return
    if file.exists() and not file.is_file():  # before links are followed: that of a pipe leads nowhere
        with file.open("w", encoding="utf-8", newline="") as stream:
            yield stream
    else:
        file = file.resolve()  # a link stays one
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", dir=file.parent, delete=False) as stream:
            temporary = Path(stream.name)
            try:
                yield cast("TextIO", stream)
                stream.flush()
                temporary.replace(file)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise


def count(number: int, noun: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def print_more(found: int, limit: int) -> None:
    """After a list for people: whether there is more than it shows."""
    if found > limit:
        click.echo(f"more than {limit}: --limit shows them")


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(to_json(value))


def violations_json(found: Sequence[Violation]) -> list[dict[str, Any]]:
    """Broken promises, as the commands that look for them show them."""
    return [{"promise": each.promise, "what": each.what, "rows": list(each.rows)} for each in found]


def to_json(value: object) -> str:
    """A JSON document for people; what cannot be written as it is (half an emoji) is escaped."""
    document = json.dumps(value, indent=2, ensure_ascii=False)
    return document if _HALF.search(document) is None else json.dumps(value, indent=2)


def is_terminal() -> bool:
    """Whether a person sees the output."""
    return sys.stdout is not None and sys.stdout.isatty()


def local(iso_time: str | None) -> str:
    """An ISO time of a report for people: local, to the second; a hyphen for none."""
    if iso_time is None:
        return "-"
    return datetime.fromisoformat(iso_time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
