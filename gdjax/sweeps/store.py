"""Arrays on disk, for results that are larger than memory."""

import mmap
import re
from os import PathLike
from pathlib import Path
from threading import Lock

import jax
import numpy as np

from gdjax.trees import PyTree

MOST_BYTES_MAPPED = 2**24  # that were written and may still take up memory


class Store:
    """A directory of `.npy` files, one for each leaf, named after its path.

    What no name of a file may hold is "-" there, and of the same names the later are numbered.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """Take the directory, which is made where it is missing."""
        if not isinstance(path, str | PathLike):
            raise TypeError(f"store: expected the path of a directory, got {path!r}")
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise NotADirectoryError(f"store: expected a directory, got the file {self.path}")
        self.maps: list[np.memmap] = []
        self.bytes_mapped = 0
        self.lock = Lock()

    def arrays(self, tree: PyTree, shape: tuple[int, ...]) -> PyTree:
        """Return an array [*shape, ...] for each of these leaves, mapped from new files.

        Raises:
          FileExistsError: one of the files is there already.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
        names = _all_different([_name(path) for path, _ in leaves])
        files = [self.path / f"{name}.npy" for name in names]
        for file in files:
            if file.exists():
                raise FileExistsError(f"store: {file} exists already; choose another directory")
        arrays = [
            self._array(file, leaf.dtype, (*shape, *leaf.shape))
            for file, (_, leaf) in zip(files, leaves)
        ]
        return jax.tree.unflatten(structure, arrays)

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


def _name(path: tuple) -> str:
    """Return the path of a leaf as part of a file's name, whatever its keys."""
    name = jax.tree_util.keystr(path, simple=True, separator="_")
    return re.sub(r"[^\w.+-]", "-", name)


def _all_different(names: list[str]) -> list[str]:
    """Return names with a number after those that another leaf has as well.

    Some file systems take names for the same that differ in case only.
    """
    taken = {name.casefold() for name in names}
    seen: set[str] = set()
    found = []
    for name in names:
        chosen, number = name, 2
        while chosen.casefold() in seen or (chosen != name and chosen.casefold() in taken):
            chosen, number = f"{name}_{number}", number + 1
        seen.add(chosen.casefold())
        found.append(chosen)
    return found
