"""Imported first by the daemon: structlog without rich, which it would load for tracebacks that we never draw.

Saves 4 MB of a process that is to stay under 60; the demonstration, which draws with rich, does not come by here.
"""

import sys

if "structlog" not in sys.modules and "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment] # so says the import system: not to be found
    import structlog  # noqa: F401 - loaded for good, without rich

    del sys.modules["rich"]
