"""Ctrl-C and SIGTERM, wherever they meet a command: it ends by them without a complaint, and none is lost.

Python raises KeyboardInterrupt between any two steps. In an event loop that breaks the loop; between the opening of a file
and its first name it shows a warning; in a finaliser it is lost. So outside of a loop it is raised without the warnings, one
that was lost comes again, and a loop is only told: see loop.py.
"""

from __future__ import annotations

import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM)
_AGAIN_S = 0.001


def arm() -> None:
    """From here on Ctrl-C ends this program so. Where it is ignored, as in the background of a shell, it still is."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, raised)
    sys.unraisablehook = _come_again


def disarm() -> None:
    """What there was to do is done: Ctrl-C ends the process on its way out, where it stands."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    if signal.getsignal(signal.SIGINT) is raised:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block wherever it is, so that nothing half written stays."""
    before = {number: signal.signal(number, raised) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def raised(number: int, _frame: FrameType | None) -> NoReturn:
    """The handler where no loop runs. The next signal ends the process where it stands."""
    # What is opened and not yet held is dropped then, and closed so; that is no fault to tell the user of.
    warnings.simplefilter("ignore", ResourceWarning)
    signal.signal(number, signal.SIG_DFL)
    raise end_by(number)


def end_by(number: int) -> KeyboardInterrupt | SystemExit:
    """What ends the command that this signal came to."""
    return KeyboardInterrupt() if number == signal.SIGINT else SystemExit(128 + number)


def _come_again(lost: sys.UnraisableHookArgs) -> None:
    """Raise it a little later, where it came in the middle of what can raise nothing: a finaliser, the end of an import."""
    number = _number_of(lost.exc_value)
    if number is None:
        sys.__unraisablehook__(lost)
        return
    signal.signal(number, raised)
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)


def _number_of(lost: BaseException | None) -> int | None:
    if isinstance(lost, KeyboardInterrupt):
        return signal.SIGINT
    if isinstance(lost, SystemExit) and lost.code == 128 + signal.SIGTERM:
        return signal.SIGTERM
    return None
