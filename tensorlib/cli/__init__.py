"""The command line, ``python -m tensorlib``."""
