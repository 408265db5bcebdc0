"""What batches are that stay outside the compiled program."""

from collections.abc import Iterator
from typing import Any

import jax

from gdjax import checks
from gdjax.trees import PyTree

READ_OUTSIDE = (
    "batches: those of gdjax.batches.host and stream are read between compiled steps, which "
    "gdjax.run, init and step do outside jit, vmap and sweeps; there take gdjax.batches.mini"
)


AT_ONCE = (
    "batches: this looks at all examples at once, and those of gdjax.batches.host and stream are "
    "read batch by batch; give it a gdjax.batches.full of some of them"
)


class HostBatches:
    """The batches of a descent, made by `host` or `stream`, read between its compiled steps."""

    def following(self, key: jax.Array | None, step: int) -> Iterator[PyTree]:
        """Return the batches of this step and of those after it, read one by one."""
        raise NotImplementedError

    @property
    def whole(self) -> PyTree:
        """There is no batch of all examples."""
        raise TypeError(AT_ONCE)

    def at(self, key: jax.Array | None, step: Any) -> PyTree:
        """Return the batch of a step, which is not possible inside a compiled program."""
        if not checks.is_concrete(step):
            raise TypeError(READ_OUTSIDE)
        return next(self.following(key, checks.whole_number("step", step, least=0)))
