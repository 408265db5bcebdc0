"""How fast gdjax is beside its peers: `python -m experiments.benchmarks`."""
