"""`python -m experiments.benchmarks [A B ...]`: measure, compare, and fail where it is too slow."""

import argparse
import sys
from importlib import import_module

import jax

from experiments.benchmarks import machine, readme, tables
from experiments.benchmarks.comparison import Plan, Report

WORKLOADS = {
    "A": "a_himmelblau",
    "B": "b_ackley",
    "C": "c_trainability",
    "D": "d_rosenbrock",
    "E": "e_alone",
    "F": "f_digits",
    "G": "g_import",
    "H": "h_scaling",
}


def main(arguments: list[str]) -> int:
    """Run the workloads named, or all; return 1 if a bound is missed or answers differ."""
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks", description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="A B ...", help="all if left out")
    parser.add_argument("--quick", action="store_true", help="small sizes; nothing is judged")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side is timed")
    parser.add_argument("--write", action="store_true", help="into README.md; all workloads only")
    options = parser.parse_args(arguments)
    unknown = set(options.workloads) - set(WORKLOADS)
    if unknown or options.rounds < 1:
        parser.error(f"workloads are {' '.join(WORKLOADS)}, rounds at least 1")
    if options.write and (options.quick or options.workloads):
        parser.error("--write keeps whole runs only: leave out --quick and the workloads")

    plan = Plan(options.quick, options.rounds)
    texts = ["\n".join(f"- {line}" for line in machine.description())]
    print(texts[0], flush=True)
    reports: list[Report] = []
    for name in options.workloads or WORKLOADS:
        for report in import_module(f"experiments.benchmarks.{WORKLOADS[name]}").measure(plan):
            reports.append(report)
            texts.append(tables.report_text(report))
            print("\n" + texts[-1], flush=True)
    rows = [row for report in reports for row in report.rows]
    summary = tables.summary_text(rows)
    print("\n" + summary)
    if options.write:
        version = ".".join(map(str, jax.__version_info__[:2]))
        readme.write_section(version, "\n\n".join([texts[0], summary, *texts[1:]]))
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
