"""The sides of a comparison, run alternately and timed."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import jax
import numpy as np

LEAST_SECONDS = 0.2  # of one round: a faster side is called more than once
MOST_CALLS = 20  # of one round
BUDGET = 60.0  # seconds of timed calls a side, after which it sits out the rounds that are left


@dataclass(frozen=True)
class Answer:
    """What a side computed, to be compared with the others: numpy arrays, a row a lane."""

    params: np.ndarray  # [lanes, parameters]
    steps: np.ndarray | None = None  # [lanes]
    _: KW_ONLY
    lanes: Any = ...  # which lanes of the workload these are
    useful: int | None = None  # lane-steps that led to the answer
    executed: int | None = None  # lane-steps computed, those of finished lanes included
    scores: dict[str, np.ndarray] = field(default_factory=dict)  # [lanes], by name


@dataclass(frozen=True)
class Side:
    """One way to compute an answer."""

    name: str
    run: Callable[..., Any]  # the whole computation, with its results on the host
    answer: Callable[[Any], Answer]  # of what `run` returned; not timed
    inputs: Callable[[], tuple] = tuple  # arguments of `run`, made anew for each call; not timed
    compile: Callable[[], Any] | None = None  # before the first call; else the first call warms up
    part: float = 1.0  # of the work that `run` does: its seconds are divided by it


@dataclass(frozen=True)
class Missing:
    """A side that cannot be run here."""

    name: str
    reason: str


@dataclass
class Timing:
    """How long a side took."""

    side: Side
    first: float  # seconds to compile, or of the first call, which compiles
    answer: Answer
    rounds: list[float] = field(default_factory=list)  # seconds of a call, one entry a round
    spent: float = 0.0

    @property
    def median(self) -> float:
        """Seconds of a call."""
        return statistics.median(self.rounds)

    @property
    def steps_per_second(self) -> float | None:
        """Useful lane-steps per second."""
        useful = self.answer.useful
        return None if useful is None else useful / self.side.part / self.median

    @property
    def useful_share(self) -> float | None:
        """Useful lane-steps among those executed."""
        answer = self.answer
        if answer.useful is None or not answer.executed:
            return None
        return answer.useful / answer.executed

    def add_round(self) -> None:
        """Call the side until the round is long enough to be timed."""
        calls: list[float] = []
        while sum(calls) < LEAST_SECONDS and len(calls) < MOST_CALLS:
            calls.append(_timed(self.side)[0])
        self.add(calls)

    def add(self, calls: list[float]) -> None:
        """Keep the seconds of the calls of one round."""
        self.spent += sum(calls)
        self.rounds.append(statistics.median(calls) / self.side.part)


def warmed_up(side: Side) -> Timing:
    """Return the side after its first call; that is its first round if it compiles ahead."""
    if side.compile is None:
        first, raw = _timed(side)
        return Timing(side, first, side.answer(raw))
    start = time.perf_counter()
    side.compile()
    first = time.perf_counter() - start
    seconds, raw = _timed(side)
    timing = Timing(side, first, side.answer(raw))
    if seconds >= LEAST_SECONDS:
        timing.add([seconds])
    return timing


def race(timings: Sequence[Timing], rounds: int) -> None:
    """Time the sides one after the other, round after round."""
    for _ in range(rounds):
        for timing in timings:
            if not timing.rounds or (timing.spent < BUDGET and len(timing.rounds) < rounds):
                timing.add_round()


def _timed(side: Side) -> tuple[float, Any]:
    arguments = side.inputs()
    start = time.perf_counter()
    raw = side.run(*arguments)
    return time.perf_counter() - start, raw


class Program:
    """A function compiled by XLA ahead of its calls, with its arguments on the device."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._function = function
        self._arguments = jax.device_put(arguments)
        self._program: Callable[..., Any] | None = None

    def compile(self) -> None:
        """Compile it, and do nothing else."""
        self._program = jax.jit(self._function).lower(*self._arguments).compile()

    def __call__(self) -> Any:
        """Run it, and return its results on the host."""
        assert self._program is not None
        return jax.device_get(self._program(*self._arguments))
