"""Results as JSON."""

import json
import math
from typing import Any


def json_text(found: dict[str, Any]) -> str:
    """Return the result as JSON, which has no NaN and no infinity: these become null."""
    return json.dumps(_with_nulls(found), indent=2, allow_nan=False)


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_nulls(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_nulls(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
