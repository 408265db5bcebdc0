"""Published results, measured again with gdjax: `python -m experiments`."""
