"""The progress bar of a sweep, by tqdm."""

import sys
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any, Protocol


class Bar(Protocol):
    """What the engine needs of a progress bar."""

    def update(self, lanes: int, /) -> Any:
        """Count lanes that are done."""
        ...


class _Silent:
    def update(self, lanes: int, /) -> None: ...


def progress_bar(lanes: int, progress: bool | None) -> AbstractContextManager[Bar]:
    """Return a bar over `lanes`, shown on a terminal where tqdm is at hand if `progress` is None.

    Raises:
      ModuleNotFoundError: `progress` is True and tqdm is not installed.
    """
    if progress is None:
        progress = sys.stderr.isatty() and find_spec("tqdm") is not None
    if not progress:
        return nullcontext(_Silent())
    try:
        from tqdm import tqdm
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "progress=True needs tqdm: pip install 'gdjax[progress]'", name="tqdm"
        ) from error
    return tqdm(total=lanes, unit="lane", unit_scale=True)
