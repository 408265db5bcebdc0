"""Pytree helpers that jax and optax lack."""

import math
from collections.abc import Callable
from functools import reduce
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.custom_batching import custom_vmap
from jax.flatten_util import ravel_pytree

PyTree = Any
FEW = 16  # numbers


def max_abs(tree: PyTree) -> jax.Array:
    """Return the largest absolute entry over all leaves.

    Unlike a sum of squares it neither overflows nor underflows, in any dtype. Where an entry is
    NaN the result means nothing: XLA's maximum may drop it on a CPU.

    Args:
      tree: pytree of floating or complex arrays, not all of them empty.

    Returns:
      Real scalar, in the dtype that the leaves promote to.

    >>> print(max_abs({"w": jnp.array([1.0, -3.0]), "b": jnp.array(2.0)}))
    3.0
    """
    few, many = few_and_many(tree)
    peaks = [jnp.max(jnp.abs(leaf)) for leaf in many]
    if few := [leaf for leaf in few if jnp.size(leaf)]:
        peaks.append(_largest_of_few(few))
    widest = jnp.result_type(*peaks)
    return reduce(jnp.maximum, (peak.astype(widest) for peak in peaks))


def _largest_of_few(few: list[jax.Array]) -> jax.Array:
    """Return the largest absolute entry, NaN where one is."""
    widest = jnp.finfo(jnp.result_type(*few)).dtype
    whole = jnp.dtype(f"int{8 * widest.itemsize}")
    # Without their sign, floats are ordered as the whole numbers of the same bits are, and NaN is
    # the largest. Of whole numbers a maximum takes one instruction, of floats three.
    peaks = (jnp.max(lax.bitcast_convert_type(jnp.abs(leaf).astype(widest), whole)) for leaf in few)
    return lax.bitcast_convert_type(reduce(jnp.maximum, peaks), widest)


def euclidean(tree: PyTree) -> jax.Array:
    """Return the Euclidean norm over all leaves, where squares would not fit the dtype as well.

    Args:
      tree: pytree of floating or complex arrays, not all of them empty.

    Returns:
      Real scalar.

    >>> print(euclidean({"w": jnp.array([3e-30]), "b": jnp.array(4e-30)}))
    5e-30
    """
    largest = max_abs(tree)
    scale = jnp.where(largest > 0, largest, jnp.ones_like(largest))
    return scale * optax.tree.norm(jax.tree.map(lambda leaf: leaf / scale.astype(leaf.dtype), tree))


def inverse_length(tree: PyTree) -> tuple[jax.Array, jax.Array]:
    """Return what makes a tree one of unit length, and its length, in few divisions.

    Both are in the dtype that the leaves promote to. Where no entry is more than subnormal, the
    first is 1 and the second 0.

    >>> inverse, length = inverse_length({"w": jnp.array([3e-30]), "b": jnp.array(4e-30)})
    >>> print(length, (4e-30 * inverse).round(3))
    5e-30 0.8
    """
    largest = max_abs(tree)
    tiny = jnp.finfo(largest.dtype).tiny
    some = largest >= tiny
    scale = jnp.where(some, jnp.minimum(largest, 1 / tiny), jnp.ones_like(largest))
    inverse = 1 / scale
    length = optax.tree.norm(jax.tree.map(lambda leaf: leaf * inverse.astype(leaf.dtype), tree))
    # All entries are multiplied by it.
    inverse = computed_once(jnp.where(some, inverse / length, 1))
    return inverse, jnp.where(some, scale * length, 0)


def all_finite(tree: PyTree) -> jax.Array:
    """Return whether every entry of every leaf is finite.

    Args:
      tree: pytree of floating or complex arrays.

    Returns:
      Boolean scalar.

    >>> print(all_finite({"w": jnp.array([1.0, jnp.inf])}))
    False
    """
    few, many = few_and_many(tree)
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in many]
    if few := [leaf for leaf in few if jnp.size(leaf)]:
        finite.append(jnp.isfinite(_largest_of_few(few)))
    return reduce(jnp.logical_and, finite, jnp.ones((), bool))


def few_and_many(tree: PyTree) -> tuple[list[jax.Array], list[jax.Array]]:
    """Return the leaves of at most `FEW` numbers, and the larger ones.

    >>> few, many = few_and_many({"w": jnp.ones(100), "b": jnp.array(1.0)})
    >>> len(few), len(many)
    (1, 1)
    """
    leaves = jax.tree.leaves(tree)
    few = [leaf for leaf in leaves if jnp.size(leaf) <= FEW]
    return few, [leaf for leaf in leaves if jnp.size(leaf) > FEW]


def is_typed_key(leaf: Any) -> bool:
    """Return whether a leaf is an array of typed random keys, as of `jax.random.key`.

    >>> is_typed_key(jax.random.key(0)), is_typed_key(jax.random.PRNGKey(0))
    (True, False)
    """
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def is_floating(leaf: Any) -> bool:
    """Return whether an array is of real or complex floating numbers.

    >>> is_floating(jnp.ones(2)), is_floating(jnp.arange(2))
    (True, False)
    """
    return jnp.issubdtype(leaf.dtype, jnp.inexact)


def size(tree: PyTree) -> int:
    """Return how many numbers there are in all leaves.

    >>> size({"w": jnp.ones((2, 3)), "b": jnp.array(1.0)})
    7
    """
    return sum(jnp.size(leaf) for leaf in jax.tree.leaves(tree))


def squares(tree: PyTree) -> jax.Array:
    """Return the sum of the squared absolute entries, for which XLA has its quickest kernels.

    It may overflow or underflow: see `euclidean`. Where an entry is not finite, neither is the sum.

    Args:
      tree: pytree of floating or complex arrays.

    Returns:
      Real scalar, in float32 or wider.

    >>> print(squares({"w": jnp.array([1.0, -3.0]), "b": jnp.array(2.0)}))
    14.0
    """
    return sum((_squares(leaf) for leaf in jax.tree.leaves(tree)), jnp.zeros(()))


def _squares(leaf: jax.Array) -> jax.Array:
    vector, wide = jnp.ravel(leaf), jnp.promote_types(leaf.dtype, jnp.float32)
    return jnp.vdot(vector, vector, preferred_element_type=wide).real


def real_dtype(tree: PyTree) -> Any:
    """Return the real dtype that holds every leaf, float32 or wider.

    >>> real_dtype({"w": jnp.bfloat16(1), "z": jnp.complex64(1)}).name
    'float32'
    """
    reals = (jnp.finfo(jnp.result_type(leaf)).dtype for leaf in jax.tree.leaves(tree))
    return jnp.result_type(jnp.float32, *reals)


def inner(a: PyTree, b: PyTree) -> jax.Array:
    """Return the real inner product: the sum of the real parts of `conj(a) * b`.

    >>> print(inner({"z": jnp.array([1.0 + 2.0j])}, {"z": jnp.array([3.0 - 1.0j])}))
    1.0
    """
    products = jax.tree.leaves(jax.tree.map(_inner, a, b))
    return sum(products, jnp.zeros((), real_dtype(a)))


def _inner(a: Any, b: Any) -> jax.Array:
    wide = jnp.result_type(a, jnp.float32)
    # On accelerators the default precision of products is below that of float32.
    highest = lax.Precision.HIGHEST
    product = jnp.vdot(jnp.ravel(a), jnp.ravel(b), precision=highest, preferred_element_type=wide)
    return product.real


def is_max_at_most(tree: PyTree, bound: Any) -> jax.Array:
    """Return whether no entry's absolute value is above a bound of at least 0: see `max_abs`.

    >>> print(is_max_at_most({"w": jnp.array([1.0, -3.0])}, 3.0))
    True
    """
    if size(tree) <= FEW:
        return max_abs(tree) <= bound
    # The sum of squares is quicker than the maximum, and nearly always too large for it.
    total = squares(tree)
    limits, count = jnp.finfo(total.dtype), size(tree)
    # Rounding adds at most a factor (1 + eps)^count to a sum; below `least` squares underflow.
    margin = 2.0 * count * math.exp(min(float(count * limits.eps), 100.0))
    least = float(limits.tiny) ** 0.5
    height = jnp.maximum(jnp.asarray(bound, total.dtype), least)
    return lax.cond(
        total > margin * height * height,
        lambda: jnp.zeros((), bool),
        lambda: max_abs(tree) <= bound,
    )


@custom_vmap
def alone_or_in_lanes(alone: jax.Array, in_lanes: jax.Array) -> jax.Array:
    """Return the first of two equal values, or under `vmap` the second; the other is not computed.

    A `lax.cond`, which saves time alone, computes both of its branches under `vmap`.

    >>> print(alone_or_in_lanes(jnp.array(1), jnp.array(2)))
    1
    >>> print(jax.vmap(alone_or_in_lanes)(jnp.ones(2), 2 * jnp.ones(2)))
    [2. 2.]
    """
    return alone


@alone_or_in_lanes.def_vmap
def _in_lanes(
    lanes: int, batched: Any, alone: jax.Array, in_lanes: jax.Array
) -> tuple[jax.Array, bool]:
    return in_lanes, batched[1]


def computed_where(
    needed: jax.Array, compute: Callable[..., PyTree], args: tuple, otherwise: PyTree
) -> PyTree:
    """Return `compute(*args)` where it is needed, else `otherwise`.

    A `lax.cond` computes both of its branches under `vmap`; this does so only where any lane needs
    it. Reverse mode does not go through.

    >>> double = lambda x: computed_where(x > 2, lambda x: 2 * x, (x,), x)
    >>> print(jax.vmap(double)(jnp.array([1.0, 2.0, 3.0])))
    [1. 2. 6.]
    """

    def once(carry: tuple) -> tuple:
        # What is the same in each turn XLA would compute before the loop.
        own, _ = lax.optimization_barrier((args, carry))
        return jnp.zeros((), bool), compute(*own)

    return lax.while_loop(lambda carry: carry[0], once, (needed, otherwise))[1]


def computed_once(scalar: jax.Array) -> jax.Array:
    """Return the scalar such that all that depends on it sees one value.

    XLA computes a cheap value anew in each kernel that uses it, where the rounding may differ.

    Args:
      scalar: floating or boolean scalar.

    Returns:
      The same scalar.

    >>> print(computed_once(jnp.array(2.5)))
    2.5
    """
    if jax.__version_info__ >= (0, 12):
        return lax.optimization_barrier(scalar)
    # Before, XLA drops the barrier on a CPU before it forms kernels, but not a true reduction.
    pair = jnp.where(jnp.arange(2) == 0, scalar, jnp.zeros((), scalar.dtype))
    return jnp.any(pair) if scalar.dtype == bool else jnp.sum(pair)


def strongly_typed(tree: PyTree) -> PyTree:
    """Return the tree as arrays without weak types, so that a loop's carry keeps its type.

    Args:
      tree: pytree of arrays, random keys, and Python or numpy scalars.

    Returns:
      The same tree of jax and numpy arrays, in the dtypes that jax gives them.

    >>> strongly_typed({"rate": 0.5})["rate"].dtype
    dtype('float32')
    """
    return jax.tree.map(strongly_typed_leaf, tree)


def strongly_typed_leaf(leaf: Any) -> jax.Array | np.ndarray:
    """Return a leaf of a tree as `strongly_typed` does."""
    if isinstance(leaf, jax.Array):
        return jnp.asarray(leaf, leaf.dtype) if getattr(leaf, "weak_type", False) else leaf
    # Much cheaper than jnp.asarray, and a program takes it as well.
    array = np.asarray(leaf)
    return array.astype(jax.dtypes.canonicalize_dtype(array.dtype))


def summable(tree: PyTree) -> PyTree:
    """Return the tree in float32 or wider: in half precision, long sums would stand still.

    >>> summable({"w": jnp.bfloat16(1)})["w"].dtype
    dtype('float32')
    """
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.promote_types(jnp.result_type(leaf), jnp.float32)), tree
    )


def coarsest_eps(tree: PyTree) -> float:
    """Return the largest machine epsilon among the leaves' dtypes.

    Args:
      tree: pytree of floating or complex arrays.

    Returns:
      The epsilon, as a Python float: it is known while tracing.

    >>> coarsest_eps({"w": jnp.float16(1), "b": jnp.float32(1)})
    0.0009765625
    """
    return max(float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(tree))


def real_columns(tree: PyTree) -> np.ndarray:
    """Return a tree of numpy arrays [rows, ...] as float64 [rows, columns], as `real_vector` would.

    >>> real_columns({"w": np.ones((2, 3)), "z": np.array([1.0 + 2.0j, 3.0])}).shape
    (2, 5)
    """
    columns = []
    for leaf in jax.tree.leaves(tree):
        rows = leaf.reshape(len(leaf), prod(leaf.shape[1:]))
        columns += [rows.real, rows.imag] if np.iscomplexobj(rows) else [rows]
    return np.concatenate(columns, axis=1).astype(float)


def in_double(tree: PyTree) -> PyTree:
    """Return the tree in double precision, for use where `jax_enable_x64` is on."""
    return jax.tree.map(
        lambda leaf: jnp.asarray(leaf, complex if jnp.iscomplexobj(leaf) else float), tree
    )


def real_vector(tree: PyTree) -> tuple[jax.Array, Callable[[jax.Array], PyTree]]:
    """Return the tree as one real vector, and the way back; complex entries become two.

    Args:
      tree: pytree of floating or complex arrays.

    Returns:
      The vector, and the function from such a vector to a tree of the same dtypes.

    >>> vector, back = real_vector({"w": jnp.array([1.0, 2.0]), "z": jnp.array(3.0 + 4.0j)})
    >>> vector.tolist(), back(vector)["z"].item()
    ([1.0, 2.0, 3.0, 4.0], (3+4j))
    """
    leaves, structure = jax.tree.flatten(tree)
    is_complex = [jnp.iscomplexobj(leaf) for leaf in leaves]
    parts = [(x.real, x.imag) if c else (x,) for x, c in zip(leaves, is_complex)]
    vector, back = ravel_pytree(parts)

    def unravel(vector: jax.Array) -> PyTree:
        joined = [lax.complex(*p) if c else p[0] for p, c in zip(back(vector), is_complex)]
        return jax.tree.unflatten(structure, joined)

    return vector, unravel
