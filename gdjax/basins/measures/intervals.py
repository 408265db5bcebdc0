"""Intervals of shares."""

import numpy as np

CONFIDENCE = 0.95
NORMAL_95 = 1.959963984540054  # half of the normal distribution's central 95%, in its deviations


def wilson(count: np.ndarray, total: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Return the bounds of Wilson's 95% interval for each share `count / total`.

    With p = count / total and z = 1.96: (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).

    References:
      Wilson, Probable inference, the law of succession, and statistical inference, 1927.

    >>> low, high = wilson(np.array([3]), 4)
    >>> print(f"{low[0]:.4f} {high[0]:.4f}")
    0.3006 0.9544
    """
    share, square = count / total, NORMAL_95**2
    centre = (share + square / (2 * total)) / (1 + square / total)
    spread = np.sqrt(share * (1 - share) / total + square / (4 * total**2))
    half = NORMAL_95 * spread / (1 + square / total)
    # Rounding must not leave the share itself outside.
    low = np.clip(centre - half, 0, share)
    return np.where(count == 0, 0.0, low), np.clip(centre + half, share, 1)
