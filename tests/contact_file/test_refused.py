"""Refused rows, written so that they can be mended and read again."""

import io
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wamsg2.contact_file import reading
from wamsg2.contact_file.refused import RefusedRows

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
value = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]) | st.sampled_from('",;\n'), max_size=8)


@law
@given(st.lists(st.tuples(value, value), min_size=1, max_size=6), st.sampled_from(",;\t"))
def test_refused_rows_are_read_as_they_were(tmp_path: Path, cells: list[tuple[str, str]], separator: str) -> None:
    rows = [("phone", "a", "b"), *((f"+2289012{n:04d}", *pair) for n, pair in enumerate(cells))]
    file = tmp_path / "law.csv"
    quoted = [separator.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    file.write_text("\n".join(quoted), encoding="utf-8", newline="")
    stream = io.StringIO(newline="")
    with reading.opened(file, needed=()) as contacts:
        refused = RefusedRows(stream, contacts.header, contacts.shape.separator)
        for record in contacts.records:
            refused.add(record, "phone", "wrong; in 2 ways")
    file.write_text(stream.getvalue(), encoding="utf-8", newline="")
    with reading.opened(file, needed=()) as contacts:
        found = [(contacts.header.number(r.cells), contacts.header.values(r.cells)) for r in contacts.records]
    assert found == [(number, {"a": a.strip(), "b": b.strip()}) for number, a, b in rows[1:]]
