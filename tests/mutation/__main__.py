"""``python -m tests.mutation MODULE…``: plant a sample of faults, run the tests near each, print what survives."""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.mutation.faults import Fault, faults_of

_ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "build")
#: The tests that run for a module, the quickest first; those of processes and of whole campaigns are left out.
_TESTS = {
    "wamsg2/rules.py": ("tests/test_rules.py", "tests/work"),
    "wamsg2/consent_words.py": ("tests/test_consent_words.py",),
    "wamsg2/work": ("tests/work", "tests/test_sender.py", "tests/test_campaigns.py", "tests/test_privacy.py"),
    "wamsg2/store": ("tests/store", "tests/work", "tests/test_sender.py", "tests/test_privacy.py"),
}  # fmt: skip
_NICENESS = 10


def main() -> int:
    """Run the command line; 0 where every fault was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", default=list(_TESTS), help="one of: " + ", ".join(_TESTS))
    parser.add_argument("--sample", type=int, default=40, help="how many faults (default: 40)")
    parser.add_argument("--seed", type=int, default=1, help="which sample (default: 1)")
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds for one fault's tests (default: 600)")
    options = parser.parse_args()
    if unknown := set(options.modules) - set(_TESTS):
        parser.error(f"no tests are listed for {', '.join(sorted(unknown))}")
    os.nice(_NICENESS)
    faults = [(fault, _TESTS[name]) for name in options.modules for fault in faults_of(_ROOT, _files(name))]
    sample = Random(options.seed).sample(faults, min(options.sample, len(faults)))
    with TemporaryDirectory() as directory:
        copy = Path(directory) / "wamsg2"
        shutil.copytree(_ROOT, copy, ignore=_LEFT_OUT)
        if broken := [name for name in options.modules if not _pass(copy, _TESTS[name], None)]:
            print(f"the tests of {', '.join(broken)} fail without any fault", file=sys.stderr)
            return 2
        survived = [fault for fault, tests in sample if not _is_found(copy, fault, tests, options.timeout)]
    print(f"{len(sample)} of {len(faults)} faults planted (seed {options.seed}): {len(sample) - len(survived)} found")
    return 1 if survived else 0


def _files(name: str) -> Sequence[Path]:
    path = _ROOT / name
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _is_found(copy: Path, fault: Fault, tests: Sequence[str], timeout_seconds: float) -> bool:
    file = copy / fault.path
    before = file.read_text(encoding="utf-8")
    file.write_text(fault.source, encoding="utf-8")
    try:
        survives = _pass(copy, tests, timeout_seconds)
    except subprocess.TimeoutExpired:
        survives = False  # it hangs, which nobody overlooks
    finally:
        file.write_text(before, encoding="utf-8")
    print("survived" if survives else "found   ", fault.name, flush=True)
    return not survives


def _pass(copy: Path, tests: Sequence[str], timeout_seconds: float | None) -> bool:
    command = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-x", "-p", "no:cacheprovider", *tests]
    run = subprocess.run(command, cwd=copy, timeout=timeout_seconds, capture_output=True, check=False)
    return run.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
