"""A map to look into: a rectangle that is dragged over it is computed anew."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gdjax import checks
from gdjax.basins.refinement.naming import AttractorNames
from gdjax.basins.refinement.refine import checked_label
from gdjax.basins.refinement.starts import Starts
from gdjax.descent import Descent
from gdjax.plot.axes import axes_or_new, legend_beside
from gdjax.plot.colouring import fixed_colour
from gdjax.sweeps import Runs
from gdjax.sweeps.axes.box import Box, checked_box

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMALLEST = 5  # pixels along a side; a click is no rectangle
LISTED = 12  # labels in the legend
FINEST = 1e-13  # of a coordinate: a picture that is narrower has no numbers to be drawn at


class Zoom:
    """A map of basins that zooms in where a rectangle is dragged; made by `zoom`.

    Keep it for as long as its picture is used: matplotlib does not.

    Attributes:
      ax: the Axes.
      box: the bounds of what is shown, `{name: (low, high)}` along x and y.
      labels: int32 [n, n], the labels of the starts that are shown.
    """

    def __init__(self, problem: Any, box: Box, n: int, label: Any, ax: "Axes") -> None:
        """Compute and draw the whole box."""
        from matplotlib.widgets import RectangleSelector

        self.ax, self._problem, self._names, self._n = ax, problem, box.labels, n
        self._bounds = [box.bounds]
        starts = Starts(problem, box, n)
        self._dims, self._label = starts.dims, label or AttractorNames(starts)
        self._image = ax.imshow(np.zeros((n, n, 3)), origin="lower", interpolation="nearest")
        ax.set(xlabel=self._dims[0], ylabel=self._dims[1], aspect="auto")
        self._show()
        canvas = ax.figure.canvas
        self._selector = RectangleSelector(
            ax,
            self._dragged,
            useblit=canvas.supports_blit,
            button=[1],  # pyright: ignore
            minspanx=SMALLEST,
            minspany=SMALLEST,
            spancoords="pixels",
        )
        self._pressed = canvas.mpl_connect("key_press_event", self._key)

    @property
    def box(self) -> dict[str, tuple[float, float]]:
        """The bounds of what is shown, by dimension."""
        return dict(zip(self._dims, self._bounds[-1]))

    def back(self) -> None:
        """Show what was shown before the last rectangle; nothing happens at the whole box."""
        if len(self._bounds) > 1:
            self._bounds.pop()
            self._show()

    def _dragged(self, press: Any, release: Any) -> None:
        # The selector keeps back small rectangles, but not after the first that was not.
        if min(abs(press.x - release.x), abs(press.y - release.y)) < SMALLEST:
            return
        corners = ((press.xdata, release.xdata), (press.ydata, release.ydata))
        bounds = tuple((float(min(pair)), float(max(pair))) for pair in corners)
        if all(high - low > FINEST * max(abs(low), abs(high)) for low, high in bounds):
            self._bounds.append(bounds)
            self._show()

    def _key(self, event: Any) -> None:
        if event.key == "backspace":
            self.back()

    def _show(self) -> None:
        from matplotlib.colors import to_rgb

        bounds = self._bounds[-1]
        starts = Starts(self._problem, Box(self._names, bounds), self._n)
        runs = starts.runs(np.arange(self._n**2))
        self.labels = self._label(runs).reshape(self._n, self._n)
        colours = np.array([to_rgb(fixed_colour(label)) for label in self.labels.ravel().tolist()])
        self._image.set_data(colours.reshape(self._n, self._n, 3).swapaxes(0, 1))
        self._image.set_extent((*bounds[0], *bounds[1]))
        self.ax.set(xlim=bounds[0], ylim=bounds[1])
        self._write()
        self.ax.figure.canvas.draw_idle()

    def _write(self) -> None:
        """Write the shares of the labels, and how far it is zoomed in."""
        from matplotlib.patches import Patch

        names, counts = np.unique(self.labels, return_counts=True)
        most = np.sort(np.argsort(-counts, kind="stable")[:LISTED])
        texts = [
            f"{'none' if names[i] < 0 else names[i]}: {100 * counts[i] / self.labels.size:.3g}%"
            for i in most
        ]
        patches = [Patch(color=fixed_colour(int(names[i]))) for i in most]
        legend_beside(self.ax, patches, texts, title="label: share")
        (left, right), (low, high) = self._bounds[0][0], self._bounds[-1][0]
        self.ax.set_title(f"× {(right - left) / (high - low):.3g}", fontsize="small")


def zoom(
    problem: Callable[..., Descent],
    box: Any,
    n: int = 200,
    *,
    label: Callable[[Runs], Any] | None = None,
    ax: "Axes | None" = None,
) -> Zoom:
    """Draw a map of basins that is computed anew over each rectangle dragged over it.

    Wherever matplotlib has an interactive backend: a window, or in a notebook `%matplotlib widget`
    (`pip install ipympl`). Backspace, or `back()`, goes back to what was shown before. A label
    keeps its number and its colour; attractors that are met on the way get new ones. Far in, where
    float32 has no numbers between two starts, `jax_enable_x64` goes on.

    Args:
      problem: function of one argument, the start, to a `gdjax.Descent`, as
        `gdjax.basins.refine` takes.
      box: `{name: (low, high), ...}` or `[(low, high), ...]`, with two sides.
      n: starts along each side of the picture, at least 1.
      label: function of the runs to an integer for each, as in `gdjax.basins.refine`;
        `gdjax.map_basins` if left out.
      ax: the Axes to draw on; those of a new figure of pyplot if left out.

    Returns:
      The zoom, which has to be kept, with its `ax`, `box` and `labels`.

    Raises:
      ModuleNotFoundError: matplotlib is not installed: `pip install 'gdjax[plot]'`.
      TypeError: an argument is not of this form.
      ValueError: the box has not two sides, bounds are not in order, or `n` is too low.

    >>> import gdjax, gdjax.plot, optax
    >>> from matplotlib.figure import Figure
    >>> problem = lambda start: gdjax.Descent(gdjax.landscapes.double_well, start, optax.sgd(0.1))
    >>> box = {"x": (-2, 2), "y": (-2, 2)}
    >>> view = gdjax.plot.zoom(problem, box, n=10, ax=Figure().subplots())
    >>> view.box, np.unique(view.labels).tolist()
    ({'x': (-2.0, 2.0), 'y': (-2.0, 2.0)}, [0, 1, 2, 3])
    """
    checked = checked_box(box)
    if len(checked.bounds) != 2:
        raise ValueError(f"box: expected two sides, got {len(checked.bounds)}")
    n = checks.whole_number("n", n, least=1)
    by_function = None if label is None else checked_label(label)
    if ax is None:
        axes_or_new(None)  # which says what is missing
        from matplotlib import pyplot  # only what pyplot manages can be dragged over

        ax = pyplot.figure(layout="compressed").subplots()
    return Zoom(problem, checked, n, by_function, axes_or_new(ax))
