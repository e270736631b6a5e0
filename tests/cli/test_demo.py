"""`wamsg2 demo`, as somebody tries it first: a process of its own, in a directory that is none of its business."""

import os
import re
import subprocess
import sys
from pathlib import Path

from rich.cells import cell_len

from tests.site import ROOT
from tests.support import PROCESS_SECONDS
from wamsg2.demo import CAST

OUT = {"sent", "delivered", "read"}


def test_the_demonstration(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("this is not for the demonstration", encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("WAMSG2_", "FORCE_COLOR", "TTY_"))}
    done = subprocess.run(
        [sys.executable, "-m", "wamsg2", "demo"],
        cwd=tmp_path,
        env=environment
        | {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "TMPDIR": str(tmp_path), "WAMSG2_DATABASE__PATH": "real.db"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=PROCESS_SECONDS + 10,
        check=False,
    )
    said = done.stdout
    assert (done.returncode, done.stderr) == (0, ""), said
    assert "\x1b" not in said  # no terminal, no colours

    assert max(map(cell_len, said.splitlines())) <= 80  # columns of a small terminal
    figures = [line for line in said.splitlines() if re.match(r" ?\d+\.\d s  ", line)]
    assert figures
    assert all(re.search(r"in doubt \d$", line) for line in figures), "none is broken into two"

    rows = {cells[0]: cells for line in said.splitlines() if len(cells := re.split(r"  +", line.strip())) == 5}
    for person in CAST:
        _, does, message_1, message_2, why = rows[person.name]
        assert does == person.does
        assert message_1 in OUT
        assert (message_2 in OUT) is person.qualifies
        assert why
    assert rows["Ana"][4] == "replied"
    assert rows["Jon"][4] == "replied; opted out"
    assert rows["Emil"][4] == "silent to the end"
    assert rows["Dora"][4] == "opted out"
    assert rows["Bruno"][4] == "replied too late"

    verdicts = re.findall(r"^held +(\w+)", said, re.MULTILINE)
    assert verdicts == ["P1", "P2", "P3", "P4", "P5", "P6", "database"]
    assert "completed  M1 12/12" in said
    assert said.index("Next, ") > said.index("held")
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]  # nothing stays behind
