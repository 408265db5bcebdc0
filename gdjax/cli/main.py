"""The commands and their arguments."""

import argparse
import sys
import traceback
from collections.abc import Sequence

from gdjax.cli.basins import basins
from gdjax.cli.descend import descend
from gdjax.cli.listing import list_landscapes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
      arguments: the words after `gdjax`; those of the process if left out.

    Returns:
      The exit status: 0, or 2 where the arguments cannot be used.
    """
    words = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(list(map(_no_option_if_number, words)))
    try:
        options.command(options)
    except (ValueError, TypeError, ImportError, OSError) as error:
        if not _is_own(error):
            raise
        print(f"gdjax: {error}", file=sys.stderr)
        return 2
    return 0


def _no_option_if_number(word: str) -> str:
    """Return `-1e-3` with a space in front, without which argparse takes it for an option."""
    try:
        float(word)
    except ValueError:
        return word
    return f" {word}"


def _is_own(error: BaseException) -> bool:
    """Return whether gdjax raised the error, and no other code called it, JAX apart."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    packages = [frame.f_globals.get("__name__", "").partition(".")[0] for frame in frames]
    return packages[-1] == "gdjax" and set(packages) <= {"gdjax", "jax"}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gdjax", description="Run gradient descents compiled, and see where each one ends."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("basins", help="map the basins of a landscape's minima")
    command.set_defaults(command=basins)
    command.add_argument("name", metavar="NAME", help="a landscape, see `gdjax list`")
    command.add_argument("--resolution", type=int, default=400, help="starts a side, default 400")
    _add_common(command)

    command = commands.add_parser("descend", help="run one descent and draw its way")
    command.set_defaults(command=descend)
    command.add_argument(
        "loss", metavar="NAME|package.module:loss", help="a landscape or a function of your own"
    )
    command.add_argument(
        "--start",
        type=float,
        nargs="+",
        required=True,
        help="where it starts; one number is a scalar, several are a vector",
    )
    _add_common(command)

    command = commands.add_parser("list", help="list the landscapes")
    command.set_defaults(command=list_landscapes)
    return parser


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--learning-rate", type=float, help="default: the landscape's own, or 0.01"
    )
    command.add_argument("--optimizer", default="sgd", help="a name in optax, default sgd")
    command.add_argument("--steps", type=int, default=10_000, help="at most, default 10000")
    command.add_argument("--out", metavar="FILE", help="the picture's file")
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
