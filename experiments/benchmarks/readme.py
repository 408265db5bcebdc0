"""The last results, kept in the README: a section for each version of jax."""

import re
from pathlib import Path

README = Path(__file__).with_name("README.md")


def write_section(version: str, text: str) -> None:
    """Put the results under a version of jax, such as 0.12, in place of the earlier ones."""
    old = README.read_text()
    head, *rest = re.split(r"(?m)^(?=## Under jax )", old)
    sections = {match[1]: s for s in rest if (match := re.match(r"## Under jax (\S+)\n", s))}
    sections[version] = f"## Under jax {version}\n\n{text.strip()}"
    in_order = sorted(sections, key=lambda version: [int(part) for part in version.split(".")])
    README.write_text("\n\n".join([head.strip(), *(sections[v].strip() for v in in_order)]) + "\n")
