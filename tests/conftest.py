"""How many tests run at once."""

import os


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: half of the time a worker waits, for processes or for the disk."""
    return 2 * (os.cpu_count() or 1)
