"""A performance lab in one service."""

__version__ = "0.1.0"
