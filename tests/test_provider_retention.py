"""How long the provider keeps messages: read before a proof, the shortest since the attempt."""

from datetime import timedelta

from tests.support import START, KeepingAccount, ManualClock
from wamsg2.provider_retention import ProviderRetention

FIVE_MINUTES, DAY = timedelta(minutes=5), timedelta(days=1)


async def test_it_is_read_before_the_first_proof_and_remembered_for_a_while() -> None:
    clock, account = ManualClock(), KeepingAccount(DAY)
    retention = ProviderRetention(account=account, clock=clock)
    for _ in range(3):
        assert await retention.shortest_since(START) == DAY
    assert account.looks == 1
    clock.advance(121)
    assert await retention.shortest_since(START) == DAY
    assert account.looks == 2, "it may have been changed"


async def test_the_watch_of_the_device_spares_the_question() -> None:
    clock, account = ManualClock(), KeepingAccount(DAY)
    retention = ProviderRetention(account=account, clock=clock)
    retention.note(FIVE_MINUTES)
    assert await retention.shortest_since(START) == FIVE_MINUTES
    assert account.looks == 0


async def test_no_answer_is_unknown_and_the_question_is_not_asked_at_every_look_up() -> None:
    clock, account = ManualClock(), KeepingAccount(None, None, DAY)
    retention = ProviderRetention(account=account, clock=clock)
    for _ in range(3):
        assert await retention.shortest_since(START) is None
    assert account.looks == 1
    clock.advance(31)
    assert await retention.shortest_since(START) is None
    clock.advance(31)
    assert await retention.shortest_since(START) == DAY
    assert account.looks == 3


async def test_a_policy_that_was_shorter_meanwhile_counts_until_it_is_older_than_the_attempt() -> None:
    clock = ManualClock()
    retention = ProviderRetention(account=KeepingAccount(DAY), clock=clock)
    retention.note(DAY)
    clock.advance(60)
    retention.note(timedelta(0))
    clock.advance(60)
    retention.note(DAY)
    later = clock.now()
    assert await retention.shortest_since(START) == timedelta(0)
    assert await retention.shortest_since(later) == DAY
    retention.note(None)  # a policy that nobody knows
    assert await retention.shortest_since(later) is None
