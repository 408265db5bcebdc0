"""What an experiment reports: measured beside expected."""

from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

FIGURES = Path(__file__).parent / "figures"


@dataclass(frozen=True)
class Measured:
    """A measured figure, the expected one and how far they may be apart."""

    name: str
    value: float
    expected: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether it came out."""
        return abs(self.value - self.expected) <= self.tolerance

    def __str__(self) -> str:
        verdict = "ok" if self.holds else "OUTSIDE"
        return (
            f"{verdict:8}{self.name}: {self.value:.6g}, "
            f"expected {self.expected:.6g} ± {self.tolerance:g}"
        )


def write_figure(axes: Axes, name: str) -> None:
    """Write the figure of these Axes to `experiments/figures`."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.savefig(FIGURES / f"{name}.png", dpi=150)
