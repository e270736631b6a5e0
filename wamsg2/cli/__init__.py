"""The command line. Each command is imported when it is called, so that `--help` is quick."""

import errno
import importlib
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import click

from wamsg2 import __version__

#: Name -> (module, help). The command in the module has the same name, with underscores.
_COMMANDS: Mapping[str, tuple[str, str]] = {
    "serve": ("wamsg2.cli.serve", "Run the daemon."),
    "demo": ("wamsg2.cli.demo", "Watch a whole campaign on the built-in sandbox, in under a minute."),
    "sandbox": ("wamsg2.sandbox.command", "Run a stand-in for Wassenger on loopback, for staging."),
    "check": ("wamsg2.cli.check", "Check configuration, database, key, device and webhook."),
    "status": ("wamsg2.cli.status", "Show what the daemon is doing."),
    "catch-up": ("wamsg2.cli.catch_up", "Ask Wassenger for replies and receipts whose webhooks were lost."),
    "verify": ("wamsg2.cli.verify", "Recount everything, and look for broken promises."),
    "backup": ("wamsg2.cli.backup", "Copy the database beside the running daemon, and check the copy."),
    "restore": ("wamsg2.cli.restore", "Put a backup in the database's place; nothing is sent twice."),
    "campaign": ("wamsg2.cli.campaign", "Create, fill, launch, pause and end campaigns."),
    "message": ("wamsg2.cli.message", "Look at single messages; settle those that only a person can settle."),
    "interaction": ("wamsg2.cli.interaction", "Look at what people wrote; say whose it is where nobody knows."),
    "contact": ("wamsg2.cli.contact", "Look at a contact; opt them out or in."),
}


class _LazyGroup(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        command = getattr(importlib.import_module(_COMMANDS[name][0]), name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101 - the table above says so
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.command(cls=_LazyGroup)
@click.option(
    "--config", type=click.Path(dir_okay=False, path_type=Path), help="Configuration file (default: ./config.toml)."
)
@click.version_option(__version__, prog_name="wamsg2")
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Once-only WhatsApp campaigns through Wassenger.

    Message 1 goes to everyone; who replies within 24 hours gets Message 2 at once; the others get nothing more.
    """
    ctx.obj = config


def main(arguments: list[str] | None = None) -> None:
    """The `wamsg2` command. Exits 0 when done, 1 when refused or failed, 2 on wrong usage."""
    os.umask(0o077)  # what it writes is about people: nobody else reads it
    code = 1
    with suppress(OSError):  # stderr does not take the reason
        code = run(arguments)
    lost = _flush(sys.__stdout__)
    if lost and code == 0:
        code = 1
        with suppress(OSError):
            click.echo(f"wamsg2: stdout: {lost}", err=True)
    _flush(sys.__stderr__)
    sys.exit(code)


def _flush(stream: TextIO | None) -> str:
    """Write out what a standard stream still holds; return why that failed, or "".

    What cannot be written is dropped. The interpreter would try again as it ends, and exit with 120 and
    a traceback.
    """
    if stream is None:  # it was closed when the process began
        return ""
    try:
        stream.flush()
    except OSError as error:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        return describe(error)
    return ""


def run(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code. Whatever goes wrong is one clear line on stderr, never a traceback."""
    given = sys.argv[1:] if arguments is None else arguments
    if any(not _is_utf_8(each) and not os.path.lexists(each) for each in given):
        click.echo("Error: an argument is not UTF-8: set the terminal to UTF-8", err=True)
        return 2
    try:
        result: Any = cli.main(_with_config_first(given), prog_name="wamsg2", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return 2
    except click.ClickException as error:
        error.show()
        return 1
    except (click.Abort, KeyboardInterrupt):
        click.echo("wamsg2: stopped", err=True)
        return 1
    except SystemExit:  # what click does when the reader of its output is gone
        click.echo(f"wamsg2: stdout: {os.strerror(errno.EPIPE)}", err=True)
        return 1
    except Exception as error:  # noqa: BLE001 - the last line of defence against tracebacks
        click.echo(f"wamsg2: {describe(error)}", err=True)
        return 1
    return result if isinstance(result, int) else 0


def _is_utf_8(argument: str) -> bool:
    """Whether it came as UTF-8: what did not holds halves of characters, and no text or name may."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _with_config_first(arguments: list[str]) -> list[str]:
    """`--config FILE` is global: it may stand before the command or anywhere behind it."""
    rest = list(arguments)
    first: list[str] = []
    position = 0
    while position < len(rest) and rest[position] != "--":
        if rest[position] == "--config" and position + 1 < len(rest):
            first += [rest.pop(position), rest.pop(position)]
        elif rest[position].startswith("--config="):
            first.append(rest.pop(position))
        else:
            position += 1
    return first + rest


def describe(error: BaseException) -> str:
    """An error in the user's words: our own errors speak for themselves, others are named."""
    from wamsg2.config import ConfigError  # noqa: PLC0415 - a heavy import, needed only now
    from wamsg2.masking import mask_text  # noqa: PLC0415 - see above
    from wamsg2.model import WamsgError  # noqa: PLC0415 - see above

    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(each) for each in error.exceptions)
    if isinstance(error, WamsgError | ConfigError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return mask_text(f"internal error: {type(error).__name__}: {error}")
