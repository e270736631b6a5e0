"""`wamsg2 serve`: the daemon."""

from wamsg2.cli import lean  # noqa: F401 - first: it decides what the imports below bring along

# isort: split
import asyncio
import signal

import click

from wamsg2 import app, logs
from wamsg2.cli import common
from wamsg2.config import Settings


@click.command()
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def serve(log_level: str) -> None:
    """Run the daemon until SIGTERM or Ctrl-C: then nothing new is sent, and what is under way is settled."""
    settings = common.settings()
    settings.require_for_serving()
    logs.configure(level=log_level)  # type: ignore[arg-type] # click.Choice gives one of them
    common.run_async(serve_until_signal(settings))


async def serve_until_signal(settings: Settings) -> None:
    """Run until the process is asked to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await app.run(settings, stop)
