"""A sandbox in the foreground: runs until a signal and says what happens."""

import asyncio
import signal

import click

from wamsg2.sandbox.server import Sandbox
from wamsg2.sandbox.settings import SandboxSettings
from wamsg2.sandbox.state import Notice


def run(settings: SandboxSettings, *, is_quiet: bool) -> None:
    """Serve until Ctrl-C or SIGTERM, then print a summary. Raises ``OSError`` if it cannot listen."""
    asyncio.run(_serve(settings, is_quiet=is_quiet))


def mask(phone: str) -> str:
    """A phone that can be recognised but not called: ``+52…0001``."""
    return f"{phone[:3]}…{phone[-4:]}" if len(phone) > 7 else "…"


async def _serve(settings: SandboxSettings, *, is_quiet: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with Sandbox(settings, watch=_watch_nothing if is_quiet else _echo) as sandbox:
        click.echo(_introduction(sandbox))
        await stop.wait()
    click.echo(_summary(sandbox))


def _echo(notice: Notice) -> None:
    click.echo(f"{notice.kind:<9} {mask(notice.phone):<8} {notice.text}")


def _watch_nothing(_notice: Notice) -> None:
    """Say nothing."""


def _introduction(sandbox: Sandbox) -> str:
    settings = sandbox.settings
    return f"""\
Wassenger sandbox: {sandbox.base_url}
key:               {settings.api_key}
device:            {settings.device_id}
webhook:           {"set" if settings.webhook_url else "none (--webhook-url, or POST /v1/webhooks)"}

# for the configuration file
[wassenger]
base_url = "{sandbox.base_url}"
api_key = "{settings.api_key}"
device = "{settings.device_id}"
"""


def _summary(sandbox: Sandbox) -> str:
    acknowledged = sum(delivery.is_acknowledged for delivery in sandbox.deliveries)
    phones = {message.phone for message in sandbox.accepted}
    return (
        f"\naccepted {len(sandbox.accepted)} messages to {len(phones)} contacts; "
        f"delivered {acknowledged} of {len(sandbox.deliveries)} webhook events"
    )
