"""Programs run for a tile of lanes at once, the lanes on the last axis of every array.

`jax.vmap` moves the axis of the lanes to the front wherever a scalar of a lane meets an array, and
then XLA transposes or computes along short rows. With the lanes last throughout, each entry of an
array is a vector of the tile.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gdjax.lanewise.abreast_rules import RULES, Tile, has_rule
from gdjax.lanewise.evaluate import Found, bound, read
from gdjax.lanewise.program import Atom, Operation, Value


def suits(operations: Sequence[Operation], shared: set[int]) -> bool:
    """Return whether operations run fast with the lanes last.

    Args:
      operations: in the order of a program.
      shared: the numbers of the values that are the same for all lanes.
    """
    shared = set(shared)
    for operation in operations:
        varies = [isinstance(a, Value) and a.number not in shared for a in operation.inputs]
        if not any(varies):
            shared |= {v.number for v in operation.outputs}
        elif not has_rule(operation, varies):
            return False
    return True


def evaluate_abreast(
    operations: Sequence[Operation], found: Found, wanted: Sequence[Atom]
) -> Found:
    """Return the wanted values of one lane, as `evaluate` does; to be run under `jax.vmap`."""
    used = {a.number for operation in operations for a in operation.inputs if isinstance(a, Value)}
    given = {number: x for number, x in found.items() if number in used}
    made = {v.number for operation in operations for v in operation.outputs}
    last = [a.number for a in wanted if isinstance(a, Value) and a.number in made]

    @jax.custom_batching.custom_vmap
    def run(*values: Any) -> list[Any]:
        return _run(operations, dict(zip(given, values)), last, 0)

    @run.def_vmap
    def _(lanes: int, varies: list[bool], *values: Any) -> tuple[list[Any], list[bool]]:
        tiles = {
            number: Tile(jnp.moveaxis(x, 0, -1)) if v else x
            for number, x, v in zip(given, values, varies)
        }
        results = _run(operations, tiles, last, lanes)
        arrays = [jnp.moveaxis(x.array, -1, 0) if isinstance(x, Tile) else x for x in results]
        return arrays, [isinstance(x, Tile) for x in results]

    return found | dict(zip(last, run(*given.values())))


def _run(operations: Sequence[Operation], found: Found, last: list[int], lanes: int) -> list[Any]:
    for operation in operations:
        outputs = _applied(operation, [read(atom, found) for atom in operation.inputs], lanes)
        found |= {v.number: x for v, x in zip(operation.outputs, outputs)}
    return [found[number] for number in last]


def _applied(operation: Operation, inputs: list[Any], lanes: int) -> Sequence[Any]:
    varies = [isinstance(x, Tile) for x in inputs]
    if not any(varies):
        return bound(operation, inputs)
    rule = RULES.get(operation.primitive.name)
    outputs = rule(operation, lanes, *inputs) if rule else None
    if outputs is None:
        arrays = [x.array if isinstance(x, Tile) else x for x in inputs]
        axes = [-1 if v else None for v in varies]
        outputs = jax.vmap(lambda *xs: bound(operation, list(xs)), axes, -1)(*arrays)
    return [Tile(x) for x in outputs]
