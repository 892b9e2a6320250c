"""The command line. A command turns its words into one call and the result into a page; no rules live here."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """The entry of `xinshi`."""
    gc.set_threshold(500_000, 20, 100)  # loading makes no garbage; looking for some took a tenth of its time
    from engine.cli.app import answer
    from engine.cli.out import survive_any_terminal

    survive_any_terminal()
    sys.exit(answer(sys.argv[1:]))
