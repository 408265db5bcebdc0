"""Products whose shared factor lies along what is summed, as libraries of products want it.

The gradient of `x @ w` sums over the rows of `x`. Such a factor, if all lanes share it, is turned
once: the products of each turn would go through it crosswise.
"""

from typing import Any

from jax import lax

from gdjax.lanewise.program import Atom, Operation, Program, Value

MOST_BYTES = 2**22  # of a factor: each thread has a copy of its own


def straight(program: Program, shared: set[int]) -> Program:
    """Return the program with the shared factors of its products turned, where they lie crosswise.

    Args:
      program: of one lane.
      shared: the numbers of the values that are the same for all lanes.
    """
    above = 1 + max(v.number for v in program.values)
    turned: dict[tuple[int, tuple[int, ...]], Value] = {}
    operations: list[Operation] = []
    for operation in program.operations:
        side = _shared_side(operation, shared)
        if side is not None:
            factor: Any = operation.inputs[side]
            contracted = operation.params["dimension_numbers"][0][side]
            order = (*(i for i in range(factor.aval.ndim) if i not in contracted), *contracted)
            if order != tuple(range(factor.aval.ndim)):
                if (factor.number, order) not in turned:
                    shape = tuple(factor.aval.shape[i] for i in order)
                    value = Value(above + len(turned), factor.aval.update(shape=shape))
                    turned[factor.number, order] = value
                    params = {"permutation": order}
                    operations.append(Operation(lax.transpose_p, params, (factor,), (value,)))
                operation = _with_factor(operation, side, turned[factor.number, order])
        operations.append(operation)
    return Program(program.inputs, tuple(operations), program.outputs)


def _shared_side(operation: Operation, shared: set[int]) -> int | None:
    """Return which factor of a product all lanes share, if it is one and the other is not."""
    if operation.primitive is not lax.dot_general_p or any(
        operation.params["dimension_numbers"][1]
    ):
        return None
    is_shared = [_is_in(atom, shared) for atom in operation.inputs]
    if sum(is_shared) != 1:
        return None
    side = is_shared.index(True)
    aval = operation.inputs[side].aval
    return side if aval.size * aval.dtype.itemsize <= MOST_BYTES else None


def _is_in(atom: Atom, numbers: set[int]) -> bool:
    return isinstance(atom, Value) and atom.number in numbers


def _with_factor(operation: Operation, side: int, factor: Value) -> Operation:
    """Return a product with this factor, which has what is summed on its last axes."""
    summed, batch = operation.params["dimension_numbers"]
    rank = factor.aval.ndim
    axes, inputs = list(summed), list(operation.inputs)
    axes[side] = tuple(range(rank - len(summed[side]), rank))
    inputs[side] = factor
    params = {**operation.params, "dimension_numbers": (tuple(axes), batch)}
    return operation._replace(params=params, inputs=tuple(inputs))
