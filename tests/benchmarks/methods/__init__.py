"""The methods and data sets that ``trunks.py`` and ``rivals.py`` compare."""
