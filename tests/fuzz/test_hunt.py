"""A million inputs, led by what they cover (`pytest -m fuzz -s`): nothing crashes, hangs or grows."""

import re
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.site import ROOT

RUNS = {"webhook": 700_000, "secrets": 200_000, "contacts": 100_000}


@pytest.mark.fuzz
@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris is not installed: pip install -e '.[fuzz]'")
@pytest.mark.parametrize("name", RUNS)
def test_hunt(name: str, tmp_path: Path) -> None:
    started = time.monotonic()
    options = (f"-runs={RUNS[name]}", "-print_final_stats=1")
    hunt = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", name, tmp_path, *options], cwd=ROOT, capture_output=True, check=False
    )
    said = hunt.stderr.decode(errors="replace")
    assert hunt.returncode == 0, said[-5000:]
    (done,) = re.findall(r"^stat::number_of_executed_units: (\d+)$", said, re.MULTILINE)
    assert int(done) >= RUNS[name]
    print(f"\n{name}: {done} inputs in {time.monotonic() - started:.0f} s")
