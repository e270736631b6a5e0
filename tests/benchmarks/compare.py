"""Two runs side by side.

python -m tests.benchmarks.compare OLD.json NEW.json
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import Report, comparison


def main(arguments: Sequence[str]) -> None:
    """Print the comparison of two results files."""
    old, new = (Report.read(Path(argument)) for argument in arguments)
    names = {**old.machine, **new.machine}
    for name in names:
        print(f"{name}: {_side_by_side(old.machine.get(name), new.machine.get(name))}")
    print("\nThe change is of the ratio to the baseline where there is one, of the value otherwise.\n")
    print(comparison(old, new))


def _side_by_side(old: Any, new: Any) -> str:
    return str(old) if old == new else f"{old} -> {new}"


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit((__doc__ or "").strip())
    main(sys.argv[1:])
