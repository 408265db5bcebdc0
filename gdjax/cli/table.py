"""Plain tables."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines of text, with aligned columns; numbers go to the right."""
    columns = list(zip(header, *rows))
    widths = [max(map(len, column)) for column in columns]
    to_right = [all(_is_number(cell) for cell in column[1:]) for column in columns]
    lines = [
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, to_right)
        ).rstrip()
        for row in (header, *rows)
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def point(coordinates: Sequence[float]) -> str:
    """Return a point as text, to 4 significant decimals of its largest coordinate."""
    smallest = 1e-4 * max(map(abs, coordinates))
    return "(" + ", ".join(f"{x if abs(x) > smallest else 0:.4g}" for x in coordinates) + ")"


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace("%", "").replace(",", ""))
    except ValueError:
        return False
    return True
