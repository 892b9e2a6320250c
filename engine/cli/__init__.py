"""The command line. A command turns its words into one call and the result into a page; no rules live here."""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """The entry of `xinshi`."""
    gc.set_threshold(500_000, 20, 100)  # loading makes no garbage; looking for some took a tenth of its time
    from engine import interrupts

    interrupts.arm()
    try:
        from engine.cli.app import answer
        from engine.cli.out import survive_any_terminal

        survive_any_terminal()
        code = answer(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    interrupts.disarm()
    sys.exit(code)
