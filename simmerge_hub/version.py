"""The version of the package: what it is called in requests, on cards and by `--version`."""

__version__ = "0.1.0"
