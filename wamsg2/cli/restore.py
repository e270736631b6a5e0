"""`wamsg2 restore`: a backup takes the database's place, and nothing is sent twice."""

from datetime import timedelta
from pathlib import Path

import click

from wamsg2.backup import Prepared, prepared
from wamsg2.cli import common
from wamsg2.clock import SystemClock
from wamsg2.config import Settings
from wamsg2.model import CampaignStatus

#: Where Wassenger says that a message never arrived, it is asked once more.
_LOOK_UPS = 2


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@common.yes_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable output; needs --yes.")
@common.asynchronous
async def restore(file: Path, yes: bool, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Put a backup in place of the database; the daemon must not run.

    What was sent after the backup is unknown to it: every message that may have been is looked up at Wassenger, and
    sent only once that proves that it was not. The database before it is kept beside it.
    """
    if as_json and not yes:
        raise click.UsageError("--json needs --yes: nobody is asked.")
    settings = common.settings()
    now = SystemClock().now()
    async with prepared(settings.database.path, file, window=settings.policy().window, now=now) as ready:
        if not as_json:
            _tell(ready, settings)
        common.confirm(f"Put {file} in place of {ready.database}?", yes=yes)
        aside = ready.put_in_place(now)
    if as_json:
        common.print_json(
            {
                "campaigns": [c.name for c in ready.campaigns],
                "doubts": ready.doubts,
                "problems": list(ready.problems),
                "database_before": str(aside) if aside else None,
            }
        )
        return
    before = f"; the database before it is {aside}" if aside else ""
    click.echo(f"restored{before}")
    click.echo(
        "Before the daemon starts, do again what was done by hand since the backup: campaigns paused or cancelled, "
        "contacts opted out or forgotten. A campaign that was created since is not in it: if it is created again, "
        "its contacts get its messages again."
    )


def _tell(ready: Prepared, settings: Settings) -> None:
    newest = ready.newest_at.isoformat() if ready.newest_at else None
    click.echo(f"{len(ready.campaigns)} campaigns; the last entry is of {common.local(newest)}")
    running = [c.name for c in ready.campaigns if c.status is CampaignStatus.RUNNING]
    if running:
        click.echo(f"running: {', '.join(running)}")
    seconds = ready.doubts * _LOOK_UPS * min(settings.wassenger.rate_limit_seconds, 1.0)
    takes = timedelta(seconds=round(seconds + settings.wassenger.resend_after_seconds))
    click.echo(f"{ready.doubts} messages may have been sent since; looking all of them up takes about {takes}")
    for problem in ready.problems:
        click.echo(f"broken in the backup already: {problem}")
