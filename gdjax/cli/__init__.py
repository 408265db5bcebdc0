"""The command line: `gdjax basins`, `gdjax descend`, `gdjax list`."""

from gdjax.cli.main import main as main
