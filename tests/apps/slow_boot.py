"""Boots no further until a test makes the file "boot"."""

from probe import app, wait_for

wait_for("boot")
__all__ = ["app"]
