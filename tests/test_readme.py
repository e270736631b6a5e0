"""What the README names is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROCESS_TESTS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "tests/process").glob("*.py")}


def fault_rows() -> list[str]:
    """The table of faults, without its head and its headings."""
    section = README.partition("### What can go wrong")[2].partition("\n### ")[0]
    return [
        line for line in section.splitlines() if line.startswith("| ") and not line.startswith(("| **", "| fault"))
    ]


@pytest.mark.parametrize("row", fault_rows())
def test_every_fault_has_its_test(row: str) -> None:
    named = re.findall(r"`(test_\w+(?:\.py)?)", row.split("|")[3])
    assert named
    for name in named:
        assert name in PROCESS_TESTS or any(f"def {name}(" in text for text in PROCESS_TESTS.values()), name


def test_there_are_faults() -> None:
    assert len(fault_rows()) > 25
