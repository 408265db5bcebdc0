"""Starts scattered over a box: one dimension of the sweep, whatever the box's own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from gdjax import checks
from gdjax.sweeps.axes.axis import Axis, assembled, component_names, rows
from gdjax.sweeps.axes.box import Box, checked_box
from gdjax.sweeps.axes.concrete import check_concrete, default_float
from gdjax.trees import PyTree


@dataclass(frozen=True, eq=False)
class Samples:
    """An axis made by `uniform` or `sobol`."""

    labels: tuple[str, ...] | None
    columns: list[np.ndarray]  # one [n] for each component

    def named(self, name: str) -> Axis:
        """Return the axis for the keyword `name` of a sweep."""
        components = component_names(name, self.labels, len(self.columns))
        n = len(self.columns[0])
        coords = {name: (name, np.arange(n))}
        coords |= {c: (name, column) for c, column in zip(components, self.columns)}
        return Axis((name,), (n,), coords, self.columns, _Points(self.labels))


@dataclass(frozen=True)
class _Points:
    labels: tuple[str, ...] | None

    def __call__(self, source: PyTree, place: Sequence[Any]) -> PyTree:
        return assembled(self.labels, [rows(column, place[0]) for column in source])


def _scaled(box: Box, unit: np.ndarray) -> Samples:
    """Return points of the unit cube [n, components] scaled to the box."""
    columns = [
        (low + (high - low) * unit[:, i].astype(float)).astype(default_float())
        for i, (low, high) in enumerate(box.bounds)
    ]
    return Samples(box.labels, columns)


def uniform(key: jax.Array, box: Any, n: int) -> Samples:
    """Return an axis of `n` independent starts, uniform over a box.

    Args:
      key: a random key, `jax.random.key(0)` or `jax.random.PRNGKey(0)`.
      box: `{name: (low, high), ...}`, and the lane gets a dict of scalars, or
        `[(low, high), ...]`, and it gets an array `[len(box)]`.
      n: number of starts, at least 1.

    Returns:
      An axis for `gdjax.sweep`, one dimension named after the keyword; the components are
      coordinates along it.

    Raises:
      TypeError: the key is no random key or traced, or the box not of this form.
      ValueError: bounds are not finite or not in order, or `n` is below 1.

    >>> import gdjax, jax, optax
    >>> runs = gdjax.sweep(
    ...     lambda start: gdjax.Descent(lambda w: (w**2).sum(), start, optax.sgd(0.1)),
    ...     start=gdjax.uniform(jax.random.key(0), [(-1, 1), (-2, 2)], 100))
    >>> runs.dims, runs.shape, runs.params.shape
    (('start',), (100,), (100, 2))
    """
    key, checked = checks.typed_key("key", key), checked_box(box)
    n = checks.whole_number("n", n, least=1)
    unit = jax.random.uniform(key, (n, len(checked.bounds)))
    check_concrete("key: got a traced value, or uniform is called inside jit", unit)
    return _scaled(checked, np.asarray(unit))


def sobol(box: Any, n: int, seed: int = 0) -> Samples:
    """Return an axis of `n` starts that fill a box evenly: a scrambled Sobol' sequence.

    Args:
      box: as in `gdjax.uniform`.
      n: number of starts, at least 1; a power of 2 is the most even.
      seed: of the scrambling, which keeps starts off the box's lines of symmetry; the same seed
        gives the same starts.

    Returns:
      An axis for `gdjax.sweep`, one dimension named after the keyword.

    Raises:
      TypeError: the box is not of the form, or `n` or `seed` not a whole number.
      ValueError: bounds are not finite or not in order, or `n` is below 1.

    References:
      Sobol', On the distribution of points in a cube, 1967; Owen, Randomly permuted (t,m,s)-nets
      and (t,s)-sequences, 1995; computed by `scipy.stats.qmc.Sobol`.

    >>> import gdjax, optax
    >>> runs = gdjax.sweep(
    ...     lambda start: gdjax.Descent(lambda p: p["x"]**2, start, optax.sgd(0.1)),
    ...     start=gdjax.sobol({"x": (-1, 1)}, 8))
    >>> sorted(int(4 * x + 4) for x in runs.coords["x"])  # one in each eighth of the box
    [0, 1, 2, 3, 4, 5, 6, 7]
    """
    from scipy.stats import qmc  # slow to import, and needed here only

    checked = checked_box(box)
    n = checks.whole_number("n", n, least=1)
    seed = checks.whole_number("seed", seed, least=0)
    sequence = qmc.Sobol(len(checked.bounds), scramble=True, rng=seed)
    return _scaled(checked, sequence.random_base2((n - 1).bit_length())[:n])
