"""The bell: nobody who was called sleeps on, and nobody wakes who was not."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import run_virtually
from wamsg2.bell import Bell


def seconds() -> float:
    return asyncio.get_running_loop().time()


def test_a_ring_ends_a_wait_at_once() -> None:
    async def main() -> None:
        bell = Bell()
        began = seconds()
        asyncio.get_running_loop().call_later(7, bell.ring)
        assert await bell.wait() is True
        assert seconds() - began == pytest.approx(7)

    run_virtually(main())


def test_without_a_ring_the_time_ends_it() -> None:
    async def main() -> None:
        bell = Bell()
        began = seconds()
        assert await bell.wait(60) is False
        assert seconds() - began == pytest.approx(60)

    run_virtually(main())


def test_a_ring_before_the_wait_is_kept_once() -> None:
    """Or what was told while the loop was busy would wait for the next time of itself."""

    async def main() -> None:
        bell = Bell()
        for _ in range(3):
            bell.ring()
        began = seconds()
        assert await bell.wait(60) is True
        assert seconds() == began
        assert await bell.wait(60) is False
        assert seconds() - began == pytest.approx(60)

    run_virtually(main())


def test_a_ring_is_kept_even_where_no_time_is_left() -> None:
    async def main() -> None:
        bell = Bell()
        bell.ring()
        assert await bell.wait(0) is True
        assert await bell.wait(0) is False

    run_virtually(main())


def test_a_wait_that_is_cancelled_takes_no_ring_along() -> None:
    async def main() -> None:
        bell = Bell()
        waiting = asyncio.get_running_loop().create_task(bell.wait())
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        bell.ring()
        assert await bell.wait(1) is True

    run_virtually(main())


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 200), max_size=20), st.integers(1, 30), st.integers(0, 9))
def test_no_ring_is_lost_and_no_wait_is_longer_than_asked_for(rings: list[int], longest: int, busy: int) -> None:
    """A loop that waits for so long at the most, and is busy for a time after each: it always looks after a ring."""

    async def main() -> None:
        bell, loop = Bell(), asyncio.get_running_loop()
        began = loop.time()
        looks: list[float] = []
        for at in rings:
            loop.call_at(began + at + 0.5, bell.ring)
        while loop.time() - began < 300:
            waits_from = loop.time()
            await bell.wait(longest)
            looks.append(loop.time() - began)
            assert len(looks) < 1000, "it never waits"
            assert loop.time() - waits_from <= longest + 1e-6
            await asyncio.sleep(busy)
        for at in rings:
            assert any(at + 0.5 - 1e-6 <= look <= at + 0.5 + busy + 1e-6 for look in looks)

    run_virtually(main())
