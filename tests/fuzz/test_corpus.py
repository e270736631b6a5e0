"""What hunts have found of interest, again: the kept inputs, through the same targets, without the hunter."""

from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_the_kept_corpus(name: str, tmp_path: Path) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    with TARGETS[name](tmp_path) as target:
        for each in inputs:
            try:
                target(each.read_bytes())
            except Exception as error:
                error.add_note(f"the input is {each}")
                raise
