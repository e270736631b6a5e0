"""What was measured: a value, the bare baseline of the same run, and the bar; as lines, as a table, as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure has to reach.

    Args:
        limit: in the figure's unit, or a share where it is the ratio that counts.
        is_most: whether it is the most that the figure may be; otherwise the least.
        of_ratio: whether the ratio to the baseline is judged, not the value.
    """

    limit: float
    is_most: bool
    of_ratio: bool = False

    def __str__(self) -> str:
        sign = "≤" if self.is_most else "≥"
        return f"{sign} {number(self.limit)}{' of baseline' if self.of_ratio else ''}"


def at_most(limit: float) -> Bar:
    """The value may be no more than that."""
    return Bar(limit, is_most=True)


def at_least(limit: float) -> Bar:
    """The value may be no less than that."""
    return Bar(limit, is_most=False)


def ratio_at_most(limit: float) -> Bar:
    """The value may be no more than that times the baseline."""
    return Bar(limit, is_most=True, of_ratio=True)


def ratio_at_least(limit: float) -> Bar:
    """The value may be no less than that times the baseline."""
    return Bar(limit, is_most=False, of_ratio=True)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value.

    Args:
        key: the same in every run, with the size: ``intake.100000.rate``.
        what: in words, without value and unit.
        value: in the unit.
        unit: such as ``ms`` or ``/s``.
        baseline: the bare value in the same unit, of the same run.
        baseline_what: what the baseline is.
        bar: what it has to reach.
    """

    key: str
    what: str
    value: float
    unit: str
    baseline: float | None = None
    baseline_what: str = ""
    bar: Bar | None = None

    @property
    def ratio(self) -> float | None:
        """Value by baseline; None without one that can be divided by."""
        return self.value / self.baseline if self.baseline else None

    @property
    def is_met(self) -> bool | None:
        """Whether the bar is; None without one."""
        judged = self.ratio if self.bar and self.bar.of_ratio else self.value
        if self.bar is None or judged is None:
            return None
        return judged <= self.bar.limit if self.bar.is_most else judged >= self.bar.limit

    @property
    def verdict(self) -> str:
        """``met``, ``NOT MET``, or a hyphen where there is no bar."""
        return {None: "-", True: "met", False: "NOT MET"}[self.is_met]

    def __str__(self) -> str:
        parts = [f"{self.what}: {number(self.value)} {self.unit}"]
        if self.baseline is not None:
            ratio = "" if self.ratio is None else f", ratio {number(self.ratio)}"
            parts.append(f"{self.baseline_what}: {number(self.baseline)} {self.unit}{ratio}")
        if self.bar:
            parts.append(f"bar {self.bar}: {self.verdict}")
        return "; ".join(parts)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """A figure of a results file."""
        bar = values["bar"]
        known = {name: values[name] for name in ("key", "what", "value", "unit", "baseline", "baseline_what")}
        return cls(**known, bar=Bar(**bar) if bar else None)


@dataclass
class Report:
    """All figures of a run, and the machine that they are of."""

    machine: dict[str, Any]
    figures: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> None:
        """Keep a figure, and print it."""
        self.figures.append(figure)
        print(f"\n  {figure}", flush=True)

    def table(self) -> str:
        """Every figure in a line."""
        rows: list[tuple[str, ...]] = [("figure", "value", "baseline", "ratio", "bar", "")]
        rows += [_row(figure) for figure in self.figures]
        return _aligned(rows)

    def write(self, path: Path) -> None:
        """Write everything as JSON."""
        figures = [asdict(f) | {"ratio": f.ratio, "is_met": f.is_met} for f in self.figures]
        document = {"machine": self.machine, "figures": figures}
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        """A report that was written."""
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls(document["machine"], [Figure.from_json(each) for each in document["figures"]])


def number(value: float) -> str:
    """A number for people: at least three digits of it, no more after the point than that takes."""
    size = abs(value)
    places = 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 10 else 3
    written = f"{value:,.{places}f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


def percentile(values: Iterable[float], share: float) -> float:
    """The value that this share of them does not exceed; of few, the greatest."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


def _row(figure: Figure) -> tuple[str, ...]:
    baseline = "" if figure.baseline is None else f"{number(figure.baseline)} {figure.unit}"
    ratio = "" if figure.ratio is None else number(figure.ratio)
    bar = str(figure.bar) if figure.bar else ""
    return figure.key, f"{number(figure.value)} {figure.unit}", baseline, ratio, bar, figure.verdict


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first and the last are set left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    lines = (
        (c.ljust(w) if n in (0, last) else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )
    return "\n".join("  ".join(line).rstrip() for line in lines)


def comparison(old: Report, new: Report) -> str:
    """Every figure of either run side by side; where both have a baseline, by their ratios, since machines differ."""
    before = {figure.key: figure for figure in old.figures}
    after = {figure.key: figure for figure in new.figures}
    rows: list[tuple[str, ...]] = [("figure", "old", "new", "old ratio", "new ratio", "change", "bar")]
    rows += [_compared(key, before.get(key), after.get(key)) for key in before | after]
    return _aligned(rows)


def _compared(key: str, old: Figure | None, new: Figure | None) -> tuple[str, ...]:
    values = tuple(f"{number(f.value)} {f.unit}" if f else "" for f in (old, new))
    ratios = tuple(number(f.ratio) if f and f.ratio is not None else "" for f in (old, new))
    verdict = " -> ".join(dict.fromkeys(f.verdict for f in (old, new) if f))
    return (key, *values, *ratios, _change(old, new), verdict)


def _change(old: Figure | None, new: Figure | None) -> str:
    if old is None or new is None:
        return ""
    pair = (old.ratio, new.ratio) if old.ratio and new.ratio is not None else (old.value, new.value)
    return f"{pair[1] / pair[0] - 1:+.0%}" if pair[0] else ""
