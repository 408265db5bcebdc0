"""Which examples an update sees: all of them, a mini-batch, or one.

The three kinds of gradient descent differ in nothing else. `Descent(batches=...)` takes what
`full`, `mini` or `stochastic` returns, or, for data larger than memory, `host` or `stream`, and
calls the loss with the batch as its last argument.
"""

from typing import TYPE_CHECKING

from gdjax.batches.kinds import full, mini, stochastic
from gdjax.batches.outside import HostBatches
from gdjax.batches.plan import Order, Weighted
from gdjax.batches.sampled import Batches
from gdjax.lazily import lazily

if TYPE_CHECKING:
    from gdjax.batches.hosted import host, stream

__all__ = [
    "Batches",
    "HostBatches",
    "Order",
    "Weighted",
    "full",
    "host",
    "mini",
    "stochastic",
    "stream",
]

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(("host", "stream"), "hosted"), __all__)
