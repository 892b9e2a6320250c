"""Named places at which a test can have this process killed as if the power had gone. In production nothing happens there.

`_XINSHI_CRASH` in the environment: "kill:record_intents committed:3" is SIGKILL at that place, the third time; "stop:" is
SIGSTOP there, as of a machine that sleeps;
"log:FILE" writes every place that is passed, a line each, so that a test knows them all.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

_VARIABLE = "_XINSHI_CRASH"
_sender: int | None = None  # whose process this one belongs to


def together_with(pid: int) -> None:
    """From now on the whole program ends or stops where this process of it passes: `pid`, which started it, too."""
    global _sender
    _sender = pid


def _nothing(place: str) -> None:
    """What production does."""


def _armed(order: str) -> Callable[[str], None]:
    what, _, rest = order.partition(":")
    if what == "log":
        return _logging(Path(rest))
    wanted, _, turn = rest.rpartition(":")
    sent = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[what]
    passed: Counter[str] = Counter()

    def passing(place: str) -> None:
        passed[place] += 1
        if place == wanted and passed[place] == int(turn):
            if _sender is not None:
                os.kill(_sender, sent)
            if _sender is None or sent == signal.SIGKILL:
                os.kill(os.getpid(), sent)
            else:
                _wait_until_it_goes_on(_sender)

    return passing


def _wait_until_it_goes_on(pid: int) -> None:
    """Stand still as long as that process does: whoever lets it go on knows only of that one."""
    stood = False
    while not stood or _stands(pid):
        stood = stood or _stands(pid)
        time.sleep(0.01)


def _stands(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except FileNotFoundError:
        return False


def _logging(file: Path) -> Callable[[str], None]:
    def passing(place: str) -> None:
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)  # in every process of this program
        os.write(handle, f"{place}\n".encode())
        os.close(handle)

    return passing


passing: Callable[[str], None] = _armed(os.environ[_VARIABLE]) if _VARIABLE in os.environ else _nothing
"""Say that a place is being passed."""
