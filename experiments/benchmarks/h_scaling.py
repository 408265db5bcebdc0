"""H. Ten, a hundred times the lanes of A, reduced to how many reach each minimum: time and memory.

`python -m experiments.benchmarks.h_scaling ROWS COLUMNS` measures one size, in this process.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gdjax
from experiments.benchmarks.a_himmelblau import LOSS, lane
from experiments.benchmarks.comparison import DIFFERS, MISSED, NOT_JUDGED, Plan, Report, Row

TITLE = "H. Himmelblau reduced to the shares of its minima"
# Of (3, 2), (3.584, -1.848), (-2.805, 3.131), (-3.779, -3.283): float64, an independent program.
SHARES, SHARES_WITHIN = (0.2634, 0.2375, 0.2615, 0.2377), 1e-3
LINEAR, FLAT = 0.15, 1.15  # of ten times the time for ten times the lanes; of the memory
LEAST_SECONDS = 5.0  # of the calls of a size, whose median counts
HEADER = ("lanes", "a call, s", "lanes/s", "peak memory, MB", "shares of the minima")


def measure(plan: Plan) -> list[Report]:
    sizes = [(1000, 1000), (3162, 3163), (10_000, 10_000)]
    if plan.quick:
        sizes = [(100, 100), (316, 317), (1000, 1000)]
    report, ends = Report(TITLE, HEADER), []
    for rows, columns in sizes:
        command = [sys.executable, "-m", __name__, str(rows), str(columns)]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        ends.append(json.loads(out.splitlines()[-1]))
        report.lines.append(_line(ends[-1]))
    report.rows.append(_judged(ends, plan))
    return [report]


def _line(end: dict[str, Any]) -> list[str]:
    lanes, seconds = sum(end["counts"]), end["seconds"]
    shares = ", ".join(f"{share:.4f}" for share in _shares(end))
    return [f"{lanes:,}", f"{seconds:.3g}", f"{lanes / seconds:.3g}", f"{end['peak']:.0f}", shares]


def _shares(end: dict[str, Any]) -> np.ndarray:
    return np.array(end["counts"][:4]) / sum(end["counts"])


def _judged(ends: list[dict[str, Any]], plan: Plan) -> Row:
    lanes = np.array([sum(end["counts"]) for end in ends])
    seconds = np.array([end["seconds"] for end in ends])
    growth = (seconds[1:] / seconds[:-1]) / (lanes[1:] / lanes[:-1])
    memory = max(end["peak"] for end in ends) / ends[0]["peak"]
    text = f"time {', '.join(f'{g:.3g}' for g in growth)} × linear, memory {memory:.3g} ×"
    if np.abs(_shares(ends[-1]) - SHARES).max() > SHARES_WITHIN:
        return _row(text, DIFFERS)
    met = bool((np.abs(growth - 1) <= LINEAR).all()) and memory <= FLAT
    return _row(text, NOT_JUDGED if plan.quick else "met" if met else MISSED)


def _row(measured: str, verdict: str) -> Row:
    asked = f"time linear ± {LINEAR:.0%}, memory ≤ {FLAT:.3g} ×"
    return Row(TITLE, "itself, at 10 and 100 times the lanes", measured, asked, "", verdict)


def _label(outcome: Any) -> jax.Array:
    """Return the number of the minimum that a lane reached; 4 where it reached none."""
    minima = jnp.asarray(LOSS.minima, jnp.float32)
    nearest = jnp.argmin(jnp.sum((minima - outcome.params) ** 2, axis=1))
    return jnp.where(outcome.status == gdjax.Status.CONVERGED, nearest, 4)


def _peak() -> float:
    """Return the most memory that this program had, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: rusage would have that of the parent, from before the exec
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main(rows: int, columns: int) -> None:
    """Measure one size, and print it as JSON."""
    reduce = gdjax.reduce.counts(_label, 5)
    start = gdjax.grid((-6, 6, rows), (-6, 6, columns))
    counts = gdjax.sweep(lane, start=start, reduce=reduce, progress=False)
    calls: list[float] = []
    while sum(calls) < LEAST_SECONDS:
        began = time.perf_counter()
        gdjax.sweep(lane, start=start, reduce=reduce, progress=False)
        calls.append(time.perf_counter() - began)
    seconds = statistics.median(calls)
    print(json.dumps({"seconds": seconds, "peak": _peak(), "counts": np.asarray(counts).tolist()}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
