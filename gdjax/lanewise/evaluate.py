"""Programs run with small arrays as separate scalars.

Over a tile of lanes each scalar becomes one vector of the tile, and all that is done to them is
elementwise: XLA makes one loop of it, where a small leading axis would cost pads, slices and
reductions between arrays of a few rows.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gdjax.lanewise.entries import Entries, entries, is_small, whole
from gdjax.lanewise.program import Atom, Known, Operation
from gdjax.lanewise.rules import RULES

Found = dict[int, Any]


def evaluate(operations: Sequence[Operation], found: Found, entrywise: bool) -> Found:
    """Return the values of one lane by number, those of these operations added.

    Args:
      operations: in the order of a program.
      found: what they need, by number: jax values, or `Entries` of small arrays.
      entrywise: whether to compute small arrays entry by entry.
    """
    found = dict(found)
    apply = _entrywise if entrywise else bound
    for operation in operations:
        outputs = apply(operation, [read(atom, found) for atom in operation.inputs])
        found |= {v.number: x for v, x in zip(operation.outputs, outputs)}
    return found


def read(atom: Atom, found: Found) -> Any:
    """Return the value of an atom."""
    return atom.value if isinstance(atom, Known) else found[atom.number]


def _entrywise(operation: Operation, inputs: list[Any]) -> Sequence[Any]:
    rule = RULES.get(operation.primitive.name)
    if rule is not None and all(map(is_small, _avals(operation))):
        split = [entries(x, atom.aval) for x, atom in zip(inputs, operation.inputs)]
        outputs = rule(operation, *split)
        if outputs is not None:
            return outputs
    return bound(operation, [whole(x) for x in inputs])


def _avals(operation: Operation) -> list[Any]:
    return [atom.aval for atom in (*operation.inputs, *operation.outputs)]


def bound(operation: Operation, inputs: list[Any]) -> Sequence[Any]:
    """Return what JAX's own primitive makes of the inputs."""
    primitive = operation.primitive
    outputs = primitive.bind(*inputs, **primitive.get_bind_params(dict(operation.params)))
    return outputs if primitive.multiple_results else [outputs]


def split_leaf(leaf: Any, entrywise: bool) -> Any:
    """Return an array, or `Entries` of one with axes that is small: jax arrays all of them."""
    if isinstance(leaf, Entries):
        split = leaf if leaf.scalars.ndim else leaf.scalars.item()
    else:
        aval = jax.typeof(leaf)
        few = entrywise and aval.shape and is_small(aval)
        split = Entries(entries(leaf, aval)) if few else leaf
    return jax.tree.map(jnp.asarray, split)
