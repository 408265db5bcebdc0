"""Which colour each basin gets."""

from collections import Counter

import numpy as np

from gdjax.plot.palette import DISTINCT, MUTED, NEUTRAL


def largest(sizes: np.ndarray) -> np.ndarray:
    """Return the labels, sorted, of the largest basins: as many as there are distinct colours.

    >>> largest(np.array([5, 0, 7])).tolist()  # no start leads to minimum 1
    [0, 2]
    """
    by_size = np.argsort(-sizes, kind="stable")[: len(DISTINCT)]
    return np.sort(by_size[sizes[by_size] > 0])


def fixed_colour(label: int) -> str:
    """Return the colour of a label that is the same in all pictures, whatever else is in them."""
    if label < 0:
        return NEUTRAL
    return DISTINCT[label] if label < len(DISTINCT) else MUTED[label % len(MUTED)]


def label_colours(labels: np.ndarray, sizes: np.ndarray) -> list[str]:
    """Return a colour for each label from 0 up.

    The largest basins have a colour of their own. The others share the muted ones, so that, as
    far as these suffice, neighbours differ.

    Args:
      labels: integer array, [starts] or [columns, rows]; -1 where there is none.
      sizes: int [minima] how often each label occurs.

    Returns:
      Colours as "#RRGGBB", one for each minimum.
    """
    own: dict[int, str] = dict(zip(largest(sizes).tolist(), DISTINCT))
    others = [label for label in range(len(sizes)) if label not in own]
    beside = _neighbours(labels, others) if labels.ndim == 2 else {}
    used: Counter[str] = Counter()
    colours = dict(own)
    for label in others:
        taken = Counter(colours.get(neighbour) for neighbour in beside.get(label, ()))
        colours[label] = min(MUTED, key=lambda c, taken=taken: (taken[c], used[c]))
        used[colours[label]] += 1
    return [colours[label] for label in range(len(sizes))]


def _neighbours(labels: np.ndarray, among: list[int]) -> dict[int, list[int]]:
    """Return, of these labels, which touch which along an edge or at a corner."""
    chosen = np.isin(labels, among)
    pairs = []
    for one, other in (
        (np.s_[1:, :], np.s_[:-1, :]),
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:, 1:], np.s_[:-1, :-1]),
        (np.s_[1:, :-1], np.s_[:-1, 1:]),
    ):
        touch = (labels[one] != labels[other]) & chosen[one] & chosen[other]
        pairs.append(np.stack([labels[one][touch], labels[other][touch]], axis=1))
    touching: dict[int, list[int]] = {}
    for one, other in np.unique(np.concatenate(pairs), axis=0).tolist():
        touching.setdefault(one, []).append(other)
        touching.setdefault(other, []).append(one)
    return touching
