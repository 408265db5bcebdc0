"""What was measured on, and with which versions."""

import os
import platform
import re
import subprocess
from datetime import date
from pathlib import Path

from experiments.benchmarks.optional import version_of

PACKAGES = ("jax", "jaxlib", "optax", "gdjax", "jaxopt", "optimistix", "torch", "scikit-learn")


def description() -> list[str]:
    """Return a few lines: date, machine, and versions."""
    versions = ", ".join(f"{name} {version_of(name)}" for name in PACKAGES)
    return [
        f"{date.today()}, {_processor()}, {os.cpu_count()} cores, {platform.system()}",
        f"Python {platform.python_version()}, {versions}, {_compiler()}",
    ]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _compiler() -> str:
    try:
        done = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "no C compiler"
    return done.stdout.splitlines()[0]
