"""The machine and its processes: what a commit costs, and what the kernel says that a process uses."""

import os
import platform
import sqlite3
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.benchmarks.figures import percentile

ROOT = Path(__file__).parents[2]
_SYNCS = 300
_PAGE = bytes(4096)


def fsync_milliseconds(directory: Path) -> tuple[float, float]:
    """Median and p99, in ms, of appending 4 KiB to a file of this directory and syncing it."""
    path = directory / "fsync"
    costs = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            os.write(fd, _PAGE)
            os.fsync(fd)
            costs.append((time.perf_counter() - began) * 1000)
    finally:
        os.close(fd)
        path.unlink()
    return statistics.median(costs), percentile(costs, 0.99)


def facts(directory: Path) -> dict[str, Any]:
    """What makes runs comparable, or not."""
    median_ms, p99_ms = fsync_milliseconds(directory)
    return {
        "commit": _git("rev-parse", "HEAD"),
        "changed_files": _git("status", "--porcelain").count("\n") + 1 if _git("status", "--porcelain") else 0,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "fsync_median_ms": round(median_ms, 3),
        "fsync_p99_ms": round(p99_ms, 3),
    }


def _git(*arguments: str) -> str:
    """What git says of this tree; empty where there is none."""
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.run(
            ("git", *arguments), cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.strip()
    return ""


def cpu_seconds(pid: int) -> float:
    """Seconds on a core so far, all threads: nanoseconds of schedstat where the kernel keeps it, else ticks."""
    try:
        tasks = [(task / "schedstat").read_text(encoding="ascii") for task in Path(f"/proc/{pid}/task").iterdir()]
        return sum(int(task.split()[0]) for task in tasks) / 1e9
    except FileNotFoundError:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    """MiB resident now (``VmRSS``) or at the most so far (``VmHWM``), from /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in lines if line.startswith(field + ":")]
    return int(line.split()[1]) / 1024


@contextmanager
def stopwatch() -> Iterator[list[float]]:
    """Appends the seconds that the block took."""
    seconds: list[float] = []
    began = time.perf_counter()
    yield seconds
    seconds.append(time.perf_counter() - began)
