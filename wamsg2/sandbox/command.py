"""``wamsg2 sandbox``: the stand-in as a server of its own, for staging and for trying things out."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import click

from wamsg2.sandbox.contacts import Habits
from wamsg2.sandbox.faults import Faults, is_rate
from wamsg2.sandbox.settings import SANDBOX_KEY, Delays, SandboxSettings, WebhookRules

Command = TypeVar("Command", bound=Callable[..., None])

RATE = click.FloatRange(0, 1)
SECONDS = click.FloatRange(min=0)
COUNT = click.IntRange(min=0)
SPAN = (SECONDS, SECONDS)
#: Of the parameters that carry faults, so that none is taken for an option of the command itself.
FAULT_PREFIX = "fault_"


def _fault_options(command: Command) -> Command:
    """One option for each fault, so that a new fault needs no change here."""
    for fault in reversed(fields(Faults)):
        kind = RATE if is_rate(fault.name) else SECONDS
        command = click.option(
            f"--{fault.name.replace('_', '-')}",
            f"{FAULT_PREFIX}{fault.name}",
            type=COUNT if fault.name == "faulty_attempts" else kind,
            default=fault.default,
            show_default=bool(fault.default),
            help=f"Fault: {fault.metadata['help']}.",
        )(command)
    return command


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Loopback address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8090, show_default=True, help="0 = any free one.")
@click.option("--api-key", default=SANDBOX_KEY, help="Key that clients must send (default: a made-up one).")
@click.option("--device", default=SandboxSettings().device_id, show_default=True, help="Device id, 24 hex.")
@click.option("--webhook-url", help="Deliver every event there; may carry ?secret=….")
@click.option("--signing-secret", help="Sign the webhooks with this secret.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same choices.")
@click.option("--reply-rate", type=RATE, default=0.3, show_default=True, help="Share of contacts who answer.")
@click.option("--stop-rate", type=RATE, default=0.02, show_default=True, help="Share of contacts who write STOP.")
@click.option("--duplicate-reply-rate", type=RATE, default=0.2, show_default=True, help="Share who answer twice.")
@click.option("--quote-rate", type=RATE, default=0.1, show_default=True, help="Share of answers that quote.")
@click.option("--reaction-rate", type=RATE, default=0.05, show_default=True, help="Share who react with an emoji.")
@click.option("--read-rate", type=RATE, default=0.8, show_default=True, help="Share with read receipts.")
@click.option("--reply-delay", type=SPAN, default=(2, 20), show_default=True, help="Seconds, shortest and longest.")
@click.option("--sent-delay", type=SPAN, default=(0.1, 0.5), show_default=True, help="Seconds until sent.")
@click.option("--delivered-delay", type=SPAN, default=(0.2, 2), show_default=True, help="… then until delivered.")
@click.option("--read-delay", type=SPAN, default=(1, 10), show_default=True, help="… then until read.")
@click.option("--webhook-backoff", type=SECONDS, default=1.0, show_default=True, help="Seconds before a retry.")
@click.option("--disable-after", type=int, default=500, show_default=True, help="Failures in a row; 0 = never.")
@click.option("--out-new", is_flag=True, help="Emit message:out:new as well.")
@click.option("--quiet", is_flag=True, help="No line per event.")
@_fault_options
def sandbox(*, quiet: bool, **options: Any) -> None:  # noqa: ANN401 - click has seen to the types
    """Run a stand-in for the Wassenger API on this machine, with simulated contacts and faults.

    Contacts answer messages of priority "normal" (Message 1) and never those of priority "high" (Message 2).

    \b
    Control, without a key:
      GET  /sandbox/messages                what was accepted
      GET  /sandbox/events                  what was delivered; ?bodies=1 with bodies
      POST /sandbox/inbound                 a contact writes: {phone, text, at?, quoted?}
      PUT  /sandbox/faults                  {NAME: VALUE}; those not named are off
      PUT  /sandbox/device                  {online: false} ends the device's session
      POST /sandbox/webhooks/ID/disable     disables a webhook
    """
    from wamsg2.sandbox.run import run  # noqa: PLC0415 - loads aiohttp, and --help must be quick

    try:
        settings = _settings(options)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        run(settings, is_quiet=quiet)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error


def _settings(options: dict[str, Any]) -> SandboxSettings:
    rates = {item.name: options[item.name] for item in fields(Habits) if item.name in options}
    faults = {item.name: options[f"{FAULT_PREFIX}{item.name}"] for item in fields(Faults)}
    return SandboxSettings(
        host=options["host"],
        port=options["port"],
        api_key=options["api_key"],
        device_id=options["device"],
        seed=options["seed"],
        webhook_url=options["webhook_url"],
        signing_secret=options["signing_secret"],
        emits_out_new=options["out_new"],
        delays=Delays(
            sent_seconds=options["sent_delay"],
            delivered_seconds=options["delivered_delay"],
            read_seconds=options["read_delay"],
        ),
        habits=Habits(**rates, reply_delay_seconds=options["reply_delay"]),
        webhooks=WebhookRules(backoff_seconds=options["webhook_backoff"], disable_after=options["disable_after"]),
        faults=Faults(**faults),
    )
