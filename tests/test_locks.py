"""What is installed is what was tested: the lock files are whole, hashed, and in step with pyproject.toml."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKS = {"run": "requirements.txt", "test": "tests/requirements.txt", "dev": ".ci/requirements.txt"}
locks = pytest.mark.parametrize("name", LOCKS)


def entries(name: str) -> dict[str, str]:
    """What a lock pins: name and version of each package, hashes and all."""
    text = (ROOT / LOCKS[name]).read_text(encoding="utf-8")
    pinned = re.findall(
        r"^(\S+)==(\S+) (?:; .+ )?\\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", text, re.MULTILINE
    )
    assert len(pinned) == len(re.findall(r"^[^#\s-]", text, re.MULTILINE)), "a line without a version or a hash"
    return dict(pinned)


def asked_for(name: str) -> list[Requirement]:
    """What pyproject.toml asks for, where this lock is installed."""
    extras = PROJECT["project"]["optional-dependencies"]
    asked = PROJECT["build-system"]["requires"] + PROJECT["project"]["dependencies"]
    asked += extras["test"] if name != "run" else []
    asked += extras["dev"] if name == "dev" else []
    return [r for r in map(Requirement, asked) if r.name != "wamsg2"]


@locks
def test_every_requirement_is_locked_and_met(name: str) -> None:
    pinned = entries(name)
    unmet = [
        str(r) for r in asked_for(name) if not r.specifier.contains(pinned.get(canonicalize_name(r.name), "0.dev0"))
    ]
    assert unmet == [], "run .ci/renew"


@pytest.mark.parametrize(("smaller", "larger"), [("run", "test"), ("test", "dev")])
def test_what_runs_has_the_same_versions_everywhere(smaller: str, larger: str) -> None:
    assert entries(smaller).items() <= entries(larger).items()


@locks
def test_a_lock_says_nothing_about_where_from(name: str) -> None:
    """The index is the reader's: a lock must not send them elsewhere. Nothing is built, for nobody pins its tools."""
    text = (ROOT / LOCKS[name]).read_text(encoding="utf-8")
    assert "://" not in text
    assert re.findall(r"^-.*", text, re.MULTILINE) == ["--only-binary :all:"]
