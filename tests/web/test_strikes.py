"""Wrong secrets are counted by source."""

from wamsg2.web.strikes import _MOST_SOURCES, Strikes


def test_a_minute_at_a_time() -> None:
    strikes = Strikes()
    assert [strikes.count("a", second) for second in (0, 1, 59.9)] == [1, 2, 3]
    assert strikes.count("a", 60) == 1


def test_each_source_for_itself() -> None:
    strikes = Strikes()
    strikes.count("a", 0)
    assert strikes.count("b", 0) == 1
    assert strikes.count("a", 0) == 2


def test_memory_is_bounded_and_who_goes_on_is_not_forgotten() -> None:
    strikes = Strikes()
    for n in range(3 * _MOST_SOURCES):
        strikes.count(str(n), 0)
        strikes.count("busy", 0)
    assert len(strikes._sources) == _MOST_SOURCES
    assert strikes.count("busy", 0) == 3 * _MOST_SOURCES + 1
