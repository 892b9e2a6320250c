"""The desk of the command line's tests."""

from __future__ import annotations

from tests.cli.conftest import desk, settings

__all__ = ["desk", "settings"]
