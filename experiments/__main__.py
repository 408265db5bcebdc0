"""`python -m experiments [NAME ...]`: measure, draw, and fail where a figure does not come out."""

import argparse
import sys
from importlib import import_module

EXPERIMENTS = (
    "himmelblau_basins",
    "feigenbaum",
    "convergence_region",
    "product_of_three",
    "spurious_minima",
    "catapult",
    "edge_of_stability",
    "diabetes",
    "digits",
    "fidelity",
)


def main(arguments: list[str]) -> int:
    """Run the named experiments, or all, and return how many figures were outside."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments", description=__doc__, epilog=f"names: {', '.join(EXPERIMENTS)}"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="all if left out")
    names = parser.parse_args(arguments).names
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        parser.error(f"NAME: expected some of {', '.join(EXPERIMENTS)}, got {', '.join(unknown)}")
    outside = 0
    for name in names or EXPERIMENTS:
        experiment = import_module(f"experiments.{name}")
        print(f"{name}: {(experiment.__doc__ or name).splitlines()[0]}")
        for measured in experiment.measure():
            print(f"  {measured}")
            outside += not measured.holds
        experiment.draw()
    return outside


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
