"""The command ``ddref``, also ``python -m ddref``."""

from .commands import main

__all__ = ["main"]
