"""One report for the whole run, and what the benchmarks share."""

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.benchmarks import bare_listener, far_end, machine
from tests.benchmarks.databases import Databases
from tests.benchmarks.figures import Figure, Report
from tests.benchmarks.ground import SIGNING_KEY, Bench
from tests.benchmarks.sizes import IS_FULL

JSON_VARIABLE = "WAMSG2_BENCHMARK_JSON"
_REPORT = pytest.StashKey[Report]()


@pytest.fixture(scope="session")
def report(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Takes every figure; it begins with what a commit costs on this disk."""
    made = Report(machine.facts(tmp_path_factory.mktemp("disk")) | {"full": IS_FULL})
    pytestconfig.stash[_REPORT] = made
    print("\n  " + ", ".join(f"{name} {value}" for name, value in made.machine.items()))
    made.add(Figure("fsync.median", "write and fsync of 4 KiB, median", made.machine["fsync_median_ms"], "ms"))
    made.add(Figure("fsync.p99", "the same, p99", made.machine["fsync_p99_ms"], "ms"))
    return made


@pytest.fixture(scope="session")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Each built once."""
    directory: Path = tmp_path_factory.mktemp("databases")
    yield Databases(directory)
    shutil.rmtree(directory)


@pytest.fixture
async def bench(tmp_path: Path, report: Report, databases: Databases) -> AsyncIterator[Bench]:
    """What a benchmark works with."""
    async with far_end.running() as provider, bare_listener.running(SIGNING_KEY, provider.base_url) as bare:
        yield Bench(tmp_path, report, databases, provider, bare)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The closing table, and the file of results."""
    if (made := config.stash.get(_REPORT, None)) is None:
        return
    terminalreporter.section("figures")
    terminalreporter.write_line(made.table())
    judged = [figure for figure in made.figures if figure.is_met is not None]
    terminalreporter.write_line(f"{sum(figure.is_met is True for figure in judged)} of {len(judged)} bars are met")
    if path := os.environ.get(JSON_VARIABLE):
        made.write(Path(path))
        terminalreporter.write_line(f"written to {path}")
