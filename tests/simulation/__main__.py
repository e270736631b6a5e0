"""Live the days of one seed again: ``python -m tests.simulation SEED [--days N] [--bug NAME]``."""

import argparse
import sys
from collections.abc import Sequence

from tests.simulation.bugs import NAMES, planted
from tests.simulation.run import DAYS, simulate


def main(arguments: Sequence[str] | None = None) -> int:
    """Print all that happened, and then what broke, if anything did; 1 if so."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--bug", choices=NAMES, help="plant this bug first")
    given = parser.parse_args(arguments)
    with planted(given.bug):
        outcome = simulate(given.seed, given.days)
    print(*outcome.trace.lines(), sep="\n")
    print(f"\n{outcome.story(given.bug)}")
    return 0 if outcome.breach is None else 1


if __name__ == "__main__":
    sys.exit(main())
