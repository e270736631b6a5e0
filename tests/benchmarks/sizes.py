"""How much is measured: enough for every day by default, all of it with ``WAMSG2_BENCHMARK_FULL=1``."""

import os

IS_FULL = os.environ.get("WAMSG2_BENCHMARK_FULL", "") not in ("", "0")

SMALL = 10_000
MEDIUM = 100_000
#: The largest number of contacts of this run.
LARGE = 1_000_000 if IS_FULL else MEDIUM
CONTACTS = (SMALL, MEDIUM, LARGE) if IS_FULL else (SMALL, MEDIUM)
