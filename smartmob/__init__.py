"""A performance lab in one service."""

__version__ = "1.0.0rc1"
