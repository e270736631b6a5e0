"""How many tests run at once and in which order, how long an example may take, and what started processes inherit."""

import os
from itertools import groupby

import pytest
from hypothesis import settings

# A busy machine is no fault: an example takes as long as it takes.
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")

# Some hundred processes start: each would compile the whole package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: half of the time a worker waits, for processes or for the disk."""
    return 2 * (os.cpu_count() or 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files that wait for processes take turns with files that compute, so that no worker is idle at the end."""
    files = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
    waiting = [tests for tests in files if "process" in tests[0].path.parts]
    computing = iter([tests for tests in files if "process" not in tests[0].path.parts])
    between = (len(files) - len(waiting)) // (2 * len(waiting) or 1)
    ordered = [each for tests in waiting for each in (tests, *(next(computing) for _ in range(between)))]
    items[:] = [item for tests in (*ordered, *computing) for item in tests]
