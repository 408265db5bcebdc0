"""How long a tile bears its dead."""

import numpy as np

from gdjax.sweeps.block import Rounds
from gdjax.sweeps.turns import MOST_TURNS

REPACKING = 1e-6  # seconds a lane, where its state is a few numbers
CALLING = 5e-4  # seconds that a block takes beside its turns
LEAST, MOST = 4.0, 1024.0  # turns
ENDLESS = 2**30  # more turns of the dead than a tile can make in a round


class Patience:
    """When to leave a tile, learned from what a turn was seen to cost.

    Leaving costs about as much as it saves, so that neither is ever much more than the other.
    """

    def __init__(self) -> None:
        """Begin with what suits a loss of a few numbers."""
        self.turn = 1e-9  # seconds a lane

    def learn(self, seconds: float, executed: int) -> None:
        """Take into account how long a block took, unless that was hardly for its turns."""
        if seconds > 4 * CALLING and executed:
            self.turn = seconds / executed

    def rounds(self, waiting_tiles: int | None, alone: bool) -> Rounds:
        """Return how long the tiles of a block go on.

        Args:
          waiting_tiles: of lanes that go on; None of fresh ones.
          alone: whether its living would only come back to the same tile.
        """
        grace = CALLING / self.turn / waiting_tiles if waiting_tiles else 0.0
        patience = min(max(REPACKING / self.turn, LEAST), MOST)
        return Rounds(
            np.int32(MOST_TURNS),
            np.int32(ENDLESS if alone else min(grace, ENDLESS)),
            np.int32(patience),
        )
