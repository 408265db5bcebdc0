"""gdjax against its peers on one workload: what is asked of it, and what came out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from experiments.benchmarks.harness import Answer, Missing, Side, Timing, race, warmed_up


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    quick: bool  # every workload is shrunk, and no target is judged
    rounds: int


@dataclass(frozen=True)
class Target:
    """What is asked: a ratio of speeds, at least; or a ratio of times, at most."""

    bound: float
    aim: float
    of: Literal["speed", "time"] = "speed"

    def ratio(self, ours: float, theirs: float) -> float:
        """Return the ratio in question of two times in seconds."""
        return theirs / ours if self.of == "speed" else ours / theirs

    def verdict(self, ratio: float) -> str:
        """Return how a ratio stands to the bound and the aim."""
        if self.of == "time":
            return "aim met" if ratio <= self.aim else "met" if ratio <= self.bound else MISSED
        return "aim met" if ratio >= self.aim else "met" if ratio >= self.bound else MISSED

    def text(self, limit: float) -> str:
        """Return one of its limits in words."""
        return f"{limit:.3g} ×" if self.of == "speed" else f"≤ {limit:.3g} × its time"


@dataclass(frozen=True)
class Agreement:
    """Whether two sides computed the same answer."""

    holds: bool
    text: str


MISSED, DIFFERS, NOT_JUDGED = "MISSED", "ANSWERS DIFFER", "not judged"


@dataclass(frozen=True)
class Row:
    """A line of the summary."""

    workload: str
    against: str
    measured: str
    at_least: str
    aim: str
    verdict: str = NOT_JUDGED
    steps_per_second: str = ""
    useful_share: str = ""

    @property
    def failed(self) -> bool:
        """Whether a bound is missed or answers differ."""
        return self.verdict in (MISSED, DIFFERS)


@dataclass
class Report:
    """What a workload reports: a table of its sides, lines of the summary, and remarks."""

    title: str
    header: Sequence[str] = ()
    lines: list[list[str]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Comparison:
    """A workload: gdjax, its peers, and what is asked against each by name."""

    title: str
    ours: Side | Missing
    peers: Sequence[Side | Missing]
    targets: Mapping[str, Target]
    agree: Callable[[Answer, Answer], Agreement] | None = None  # None: there is no answer
    notes: Sequence[str] = ()


HEADER = (
    "side",
    "compile or first call, s",
    "median, s",
    "min-max, s",
    "rounds",
    "useful lane-steps/s",
    "useful of executed",
)


def compare(comparison: Comparison, plan: Plan) -> Report:
    """Run all sides of a workload: first for their answers, then for their times."""
    report = Report(comparison.title, HEADER, notes=list(comparison.notes))
    if isinstance(comparison.ours, Missing):
        for name, target in comparison.targets.items():
            report.rows.append(_unmeasured(comparison.title, name, target, comparison.ours.reason))
        return report
    ours = warmed_up(comparison.ours)
    peers = [warmed_up(side) if isinstance(side, Side) else side for side in comparison.peers]
    present = [peer for peer in peers if isinstance(peer, Timing)]
    agreements: dict[str, Agreement] = {}
    if comparison.agree is not None:
        for peer in present:
            agreements[peer.side.name] = comparison.agree(ours.answer, peer.answer)
    race([ours, *present], plan.rounds)
    report.lines.append(_line(ours))
    for peer in peers:
        if isinstance(peer, Missing):
            target, reason = comparison.targets[peer.name], f"not available: {peer.reason}"
            report.lines.append([peer.name, reason, *[""] * (len(HEADER) - 2)])
            report.rows.append(_unmeasured(comparison.title, peer.name, target, reason))
            continue
        name = peer.side.name
        report.lines.append(_line(peer))
        agreement = agreements.get(name)
        report.rows.append(
            _row(comparison.title, comparison.targets[name], ours, peer, agreement, plan)
        )
        if agreement is not None:
            report.notes.append(f"{name}: {agreement.text}")
    return report


def _unmeasured(title: str, name: str, target: Target, reason: str) -> Row:
    return Row(title, name, reason, target.text(target.bound), target.text(target.aim))


def _row(
    title: str,
    target: Target,
    ours: Timing,
    peer: Timing,
    agreement: Agreement | None,
    plan: Plan,
) -> Row:
    ratio = target.ratio(ours.median, peer.median)
    by_round = [target.ratio(*pair) for pair in zip(ours.rounds, peer.rounds)]
    verdict = NOT_JUDGED if plan.quick else target.verdict(ratio)
    return Row(
        title,
        peer.side.name,
        f"{ratio:.3g} × ({min(by_round):.3g}-{max(by_round):.3g})",
        target.text(target.bound),
        target.text(target.aim),
        verdict if agreement is None or agreement.holds else DIFFERS,
        *_lane_steps(ours),
    )


def _line(timing: Timing) -> list[str]:
    part = "" if timing.side.part == 1 else f" (timed on {timing.side.part:.3g} of the work)"
    return [
        timing.side.name + part,
        f"{timing.first:.3g}",
        f"{timing.median:.4g}",
        f"{min(timing.rounds):.4g}-{max(timing.rounds):.4g}",
        str(len(timing.rounds)),
        *_lane_steps(timing),
    ]


def _lane_steps(timing: Timing) -> tuple[str, str]:
    rate, share = timing.steps_per_second, timing.useful_share
    return "" if rate is None else f"{rate:.3g}", "" if share is None else f"{share:.1%}"
