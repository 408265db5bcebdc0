"""`gdjax list`."""

import argparse

from gdjax import landscapes
from gdjax.cli.table import table


def list_landscapes(options: argparse.Namespace) -> None:
    """Print the landscapes with their domains, critical points and sources."""
    rows = []
    for name in landscapes.names():
        landscape = landscapes.get(name)
        domain = " x ".join(f"[{low:g}, {high:g}]" for low, high in landscape.domain)
        counts = (len(landscape.minima), len(landscape.saddles), len(landscape.maxima))
        rows.append([name, domain, *map(str, counts), landscape.source])
    print(table(["name", "domain", "minima", "saddles", "maxima", "source"], rows))
