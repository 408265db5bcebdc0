"""`gdjax basins`: the map of a landscape's basins."""

import argparse
from typing import Any

import numpy as np

from gdjax import checks, landscapes, plot
from gdjax.basins import Basins, fractions, map_basins
from gdjax.cli.json_text import json_text
from gdjax.cli.measures import measures, measures_table
from gdjax.cli.optimizers import optimizer_named
from gdjax.cli.picture import checked_file, write_picture
from gdjax.cli.table import point, table
from gdjax.descent import Descent, Status
from gdjax.diagnosis import Verdict
from gdjax.sweeps import Runs, grid, sweep


def basins(options: argparse.Namespace) -> None:
    """Map the basins, print the table and write the picture."""
    landscape = landscapes.get(options.name)
    optimizer = optimizer_named(options.optimizer)
    rate = landscape.learning_rate if options.learning_rate is None else options.learning_rate
    checks.positive_scalar("--learning-rate", rate)
    side = options.resolution
    picture = checked_file(options.out or f"basins-{landscape.name}.png")
    runs = sweep(
        lambda start: Descent(landscape, start, optimizer(rate), max_steps=options.steps),
        start=grid(**{name: (*bounds, side) for name, bounds in zip("xy", landscape.domain)}),
    )
    mapped = map_basins(runs)
    title = f"{landscape.name}, {options.optimizer}, learning rate {rate:g}"
    written = None
    try:
        written = write_picture(lambda: plot.basin_map(mapped), title, picture)
    finally:  # whatever becomes of the picture
        _print(options, landscape, rate, runs, _found(mapped, runs), written)


def _print(
    options: argparse.Namespace,
    landscape: landscapes.Landscape,
    rate: float,
    runs: Runs,
    found: dict[str, Any],
    picture: str | None,
) -> None:
    if options.json:
        settings = {
            "landscape": landscape.name,
            "domain": landscape.domain,
            "optimizer": options.optimizer,
            "learning_rate": rate,
            "starts": list(runs.shape),
            "max_steps": options.steps,
        }
        print(json_text(settings | found | {"picture": picture}))
        return
    domain = " x ".join(f"[{low:g}, {high:g}]" for low, high in landscape.domain)
    starts = " x ".join(map(str, runs.shape))
    print(f"{landscape.name} on {domain}: {starts} starts, {options.optimizer}({rate:g})\n")
    print(_table(found))
    print(f"\n{measures_table(found['measures'])}")
    if picture is not None:
        print(f"\npicture: {picture}")


def _found(mapped: Basins, runs: Runs) -> dict[str, Any]:
    shares = fractions(mapped.labels)
    rows = []
    for label, share, low, high in zip(*(column.tolist() for column in shares[:4])):
        row: dict[str, Any] = {"label": label, "share": share, "low": low, "high": high}
        if label >= 0:
            row["minimum"] = [float(mapped.attractors.params[name][label]) for name in "xy"]
            row["verdict"] = Verdict(int(mapped.attractors.verdict[label])).name
            row["loss"] = float(mapped.attractors.loss[label])
            row["loss_error"] = float(mapped.attractors.loss_error[label])
        here = mapped.labels == label
        row["mean_steps"] = float(runs.steps[here].mean())
        rows.append(row)
    ended = {s.name: int((runs.status == s).sum()) for s in Status if s is not Status.RUNNING}
    unstable = np.isin(mapped.attractors.verdict, [Verdict.SADDLE, Verdict.MAXIMUM])
    # What only starts on a line of symmetry lead to has no basin.
    labels = np.where(np.append(unstable, False)[mapped.labels], -1, mapped.labels)
    return {"minima": rows, "ended": ended, "measures": measures(labels)}


def _loss(row: dict[str, Any]) -> str:
    return f"{row['loss']:.4g}" if abs(row["loss"]) > row["loss_error"] else "0"


def _kind(row: dict[str, Any]) -> str:
    return "" if row["verdict"] == Verdict.MINIMUM.name else row["verdict"].lower() + " "


MOST_ROWS = 20


def _table(found: dict[str, Any]) -> str:
    rows = []
    for row in found["minima"]:
        reached = row["label"] >= 0
        rows.append(
            [
                str(row["label"]) if reached else "-",
                _kind(row) + point(row["minimum"]) if reached else "no minimum",
                _loss(row) if reached else "",
                f"{100 * row['share']:.2f}%",
                f"{100 * row['low']:.2f}-{100 * row['high']:.2f}%",
                f"{row['mean_steps']:.1f}",
            ]
        )
    header = ["label", "minimum", "loss", "share", "95% interval", "mean steps"]
    text = table(header, rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        text += f"\n... and {len(rows) - MOST_ROWS} more: --json prints all"
    ended = ", ".join(f"{count:,} {name}" for name, count in found["ended"].items() if count)
    return f"{text}\n\nended: {ended}"
