"""What the primitives of JAX do to small arrays, entry by entry.

A rule takes the operation and the entries of its inputs, and returns its outputs, or None where it
does not apply; JAX's own primitive is then applied to whole arrays.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np
from jax import lax

from gdjax.lanewise.entries import Entries
from gdjax.lanewise.program import Operation

Rule = Callable[..., Sequence[Any] | None]

ELEMENTWISE = frozenset(
    """
    abs acos acosh add add_any and asin asinh atan atan2 atanh bitcast_convert_type cbrt ceil
    clamp conj copy
    copy_p convert_element_type cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1
    floor ge gt igamma imag integer_pow is_finite le lgamma log log1p logistic lt max min
    mul ne neg nextafter not one_minus_square or polygamma population_count pow real
    real_part reduce_precision rem round rsqrt select_n shift_left shift_right_arithmetic
    shift_right_logical sign sin sinh sqrt square stop_gradient sub tan tanh xor
    """.split()  # noqa: SIM905
)
REDUCTIONS = {
    "reduce_sum": lax.add,
    "reduce_prod": lax.mul,
    "reduce_max": lax.max,
    "reduce_min": lax.min,
    "reduce_and": lax.bitwise_and,
    "reduce_or": lax.bitwise_or,
}


def _elementwise(operation: Operation, *inputs: np.ndarray) -> Sequence[Any] | None:
    shape = operation.outputs[0].aval.shape
    if any(len(shape) != x.ndim for x in inputs if x.ndim):  # a bitcast to another width
        return None
    params = dict(operation.params)
    if params.get("sharding") is not None:
        params["sharding"] = None
    # JAX lets a scalar, or an axis of length 1, stand for equal entries.
    inputs = tuple(np.broadcast_to(x, shape) for x in inputs)
    outputs = [np.empty(shape, object) for _ in operation.outputs]
    for index in np.ndindex(shape):
        result = _bind(operation.primitive, [x[index] for x in inputs], params)
        for output, scalar in zip(outputs, result):
            output[index] = scalar
    return [Entries(output) for output in outputs]


def _bind(primitive: Any, scalars: list[Any], params: dict[str, Any]) -> Sequence[Any]:
    if primitive.name == "add_any":  # cotangents: many are the zeros around a slice
        nonzero = [s for s in scalars if not _is_zero(s)]
        if len(nonzero) == 1:
            return nonzero
    out = primitive.bind(*scalars, **params)
    return out if primitive.multiple_results else [out]


def _is_zero(scalar: Any) -> bool:
    return isinstance(scalar, (np.ndarray, np.generic, float, int)) and not np.any(scalar)


def _barrier(operation: Operation, *inputs: np.ndarray) -> Sequence[Any]:
    scalars = lax.optimization_barrier([s for x in inputs for s in x.ravel()])
    ends = np.cumsum([x.size for x in inputs])[:-1]
    row = Entries.tree_unflatten((len(scalars),), scalars).scalars
    return [_entries(part, x.shape) for part, x in zip(np.split(row, ends), inputs)]


def _entries(scalars: np.ndarray, shape: Any) -> Entries:
    return Entries(scalars.reshape(shape))


def _rearranged(rearrange: Callable[..., np.ndarray]) -> Rule:
    return lambda operation, *inputs: [
        _entries(rearrange(*inputs, **operation.params), operation.outputs[0].aval.shape)
    ]


def _broadcast(x: np.ndarray, *, shape: Any, broadcast_dimensions: Any, **_: Any) -> np.ndarray:
    aligned = np.ones(len(shape), int)
    aligned[list(broadcast_dimensions)] = x.shape
    return np.broadcast_to(x.reshape(aligned), shape).copy()


def _sliced(
    x: np.ndarray, *, start_indices: Any, limit_indices: Any, strides: Any, **_: Any
) -> np.ndarray:
    steps = strides or [1] * x.ndim
    return x[tuple(map(slice, start_indices, limit_indices, steps))]


def _padded(x: np.ndarray, value: np.ndarray, *, padding_config: Any, **_: Any) -> np.ndarray:
    for axis, (low, high, interior) in enumerate(padding_config):
        x = np.moveaxis(x, axis, 0)
        spread = _filled((max(0, len(x) * (interior + 1) - interior), *x.shape[1:]), value)
        spread[:: interior + 1] = x
        ends = [_filled((max(0, n), *x.shape[1:]), value) for n in (low, high)]
        kept = spread[max(0, -low) : len(spread) - max(0, -high)]
        x = np.moveaxis(np.concatenate([ends[0], kept, ends[1]]), 0, axis)
    return x


def _filled(shape: tuple[int, ...], value: np.ndarray) -> np.ndarray:
    out = np.empty(shape, object)
    for index in np.ndindex(shape):
        out[index] = value.item()
    return out


def _reduction(combine: Callable[[Any, Any], Any]) -> Rule:
    def rule(operation: Operation, x: np.ndarray) -> Sequence[Any]:
        axes = operation.params["axes"]
        shape = operation.outputs[0].aval.shape
        rows = np.moveaxis(x, axes, range(len(axes))).reshape(-1, *shape)
        out = np.empty(shape, object)
        for index in np.ndindex(shape):
            out[index] = reduce(combine, [row[index] if shape else row for row in rows])
        return [Entries(out)]

    return rule


def _dot(operation: Operation, x: np.ndarray, y: np.ndarray) -> Sequence[Any] | None:
    (contracted, other), (batch, other_batch) = operation.params["dimension_numbers"]
    (out,) = operation.outputs
    dtypes = {atom.aval.dtype for atom in (*operation.inputs, out)}
    if (
        batch or other_batch or len(dtypes) != 1 or out.aval.dtype.itemsize < 4
    ):  # half: sums in full
        return None
    length = int(np.prod([x.shape[i] for i in contracted], dtype=int))
    if length == 0:
        return None
    rows = np.moveaxis(x, contracted, range(-len(contracted), 0)).reshape(-1, length)
    columns = np.moveaxis(y, other, range(-len(other), 0)).reshape(-1, length)
    products = np.empty((len(rows), len(columns)), object)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            products[i, j] = reduce(lax.add, [lax.mul(a, b) for a, b in zip(row, column)])
    return [_entries(products, out.aval.shape)]


def _iota(operation: Operation) -> Sequence[Any]:
    params, aval = operation.params, operation.outputs[0].aval
    along = np.indices(aval.shape)[params["dimension"]].astype(aval.dtype)
    out = np.empty(aval.shape, object)
    for index in np.ndindex(aval.shape):
        out[index] = along[index]
    return [Entries(out)]


def _split(operation: Operation, x: np.ndarray) -> Sequence[Any]:
    ends = np.cumsum(operation.params["sizes"])[:-1]
    return [Entries(part) for part in np.split(x, ends, axis=operation.params["axis"])]


RULES: Mapping[str, Rule] = (
    dict.fromkeys(ELEMENTWISE, _elementwise)
    | {
        "optimization_barrier": _barrier,
        "broadcast_in_dim": _rearranged(_broadcast),
        "reshape": _rearranged(lambda x, **_: x),
        "squeeze": _rearranged(lambda x, **_: x),
        "transpose": _rearranged(lambda x, *, permutation, **_: x.transpose(permutation)),
        "rev": _rearranged(lambda x, *, dimensions, **_: np.flip(x, dimensions)),
        "slice": _rearranged(_sliced),
        "concatenate": _rearranged(lambda *xs, dimension, **_: np.concatenate(xs, dimension)),
        "stack": _rearranged(lambda *xs, axis, **_: np.stack(xs, axis)),
        "pad": _rearranged(_padded),
        "iota": _iota,
        "split": _split,
        "dot_general": _dot,
    }
    | {name: _reduction(combine) for name, combine in REDUCTIONS.items()}
)
