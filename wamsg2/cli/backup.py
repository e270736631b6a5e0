"""`wamsg2 backup`: a copy of everything, beside the running daemon."""

from pathlib import Path

import click

from wamsg2.backup import KEPT, back_up
from wamsg2.cli import common
from wamsg2.clock import SystemClock


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"In a directory: so many backups stay, the oldest beyond are removed (default: {KEPT}).",
)
@common.json_option
@common.asynchronous
async def backup(file: Path, keep: int | None, as_json: bool) -> None:  # noqa: FBT001 - click passes options by name
    """Write a copy of the database to FILE, and check it; the daemon goes on meanwhile.

    FILE is replaced only by a copy that is whole. Broken promises that `wamsg2 verify` would find are told beside it;
    only a damaged database gives no backup. Where it is a directory, the copy is named after the time (UTC).
    Put it back with `wamsg2 restore`, and nothing else.
    """
    settings = common.settings()
    is_directory = file.is_dir()  # noqa: ASYNC240 - nothing else runs
    if keep and not is_directory:
        raise click.UsageError("--keep is for a directory.")
    done = await back_up(
        settings.database.path,
        file,
        keep=keep or KEPT if is_directory else None,
        window=settings.policy().window,
        now=SystemClock().now(),
    )
    if as_json:
        common.print_json(
            {
                "file": str(done.file),
                "bytes": done.bytes,
                "messages": done.messages,
                "removed": [str(path) for path in done.removed],
                "violations": common.violations_json(done.violations),
            }
        )
        return
    removed = f"; {len(done.removed)} older removed" if done.removed else ""
    click.echo(f"{done.messages} messages, {done.bytes / 1e6:.1f} MB, checked: {done.file}{removed}")
    for violation in done.violations:
        rows = ", ".join(violation.rows)
        click.echo(f"broken in the database already: {violation.promise}: {violation.what}: {rows}")
