"""Answers that somebody types. Byte by byte: what a buffer takes along of the next answer, nobody would see again."""

from __future__ import annotations

import os
import sys

YES = ("y", "yes", "是")


def read_line() -> str:
    """The next line of the terminal, without its end; "" at the end of the input. Waits for it."""
    typed = bytearray()
    while (sign := os.read(sys.stdin.fileno(), 1)) not in (b"", b"\n"):
        typed += sign
    return typed.decode(sys.stdin.encoding or "utf-8", "replace")
