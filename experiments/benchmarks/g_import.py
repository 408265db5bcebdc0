"""G. The import of gdjax, against that of jax and optax, which it needs."""

import subprocess
import sys
from dataclasses import replace

import numpy as np

from experiments.benchmarks.comparison import Comparison, Plan, Report, Target, compare
from experiments.benchmarks.harness import Answer, Side

PEER = "import jax, optax"


def measure(plan: Plan) -> list[Report]:
    plan = replace(plan, rounds=2 * plan.rounds)
    comparison = Comparison(
        "G. Import, each in a fresh process",
        _side("import gdjax"),
        [_side(PEER)],
        {PEER: Target(1.1, 1.0, of="time")},
    )
    return [compare(comparison, plan)]


def _side(statement: str) -> Side:
    def run() -> None:
        subprocess.run([sys.executable, "-c", statement], check=True)

    return Side(statement, run, lambda _: Answer(np.zeros((0, 0))))
