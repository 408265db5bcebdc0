"""Arrays on disk, for results that are larger than memory."""

import mmap
from os import PathLike
from pathlib import Path
from threading import Lock

import jax
import numpy as np

from gdjax.trees import PyTree

MOST_BYTES_MAPPED = 2**24  # that were written and may still take up memory


class Store:
    """A directory of `.npy` files, one for each leaf, named after its path."""

    def __init__(self, path: str | PathLike[str]) -> None:
        """Take the directory, which is made where it is missing."""
        self.path = Path(path)
        self.maps: list[np.memmap] = []
        self.bytes_mapped = 0
        self.lock = Lock()

    def arrays(self, tree: PyTree, shape: tuple[int, ...]) -> PyTree:
        """Return an array [*shape, ...] for each of these leaves, mapped from new files.

        Raises:
          FileExistsError: one of the files is there already.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        files = jax.tree_util.tree_map_with_path(lambda path, _: self.path / _file(path), tree)
        for file in jax.tree.leaves(files):
            if file.exists():
                raise FileExistsError(f"store: {file} exists already; choose another directory")
        return jax.tree.map(
            lambda file, leaf: self._array(file, leaf.dtype, (*shape, *leaf.shape)), files, tree
        )

    def _array(self, file: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
        array = np.lib.format.open_memmap(file, "w+", dtype, shape)
        self.maps.append(array)
        return array

    def written(self, count: int) -> None:
        """Give the memory of what has been written back to the system, from time to time."""
        with self.lock:
            self.bytes_mapped += count
            if self.bytes_mapped < MOST_BYTES_MAPPED:
                return
            self.bytes_mapped = 0
        self.release()

    def release(self) -> None:
        """Give the memory of what has been written back to the system."""
        for array in self.maps:
            if isinstance(array.base, mmap.mmap):
                array.base.madvise(mmap.MADV_DONTNEED)


def _file(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="_") + ".npy"
