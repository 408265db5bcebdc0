"""The record that describes one test loss: its formula and what is known about it."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Domain = tuple[tuple[float, float], ...]


def points(rows: Sequence[Sequence[float]] | Points, dimension: int = 2) -> Points:
    """Pack points into a read-only array, so that no points still have a dimension.

    Args:
        rows: The points, each of ``dimension`` coordinates; may be empty.
        dimension: The number of coordinates of a point.

    Returns:
        A read-only float64 array of shape [len(rows), dimension].

    Raises:
        ValueError: The rows do not all have ``dimension`` coordinates.

    Example:
        >>> points([]).shape
        (0, 2)
        >>> points([(1.0, 1.0, 1.0)], dimension=3).shape
        (1, 3)
    """
    packed = np.array(rows, dtype=np.float64)
    if packed.size == 0:
        packed = packed.reshape(0, dimension)
    if packed.ndim != 2 or packed.shape[1] != dimension:
        raise ValueError(f"points of {dimension} coordinates expected; got shape {packed.shape}")
    packed.setflags(write=False)
    return packed


@dataclass(frozen=True, eq=False)
class Landscape:
    """A test loss with its domain and its known stationary points.

    It is compared and hashed by identity, so it can be a static argument of ``jax.jit``.

    Args:
        name: The name under which ``gdjax.landscapes.get`` finds it.
        formula: Maps a floating vector of shape [dimension] to a scalar of the same dtype.
        domain: The lowest and highest value of each coordinate.
        minima: float64 [k, dimension], known local minima; a lowest one is first.
        saddles: float64 [k, dimension], known saddle points.
        maxima: float64 [k, dimension], known local maxima.
        learning_rate: A rate for plain gradient descent in float32, as measured: see the
            landscape's own file where it does not converge from all of the domain.
        source: The paper or book that the loss comes from.
        least_dimension: The fewest coordinates the formula takes, for a loss defined for any
            number of them; None for a loss of fixed dimension.
        build: Makes this landscape in another dimension; None for a loss of fixed dimension.

    Raises:
        ValueError: A set of points is not of shape [k, dimension].

    Example:
        >>> from gdjax.landscapes import himmelblau
        >>> float(himmelblau(jnp.array([3.0, 2.0])))
        0.0
        >>> float(himmelblau({"x": 3.0, "y": 2.0}))
        0.0
        >>> himmelblau.saddles.shape
        (4, 2)
    """

    name: str
    formula: Callable[[jax.Array], jax.Array] = field(repr=False)
    domain: Domain
    minima: Points = field(repr=False)
    saddles: Points = field(repr=False)
    maxima: Points = field(repr=False)
    learning_rate: float
    source: str = field(repr=False)
    least_dimension: int | None = field(default=None, repr=False)
    build: "Callable[[int], Landscape] | None" = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Reject points whose dimension is not the domain's, before they mislead anyone."""
        for kind in ("minima", "saddles", "maxima"):
            shape = np.shape(getattr(self, kind))
            if len(shape) != 2 or shape[1] != self.dimension:
                raise ValueError(
                    f"{self.name}: {kind} must be of shape [k, {self.dimension}]; got {shape}"
                )

    @property
    def dimension(self) -> int:
        """The number of coordinates of the domain and of the listed points."""
        return len(self.domain)

    def __call__(self, params: Any) -> jax.Array:
        """Evaluate the loss.

        Args:
            params: A vector of shape [dimension], or any pytree whose leaves, raveled in tree
                order, hold that many coordinates. A loss defined for any number of coordinates
                takes any number from ``least_dimension`` up. Leaves of different dtypes promote
                as in ``jax.numpy.concatenate``; integers count as JAX's default float.

        Returns:
            The loss, a scalar of the dtype of ``params``.

        Raises:
            ValueError: The number of coordinates is wrong.

        Example:
            >>> from gdjax.landscapes import booth
            >>> booth(jnp.array([1.0, 3.0], jnp.bfloat16)).dtype
            dtype(bfloat16)
        """
        leaves = jax.tree.leaves(params)
        count = sum(np.size(leaf) for leaf in leaves)
        least = self.least_dimension
        if count < least if least is not None else count != self.dimension:
            expected = f"{self.dimension}" if least is None else f"at least {least}"
            shapes = ", ".join(str(np.shape(leaf)) for leaf in leaves)
            raise ValueError(
                f"{self.name}: got {count} coordinates (leaves of shape {shapes or 'none'}); "
                f"expected {expected}"
            )
        vector = jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])
        if not jnp.issubdtype(vector.dtype, jnp.floating):
            vector = vector.astype(float)
        return self.formula(vector)

    def in_dimension(self, dimension: int) -> "Landscape":
        """Return this landscape with the domain and the listed points of another dimension.

        Args:
            dimension: The number of coordinates wanted.

        Returns:
            The landscape in that dimension; equal arguments give the same object, so that a
            jitted function that takes it as a static argument is not compiled anew.

        Raises:
            ValueError: The loss is of fixed dimension, or not defined in so few coordinates.

        Example:
            >>> from gdjax.landscapes import rosenbrock
            >>> rosenbrock.in_dimension(3).minima.tolist()
            [[1.0, 1.0, 1.0]]
        """
        dimension = operator.index(dimension)
        if self.build is None or self.least_dimension is None:
            raise ValueError(
                f"{self.name} is of fixed dimension {self.dimension}; "
                f"it cannot be made in dimension {dimension}"
            )
        if dimension < self.least_dimension:
            raise ValueError(
                f"{self.name} is defined from dimension {self.least_dimension} up; got {dimension}"
            )
        return self.build(dimension)
