"""Days of everything that can go wrong, and no promise broken (contract §2).

Each seed is a test of its own; one that fails prints its story, and how to see it again.
"""

from functools import lru_cache

import pytest

from tests.simulation.run import simulate

#: Four days each; together they bring about nearly everything that can happen.
SEEDS = (6, 12, 15, 17, 26)
#: What must stand in the traces of them all: a simulation of fair weather would prove nothing.
EVENTS = (
    "accepted", "delivered", "read", "offline", "lost", "503", "no answer", "cut", "disk error",
    "killed before a commit", "killed after a commit", "killed during a request", "how=stopped",
    "HTTP 400", "HTTP 429", "answer=absent", "answer=accepted", "source=catch_up", "quotes=", "shown=lid",
    "outcome=message_2_queued", "outcome=message_2_exists", "outcome=no_recent_message_1",
    "outcome=unknown_contact", "outcome=opted_out", "outcome=opt_out", "outcome=opt_in", "outcome=reaction",
    "outcome=not_a_reply", "outcome=opt_out_suspected", "message in, blank", "to=another device",
    "another device's message", "HTTP 402", "HTTP 403", " x2  ", "matched_by=chat", "by=-0.3 s",
    "opts out", "opts in", "retention.pruned", "webhook.enabled", "+2250707", "+2290197",
)  # fmt: skip

lived = lru_cache(maxsize=len(SEEDS))(simulate)


def judge(seed: int) -> None:
    outcome = lived(seed)
    if outcome.breach is not None:
        pytest.fail(outcome.story(), pytrace=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_twenty_days(seed: int) -> None:
    judge(seed)


def test_the_days_have_everything_in_them() -> None:
    lines = "\n".join(line for seed in SEEDS for line in lived(seed).trace.lines())
    assert [event for event in EVENTS if event not in lines] == []


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1000, 1500))
def test_two_thousand_days(seed: int) -> None:
    judge(seed)
