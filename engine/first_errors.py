"""The errors that are older than the language: it raises one itself. All others, and these, are had from `errors`."""

from __future__ import annotations


class EngineError(Exception):
    """The root. Raised as one of its children only; its text is fit to be shown to the operator."""


class SettingsError(EngineError):
    """A setting is missing, unknown or impossible. The text names key, value and source, one problem a line."""
