"""`wamsg2 serve`: the daemon."""

from wamsg2.cli import lean  # noqa: F401 - first: it decides what the imports below bring along

# isort: split
import asyncio
import resource
import signal

import click

from wamsg2 import app, logs
from wamsg2.cli import common
from wamsg2.config import Settings

#: Over the connections that the listeners take, with room for requests and the database.
_FILES = 8192


@click.command()
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def serve(log_level: str) -> None:
    """Run the daemon until SIGTERM or Ctrl-C: then nothing new is sent, and what is under way is settled."""
    settings = common.settings()
    settings.require_for_serving()
    logs.configure(level=log_level)  # type: ignore[arg-type] # click.Choice gives one of them
    _raise_file_limit()
    common.run_async(serve_until_signal(settings))


def _raise_file_limit() -> None:
    """As many files as the system allows a process that asks: connections must not use up those of the sends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve_until_signal(settings: Settings) -> None:
    """Run until the process is asked to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await app.run(settings, stop)
