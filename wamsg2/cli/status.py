"""`wamsg2 status`: the daemon's own report, or what the database says without one."""

from typing import Any

import aiohttp
import click

from wamsg2 import status as status_report
from wamsg2.cli import common
from wamsg2.cli.campaign import print_campaign_line
from wamsg2.clock import SystemClock
from wamsg2.config import Settings
from wamsg2.model import WamsgError

_ANSWER_SECONDS = 5.0


@click.command()
@common.json_option
@common.asynchronous
async def status(as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Show queue, sender, webhooks and campaigns."""
    settings = common.settings()
    report = await _from_daemon(settings) or await _from_database(settings)
    if as_json:
        common.print_json(report)
    else:
        _print(report)


async def _from_daemon(settings: Settings) -> dict[str, Any] | None:
    host = "127.0.0.1" if settings.admin.host in {"0.0.0.0", "::"} else settings.admin.host  # noqa: S104 - compared
    token = settings.admin.token.get_secret_value()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"http://{f'[{host}]' if ':' in host else host}:{settings.admin.port}/status"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS)) as session,
            session.get(url, headers=headers) as response,
        ):
            if response.status == 401:
                raise WamsgError("the daemon refuses admin.token")
            report = await response.json() if response.status == 200 else None
            # Anything may listen on that port.
            return report if isinstance(report, dict) and {"sender", "queue", "campaigns"} <= report.keys() else None
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return None


async def _from_database(settings: Settings) -> dict[str, Any]:
    async with common.open_store(settings, must_exist=True) as store:
        return await status_report.report(
            store,
            status_report.NOT_RUNNING,
            now=SystemClock().now(),
            policy=settings.policy(),
            rate_limit_seconds=settings.wassenger.rate_limit_seconds,
        )


def _print(report: dict[str, Any]) -> None:
    sender, queue, webhooks = report["sender"], report["queue"], report["webhooks"]
    reason = f" ({sender['reason']})" if sender["reason"] else ""
    click.echo(f"status     {report['status']}")
    click.echo(f"sender     {sender['state']}{reason}, last send {common.local(sender['last_send_at'])}")
    click.echo(
        f"queue      {queue['message_2']} Message 2, {queue['message_1']} Message 1, {queue['sending']} sending, "
        f"{queue['uncertain']} uncertain; {queue['eta_seconds']} s to go"
    )
    click.echo(
        f"webhooks   {webhooks['received']} received, {webhooks['duplicates']} duplicates, "
        f"{webhooks['refused']} refused, {webhooks['unmatched']} unmatched, "
        f"{webhooks.get('suspected', 0)} suspected opt-outs, "
        f"{webhooks['found_by_catch_up']} found by asking"
    )
    if made := report.get("backup"):
        last_good = f"last good one {common.local(made['made_at'])}" if made["made_at"] else "none was made yet"
        click.echo(f"backup     {last_good}")
    for problem in report.get("problems", ()):
        click.echo(f"problem    {problem}")
    for notice in report.get("notifications", ()):
        about = " ".join(filter(None, (notice["kind"], notice["subject"])))
        click.echo(f"notice     {common.local(notice['raised_at'])} {about}: {notice['detail']}")
    if any((deliveries := report.get("deliveries", {})).values()):
        click.echo(f"notices    {deliveries['waiting']} wait for their receiver, {deliveries['given_up']} given up")
    for campaign in report["campaigns"]:
        print_campaign_line(campaign)
