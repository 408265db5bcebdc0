"""The C side of workload A: compiled where it is run, called through ctypes."""

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.harness import Answer, Missing, Side

NAME = "C, OpenMP"
SOURCE = Path(__file__).with_name("a_himmelblau.c")
FLAGS = ("-O3", "-march=native", "-fopenmp", "-shared", "-fPIC")


def c_side(starts: np.ndarray, n: int, rate: float, tol: float, max_steps: int) -> Side | Missing:
    """Return the side that descends from starts [n * n, 2], or why there is none."""
    compiler = shutil.which("cc")
    if compiler is None:
        return Missing(NAME, "no C compiler")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "himmelblau.so"
        command = [compiler, *FLAGS, "-o", str(library), str(SOURCE), "-lm"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return Missing(NAME, f"cc failed: {(done.stderr.splitlines() or ['?'])[0]}")
        descend = ctypes.CDLL(str(library)).descend
    return Side(NAME, _caller(descend, starts, n, rate, tol, max_steps), _answer)


def _caller(
    descend: Any, starts: np.ndarray, n: int, rate: float, tol: float, max_steps: int
) -> Callable[[], tuple]:
    floats = np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")
    ints = np.ctypeslib.ndpointer(np.int32, flags="C_CONTIGUOUS")
    descend.restype = ctypes.c_int64
    descend.argtypes = [floats, floats, ints, ctypes.c_int, *[ctypes.c_float] * 2, ctypes.c_int]

    def run() -> tuple:
        ends, steps = np.empty_like(starts), np.empty(len(starts), np.int32)
        executed = descend(starts, ends, steps, n, rate, tol, max_steps)
        return ends, steps, executed

    return run


def _answer(raw: tuple) -> Answer:
    ends, steps, executed = raw
    return Answer(ends, steps, useful=int(steps.sum(dtype=np.int64)), executed=executed)
