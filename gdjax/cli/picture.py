"""Pictures as files."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from gdjax.plot.axes import axes_or_new

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def checked_file(file: str) -> str:
    """Return the file's name if a picture can be written there.

    Raises:
      ModuleNotFoundError: matplotlib is not installed.
      ValueError: there is no such folder, or matplotlib writes no files of this suffix.
    """
    suffixes = _figure(axes_or_new(None)).canvas.get_supported_filetypes()
    folder, suffix = Path(file).parent, Path(file).suffix
    if suffix.lower().removeprefix(".") not in suffixes:
        raise ValueError(f"--out: expected one of .{', .'.join(sorted(suffixes))}, got {file!r}")
    if not folder.is_dir():
        raise ValueError(f"--out: there is no folder {str(folder)!r}")
    return file


def write_picture(draw: "Callable[[], Axes]", title: str, file: str) -> str | None:
    """Write the figure of the Axes that are drawn, under a title.

    Returns:
      The file; None where there is nothing to be drawn, and stderr says why.

    Raises:
      OSError: the file cannot be written.
    """
    try:
        axes = draw()
    except ValueError as error:
        print(f"gdjax: no picture could be drawn: {error}", file=sys.stderr)
        return None
    axes.set_title(title)
    try:
        _figure(axes).savefig(file, dpi=150)
    except OSError as error:
        raise OSError(f"--out: {error}") from error
    return file


def _figure(axes: "Axes") -> "Figure":
    figure = axes.get_figure(root=True)
    assert figure is not None  # gdjax.plot has just made it
    return figure
