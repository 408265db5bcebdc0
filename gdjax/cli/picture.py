"""Pictures as files."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def write_picture(axes: "Axes", title: str, file: str) -> None:
    """Write the figure of these Axes under a title."""
    axes.set_title(title)
    figure = axes.get_figure(root=True)
    assert figure is not None  # gdjax.plot has just made it
    figure.savefig(file, dpi=150)
