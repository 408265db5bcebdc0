"""Reports as Markdown, which is read in a terminal as well."""

from collections.abc import Sequence

from experiments.benchmarks.comparison import Report, Row

SUMMARY = (
    "workload",
    "against",
    "measured (min-max)",
    "at least",
    "aim",
    "verdict",
    "useful lane-steps/s",
    "useful of executed",
)


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table whose columns line up."""
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines]
    widths = [max(len(cell) for cell in column) for column in zip(header, *cells)]
    rows = [header, ["-" * width for width in widths], *cells]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        for row in rows
    )


def report_text(report: Report) -> str:
    """Return the table and the remarks of a workload."""
    parts = [table(report.header, report.lines)] if report.lines else []
    if report.notes:
        parts.append("\n".join(f"- {note}" for note in report.notes))
    if not parts:
        parts = [row.measured for row in report.rows[:1]]
    return "\n\n".join([f"### {report.title}", *parts])


def summary_text(rows: Sequence[Row]) -> str:
    """Return the summary of all workloads."""
    lines = [
        [
            row.workload,
            row.against,
            row.measured,
            row.at_least,
            row.aim,
            row.verdict,
            row.steps_per_second,
            row.useful_share,
        ]
        for row in rows
    ]
    return "### Summary\n\n" + table(SUMMARY, lines)
