"""The Axes that a picture is drawn on, and the legends beside it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gdjax.plot.text import number_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar

FEW_DECADES = 2  # of a logarithmic axis that has more labels than one each


def axes_or_new(ax: Any) -> "Axes":
    """Return the Axes given, or those of a new figure that pyplot knows nothing of.

    Raises:
      ModuleNotFoundError: matplotlib is not installed.
      TypeError: `ax` is neither None nor a matplotlib Axes.
    """
    try:
        import matplotlib  # noqa: F401  (a submodule may be loaded where the package is not)
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "gdjax.plot needs matplotlib: pip install 'gdjax[plot]'", name="matplotlib"
        ) from error
    if ax is None:
        return Figure(layout="compressed").subplots()  # constrained, with equal aspect in mind
    if not isinstance(ax, Axes):
        raise TypeError(f"ax: expected a matplotlib Axes, got {ax!r}")
    return ax


def log_ticks(axis: "Axis") -> None:
    """Label a logarithmic axis at its decades, or, if it has less than two, at 1, 2 and 5 of each.

    Its limits have to be set. What matplotlib writes between two decades overlaps along x.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_minor_formatter(NullFormatter())
    low, high = sorted(axis.get_view_interval())
    if high < low * 10.0**FEW_DECADES:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda number, _: number_text(number)))


def legend_beside(
    ax: "Axes", handles: Sequence[Any], texts: Sequence[str], title: str | None = None
) -> None:
    """Add a legend to the right of the Axes, where it covers nothing."""
    from matplotlib.legend_handler import HandlerTuple

    ax.legend(
        handles,
        texts,
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        frameon=False,
        fontsize="small",
        title_fontsize="small",
        alignment="left",
        handler_map={tuple: HandlerTuple(ndivide=None, pad=0.0)},
    )


def legend_below(ax: "Axes", handles: Sequence[Any], texts: Sequence[str]) -> None:
    """Add a legend in a row below the right end of the x axis, where it covers nothing."""
    ax.legend(
        handles,
        texts,
        loc="upper right",
        bbox_to_anchor=(1.0, -0.09),
        borderaxespad=0.0,
        borderpad=0.0,
        ncols=len(handles),
        frameon=False,
        fontsize="small",
    )


def colour_bar(
    ax: "Axes", coloured: "ScalarMappable", label: str, location: str = "right"
) -> "Colorbar":
    """Add a colour bar beside the Axes."""
    figure = ax.get_figure()
    if figure is None:
        raise ValueError("ax: expected an Axes in a figure, got one that was removed")
    return figure.colorbar(coloured, ax=ax, label=label, location=location)
