"""How long a tile bears its dead."""

from gdjax.sweeps.block import Rounds
from gdjax.sweeps.turns import MOST_TURNS

REPACKING = 4e-6  # seconds a lane, with its share of a call
CALLING = 1e-3  # seconds that a block takes beside its turns
LEAST, MOST = 4.0, 8192.0  # turns
TURNS_A_LANE = 20  # at least, mostly
MOST_TILES = 8  # that are always worth a call: some of their lanes go on for far longer
ENDLESS = 2**30  # more turns of the dead than a tile can make in a round


class Patience:
    """When to leave a tile, learned from what a turn was seen to cost.

    Leaving costs about as much as it saves, so that neither is ever much more than the other.
    """

    def __init__(self, tile: int, turn: float) -> None:
        """Take the lanes of a tile, and what a turn of one takes in seconds, roughly."""
        self.turns = min(MOST_TURNS, ENDLESS // tile)
        self.tile, self.turn, self.learned = tile, turn, False

    def learn(self, seconds: float, executed: int) -> None:
        """Take into account how long a block took, unless that was hardly for its turns."""
        if seconds > CALLING and executed:
            seen = seconds / executed
            # What else runs on the machine only makes it longer.
            self.turn, self.learned = min(self.turn, seen) if self.learned else seen, True

    @property
    def worth(self) -> int:
        """The fewest tiles of lanes that wait which are worth a call."""
        return min(max(int(CALLING / (self.turn * self.tile * TURNS_A_LANE)), 1), MOST_TILES)

    def rounds(self, one_more: bool, endless: bool) -> Rounds:
        """Return how long the tiles of a block go on.

        Args:
          one_more: whether lanes that are left would cost a call that is not due anyway.
          endless: whether the living of a tile would only come back to the same tile.
        """
        grace = ENDLESS if endless else CALLING / self.turn if one_more else 0
        patience = min(max(REPACKING / self.turn, LEAST), MOST)
        return Rounds(self.turns, int(min(grace, ENDLESS)), int(patience))
