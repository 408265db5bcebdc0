"""What the primitives of JAX do to arrays of a tile of lanes, the lanes on the last axis.

A rule takes the operation, the number of lanes and its inputs, and returns the arrays of its
outputs, or None where it does not apply.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from gdjax.lanewise.program import Operation
from gdjax.lanewise.rules import ELEMENTWISE, REDUCTIONS

Rule = Callable[..., Sequence[Any] | None]
PARTS = 4  # that a reduction adds at a time; of many more, XLA computes the same again and again


class Tile(NamedTuple):
    """An array of a tile, [..., lanes]; any other value of a program is the same for all lanes."""

    array: Any


def has_rule(operation: Operation, varies: Sequence[bool]) -> bool:
    """Return whether a rule applies where these inputs are tiles."""
    if operation.primitive.name == "dot_general" and all(varies):
        return _is_slender(operation)
    return operation.primitive.name in RULES


def _spread(x: Any, shape: Sequence[int], lanes: int) -> Any:
    """Return a value as an array [*shape, lanes]."""
    array = x.array if isinstance(x, Tile) else jnp.asarray(x)[..., None]
    return jnp.broadcast_to(array, (*shape, lanes))


def _elementwise(operation: Operation, lanes: int, *inputs: Any) -> Sequence[Any] | None:
    shape = operation.outputs[0].aval.shape
    if any(len(a.aval.shape) not in (0, len(shape)) for a in operation.inputs):
        return None  # a bitcast to another width
    params = dict(operation.params)
    if params.get("sharding") is not None:
        params["sharding"] = None
    out = operation.primitive.bind(*(_spread(x, shape, lanes) for x in inputs), **params)
    return out if operation.primitive.multiple_results else [out]


def _barrier(operation: Operation, lanes: int, *inputs: Any) -> Sequence[Any]:
    shapes = (v.aval.shape for v in operation.outputs)
    return lax.optimization_barrier([_spread(x, s, lanes) for x, s in zip(inputs, shapes)])


def _broadcast(operation: Operation, lanes: int, x: Tile, *_: Any) -> Sequence[Any]:
    shape, axes = operation.params["shape"], operation.params["broadcast_dimensions"]
    return [lax.broadcast_in_dim(x.array, (*shape, lanes), (*axes, len(shape)))]


def _reshape(operation: Operation, lanes: int, x: Tile, *_: Any) -> Sequence[Any]:
    return [x.array.reshape(*operation.outputs[0].aval.shape, lanes)]


def _transpose(operation: Operation, _: int, x: Tile) -> Sequence[Any]:
    permutation = operation.params["permutation"]
    return [x.array.transpose(*permutation, len(permutation))]


def _rev(operation: Operation, _: int, x: Tile) -> Sequence[Any]:
    return [lax.rev(x.array, operation.params["dimensions"])]


def _slice(operation: Operation, lanes: int, x: Tile) -> Sequence[Any]:
    starts, limits, strides = (
        operation.params[name] for name in ("start_indices", "limit_indices", "strides")
    )
    return [
        lax.slice(
            x.array, (*starts, 0), (*limits, lanes), None if strides is None else (*strides, 1)
        )
    ]


def _pad(operation: Operation, _: int, x: Any, value: Any) -> Sequence[Any] | None:
    if isinstance(value, Tile):
        return None
    return [lax.pad(x.array, value, (*operation.params["padding_config"], (0, 0, 0)))]


def _joined(join: Callable[..., Any], axis: str) -> Rule:
    def rule(operation: Operation, lanes: int, *inputs: Any) -> Sequence[Any]:
        shapes = (atom.aval.shape for atom in operation.inputs)
        arrays = [_spread(x, shape, lanes) for x, shape in zip(inputs, shapes)]
        return [join(arrays, operation.params[axis])]

    return rule


def _split(operation: Operation, _: int, x: Tile) -> Sequence[Any]:
    return lax.split(x.array, operation.params["sizes"], operation.params["axis"])


def _reduction(combine: Callable[[Any, Any], Any]) -> Rule:
    def rule(operation: Operation, _: int, x: Tile) -> Sequence[Any] | None:
        (aval,) = (atom.aval for atom in operation.inputs)
        axes = tuple(operation.params["axes"])
        in_half = aval.dtype.itemsize < 4 and combine in (lax.add, lax.mul)
        if not aval.size or in_half:  # XLA reduces half precision in full
            return None
        return [_reduced(combine, x.array, axes)]

    return rule


def _reduced(combine: Callable[[Any, Any], Any], x: Any, axes: tuple[int, ...]) -> Any:
    """Return an array reduced along its axes, by elementwise operations on parts of it.

    XLA would reduce the rows of a CPU's array one number at a time.
    """
    for axis in axes:
        x = _folded(combine, [x], axis)
    # XLA would compute it anew for each entry that it is combined with.
    return lax.optimization_barrier(lax.squeeze(x, axes))


def _folded(combine: Callable[[Any, Any], Any], factors: Sequence[Any], axis: int) -> Any:
    """Return the product of arrays, reduced along an axis to length 1."""
    rest = []
    while (length := factors[0].shape[axis]) > 1:
        parts = min(PARTS, length)
        each = length // parts
        ends = [(i * each, (i + 1) * each) for i in range(parts)]
        rest += [_part(factors, i, i + 1, axis) for i in range(parts * each, length)]
        factors = [_balanced(combine, [_part(factors, *end, axis) for end in ends])]
    return _balanced(combine, [_product(factors), *rest])


def _part(factors: Sequence[Any], start: int, end: int, axis: int) -> Any:
    return _product([lax.slice_in_dim(x, start, end, axis=axis) for x in factors])


def _product(factors: Sequence[Any]) -> Any:
    return _balanced(lax.mul, factors)


def _balanced(combine: Callable[[Any, Any], Any], xs: Sequence[Any]) -> Any:
    while len(xs) > 1:
        pairs = [xs[i : i + 2] for i in range(0, len(xs), 2)]
        xs = [combine(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return xs[0]


def _dot(operation: Operation, lanes: int, x: Any, y: Any) -> Sequence[Any] | None:
    dims = _dims(operation)
    (contracted, other), (batch, other_batch) = operation.params["dimension_numbers"]
    names = "precision", "preferred_element_type"
    settings = {name: operation.params[name] for name in names}
    # One product for all lanes, of the array that they share with theirs side by side.
    if not isinstance(x, Tile):
        numbers = (contracted, other), (batch, other_batch)
        return [lax.dot_general(x, y.array, numbers, **settings)]
    if not isinstance(y, Tile):
        numbers = (other, contracted), (other_batch, batch)
        product = lax.dot_general(y, x.array, numbers, **settings)
        swapped = [*dims.batch, *dims.right, *dims.left]
        order = [swapped.index(label) for label in dims.out]
        return [product.transpose(*order, len(order))]
    return _slender_dot(operation, dims, x.array, y.array, lanes)


class _Dims(NamedTuple):
    """The dimensions of a product, each with a label: those that are paired share one."""

    x: list[int]
    y: list[int]
    contracted: list[int]
    batch: list[int]
    left: list[int]
    right: list[int]

    @property
    def out(self) -> list[int]:
        return [*self.batch, *self.left, *self.right]


def _dims(operation: Operation) -> _Dims:
    (contracted, other), (batch, other_batch) = operation.params["dimension_numbers"]
    ranks = [len(atom.aval.shape) for atom in operation.inputs]
    x, y = list(range(ranks[0])), [ranks[0] + i for i in range(ranks[1])]
    for i, j in zip((*contracted, *batch), (*other, *other_batch)):
        y[j] = i
    return _Dims(
        x,
        y,
        list(contracted),
        list(batch),
        [label for label in x if label not in (*contracted, *batch)],
        [label for label in y if label >= ranks[0]],
    )


def _is_slender(operation: Operation) -> bool:
    """Return whether a product makes no more products of entries than one of its arrays has."""
    avals = [atom.aval for atom in (*operation.inputs, *operation.outputs)]
    (contracted, _), _ = operation.params["dimension_numbers"]
    out, summed = avals[-1], prod(avals[0].shape[i] for i in contracted)
    if len({aval.dtype for aval in avals}) != 1 or out.dtype.itemsize < 4:  # half: sums in full
        return False
    return 0 < out.size * summed <= max(aval.size for aval in avals)


def _slender_dot(
    operation: Operation, dims: _Dims, x: Any, y: Any, lanes: int
) -> Sequence[Any] | None:
    if not _is_slender(operation):
        return None
    labels = [*dims.x, *dims.right] if x.size >= y.size else [*dims.y, *dims.left]
    lengths = dict(zip((*dims.x, *dims.y), (*x.shape[:-1], *y.shape[:-1])))
    shape = *(lengths[label] for label in labels), lanes
    factors = [_aligned(x, dims.x, labels, shape), _aligned(y, dims.y, labels, shape)]
    axes = tuple(labels.index(label) for label in dims.contracted)
    if axes:  # parts of the factors, so that their product need not be stored
        product = _reduced(lax.add, _folded(lax.add, factors, axes[0]), axes)
    else:
        product = _product(factors)
    kept = [label for label in labels if label not in dims.contracted]
    order = [kept.index(label) for label in dims.out]
    return [product.transpose(*order, len(order))]


def _aligned(x: Any, own: list[int], labels: list[int], shape: tuple[int, ...]) -> Any:
    """Return an array with its labelled axes among all the labels."""
    order = sorted(range(len(own)), key=lambda i: labels.index(own[i]))
    axes = *(labels.index(own[i]) for i in order), len(labels)
    return lax.broadcast_in_dim(x.transpose(*order, len(order)), shape, axes)


RULES: Mapping[str, Rule] = (
    dict.fromkeys(ELEMENTWISE, _elementwise)
    | {
        "optimization_barrier": _barrier,
        "broadcast_in_dim": _broadcast,
        "reshape": _reshape,
        "squeeze": _reshape,
        "transpose": _transpose,
        "rev": _rev,
        "slice": _slice,
        "pad": _pad,
        "concatenate": _joined(jnp.concatenate, "dimension"),
        "stack": _joined(jnp.stack, "axis"),
        "split": _split,
        "dot_general": _dot,
    }
    | {name: _reduction(combine) for name, combine in REDUCTIONS.items()}
)
