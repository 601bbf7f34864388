"""The version of the package, for every module that writes it."""

__version__ = "0.1.0"
