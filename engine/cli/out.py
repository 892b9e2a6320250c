"""Where words go: data and pages to standard output, everything else to standard error.

A reader that has seen enough (`| head`) must not end a campaign or change its exit code.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, TextIO

from engine.cli.words import Common


def page(text: str) -> None:
    """What the command was asked for, for people."""
    _write(sys.stdout, text)


def data(value: Any) -> None:
    """What the command was asked for, for machines: one line of JSON, UTF-8 wherever it is read."""
    line = json.dumps(value, ensure_ascii=False) + "\n"
    _write(sys.stdout, line if (sys.stdout.encoding or "").lower() == "utf-8" else json.dumps(value) + "\n")


def tell(common: Common, text: str) -> None:
    """A word to the operator beside the page. Nothing with --quiet."""
    if not common.quiet:
        _write(sys.stderr, text)


def ask(text: str) -> None:
    """A question; --quiet does not hide it."""
    _write(sys.stderr, text)


def complain(text: str) -> None:
    """What went wrong, or happens now. Always."""
    _write(sys.stderr, text)


def survive_any_terminal() -> None:
    """A character that the terminal's encoding lacks is shown as \\u6b22; it must not end a campaign."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        # Else the interpreter would stumble over what is still in the buffer when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
