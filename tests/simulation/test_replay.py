"""A seed is a run: it can be lived again, here or elsewhere, and shows the same lines."""

import os
import subprocess
import sys

import pytest

from tests.simulation import __main__ as command
from tests.simulation.bugs import planted
from tests.simulation.run import simulate


def test_the_same_seed_is_the_same_run() -> None:
    first, again = simulate(4, days=1), simulate(4, days=1)
    assert first.trace.lines() == again.trace.lines()
    assert first.facts == again.facts
    assert first.facts["message_2"] > 0


def test_another_seed_is_another_run() -> None:
    assert simulate(12, days=1).trace.lines() != simulate(15, days=1).trace.lines()


def test_another_process_lives_the_same_run() -> None:
    """Where sets and hashes have another order."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "12", "--days", "1"],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines, _, verdict = done.stdout.rstrip("\n").rpartition("\n\n")
    assert verdict == "seed 12: nothing broke in 1 days"
    assert lines.splitlines() == simulate(12, days=1).trace.lines()


def test_a_broken_run_says_how_to_see_it_again(capsys: pytest.CaptureFixture[str]) -> None:
    with planted("resend-uncertain"):
        outcome = simulate(0)
    story = outcome.story("resend-uncertain")
    what, again, *lines = story.splitlines()
    assert what.startswith(("P1: ", "P7: "))
    assert again == "again: python -m tests.simulation 0 --days 4 --bug resend-uncertain"
    assert 2 <= len(lines) <= 40
    assert outcome.breach is not None
    assert outcome.breach.person is not None
    assert sum(outcome.breach.person.written in line for line in lines) >= 2

    assert command.main(again.split()[4:]) == 1
    assert capsys.readouterr().out.rstrip("\n").endswith(story)
