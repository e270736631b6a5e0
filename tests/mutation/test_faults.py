"""The faults are what they say, one at a time."""

from pathlib import Path

from tests.mutation.faults import faults_of

MODULE = '''"""A comment WHERE min(x) says nothing."""

def f(a, b):
    if a < b and not a:
        return min(a + 1, b)
    return "SELECT x FROM t WHERE min(a) AND b ORDER BY c"
'''
CHANGED = {
    "not (a < b and (not a))",
    "a < b or not a",
    "a <= b",
    "max(a + 1, b)",
    "a - 1",
    "a + 2",
    "WHERE max(a) AND b ORDER BY c",
    "WHERE min(a) OR b ORDER BY c",
    "WHERE min(a) AND b ORDER BY c DESC",
}


def test_each_fault_is_the_only_one(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text(MODULE, encoding="utf-8")
    faults = list(faults_of(tmp_path, [file]))
    assert {fault.path for fault in faults} == {Path("module.py")}
    found = [{change for change in CHANGED if change in fault.source} for fault in faults]
    assert sorted(map(len, found)) == [1] * len(CHANGED)
    assert set.union(*found) == CHANGED
