"""The measures of a map of basins, as numbers and as a table."""

from typing import Any

import numpy as np

from gdjax.basins import basin_entropy, boundary_dimension, uncertainty_exponent, wada
from gdjax.basins.measures.intervals import NORMAL_95
from gdjax.cli.table import table

BOX = 5  # starts, as Daza et al. (2016) take it in two dimensions


def measures(labels: np.ndarray) -> dict[str, Any]:
    """Return what is known of the borders on a map; no entropies where it is below 5 starts."""
    found: dict[str, Any] = {}
    if min(labels.shape) >= BOX:
        entropy = basin_entropy(labels, BOX)
        found["basin_entropy"] = _with_interval(entropy.total, entropy.total_error)
        found["boundary_entropy"] = {
            **_with_interval(entropy.boundary, entropy.boundary_error),
            "proves_fractal": bool(entropy.proves_fractal),
        }
    for measure in (uncertainty_exponent, boundary_dimension):
        exponent = measure(labels)
        numbers = {name: float(getattr(exponent, name)) for name in ("value", "low", "high")}
        found[measure.__name__] = {**numbers, "is_good": bool(exponent.fit.is_good)}
    shared = wada(labels)
    found["wada"] = {"value": shared.value, "radius": shared.radius, "is_wada": shared.is_wada}
    return found


def measures_table(found: dict[str, Any]) -> str:
    """Return the measures as a table with their verdicts."""
    rows = []
    for name, row in found.items():
        interval = f"{row['low']:.3f} to {row['high']:.3f}" if "low" in row else ""
        known = np.isfinite(row["value"])
        rows.append(
            [
                name.replace("_", " "),
                f"{row['value']:.3f}" if known else "-",
                interval if known else "",
                _verdict(row) if known else "no boundary, or too small a map",
            ]
        )
    return table(["measure", "value", "95% interval", "verdict"], rows)


def _verdict(row: dict[str, Any]) -> str:
    if "proves_fractal" in row:
        return "above ln 2: fractal" if row["proves_fractal"] else "not above ln 2: no proof"
    if "is_good" in row:
        return "a power law" if row["is_good"] else "no power law, or too small a map"
    if "is_wada" in row:
        return "one boundary for all basins" if row["is_wada"] else "not one boundary for all"
    return ""


def _with_interval(value: float, error: float) -> dict[str, float]:
    half = NORMAL_95 * error
    return {"value": value, "low": value - half, "high": value + half}
