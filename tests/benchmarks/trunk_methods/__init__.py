"""The methods and data sets that ``tests/benchmarks/trunks.py`` compares."""
