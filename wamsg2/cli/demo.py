"""`wamsg2 demo`: the demonstration, in the terminal."""

import asyncio
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

import click
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from wamsg2 import demo as story
from wamsg2 import logs
from wamsg2.cli import common

_STYLES = {"sent": "cyan", "delivered": "blue", "read": "green", "failed": "red", "uncertain": "yellow"}
_WHY = {
    "message_2_queued": "replied",
    "message_2_exists": "wrote again",
    "no_recent_message_1": "replied too late",
    "waiting_for_message_1": "waits for Message 1",
    "opted_out": "wrote after STOP",
    "opt_out": "opted out",
    "reaction": "reacted: not a reply",
}
#: Every line fits into 80 columns.
_NEXT = """
Next, with a Wassenger account: README.md, "Going live".
Without one: `wamsg2 demo --keep` leaves the page of this campaign to look at,
and `wamsg2 sandbox` stands in for Wassenger while you try your own texts."""


@click.command()
@click.option("--keep", is_flag=True, help="Leave sandbox and daemon running at the end, to look around.")
def demo(keep: bool) -> int:  # noqa: FBT001 - click passes options by name
    """Watch a whole campaign on the built-in sandbox, in under a minute.

    Twelve contacts, a window of 15 seconds, two sends a second, and a Wassenger that repeats and reorders its
    webhooks and loses some of its answers. Exits with 0 only if every promise held.
    """
    return common.run_async(_demo(keep=keep))


async def _demo(*, keep: bool) -> int:
    console = Console()
    with tempfile.TemporaryDirectory(prefix="wamsg2-demo-") as name:
        directory = Path(name)
        log_file = directory / "daemon.log"
        with log_file.open("w", encoding="utf-8") as stream:
            logs.configure(stream, json=True)
            live = Live(console=console, refresh_per_second=4, transient=True)
            try:
                live.start()
                show = _live(live) if console.is_terminal else _plain(console)
                async with story.perform(directory, show) as ended:
                    live.stop()
                    console.print(_people(ended.progress, why=True))
                    console.print(_verdicts(ended))
                    console.print(_NEXT, highlight=False)
                    if keep:
                        await _wait(console, ended, log_file)
            finally:
                live.stop()
    return 0 if ended.held else 1


async def _wait(console: Console, ended: story.Ended, log_file: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    console.print(f"Still running; Ctrl-C ends it.\n  dashboard  {ended.running.admin_url}/\n  log        {log_file}")
    await stop.wait()


def _live(live: Live) -> Callable[[story.Progress], None]:
    return lambda progress: live.update(Group(_headline(progress), _people(progress, why=False)))


def _plain(console: Console) -> Callable[[story.Progress], None]:
    """Without a terminal: a line whenever something has changed."""
    last = ""

    def show(progress: story.Progress) -> None:
        nonlocal last
        line = _figures(progress)
        if line != last:
            console.print(f"{progress.elapsed_seconds:4.1f} s  {line}", highlight=False)
            last = line

    return show


def _figures(progress: story.Progress) -> str:
    campaign = progress.campaign
    first, second = campaign["message_1"], campaign["message_2"]
    return (
        f"{campaign['status']:9}  M1 {_out(first)}/{campaign['contacts']}  M2 {_out(second)}  "
        f"queued {second['queued']}  replied {campaign['replied']}  opted out {campaign['opted_out']}  "
        f"in doubt {first['uncertain'] + second['uncertain']}"
    )


def _out(counts: dict[str, int]) -> int:
    return counts["sent"] + counts["delivered"] + counts["read"]


def _headline(progress: story.Progress) -> Text:
    return Text(f"{progress.elapsed_seconds:4.0f} s  {_figures(progress)}", style="bold")


def _people(progress: story.Progress, *, why: bool) -> Table:
    table = Table(title="wamsg2 demo", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("contact", "does", "Message 1", "Message 2", *(["why"] if why else [])):
        table.add_column(column)
    for person in story.CAST:
        stored = progress.people[person.name]
        statuses = {m["step"]: m["status"] for m in stored.get("messages", ())}
        cells: list[str | Text] = [person.name, person.does]
        cells += [Text(s, style=_STYLES.get(s, "dim")) for s in (statuses.get(1, "-"), statuses.get(2, "-"))]
        if why:
            outcomes = dict.fromkeys(i["outcome"] for i in stored.get("interactions", ()))
            cells.append("; ".join(_WHY.get(o, o) for o in outcomes) or "silent to the end")
        table.add_row(*cells)
    return table


def _verdicts(ended: story.Ended) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for verdict in ended.verdicts:
        mark = Text("held", style="green") if verdict.held else Text("BROKEN", style="bold red")
        table.add_row(mark, verdict.promise, Text(verdict.evidence, style="dim"))
    return table
