"""How many tests run at once, how long an example may take, and what the processes that they start inherit."""

import os

from hypothesis import settings

# A busy machine is no fault: an example takes as long as it takes.
settings.register_profile("unhurried", settings.default, deadline=None)
settings.load_profile("unhurried")

# Some hundred processes start: each would compile the whole package anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: half of the time a worker waits, for processes or for the disk."""
    return 2 * (os.cpu_count() or 1)
