"""Named places at which a test can have this process killed as if the power had gone. In production nothing happens there.

`_XINSHI_CRASH` in the environment: "kill:record_intents committed:3" is SIGKILL at that place, the third time; "stop:" is
SIGSTOP there, as of a machine that sleeps;
"log:FILE" writes every place that is passed, a line each, so that a test knows them all.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path

_VARIABLE = "_XINSHI_CRASH"


def _nothing(place: str) -> None:
    """What production does."""


def _armed(order: str) -> Callable[[str], None]:
    what, _, rest = order.partition(":")
    if what == "log":
        return _logging(Path(rest))
    wanted, _, time = rest.rpartition(":")
    sent = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[what]
    passed: Counter[str] = Counter()

    def passing(place: str) -> None:
        passed[place] += 1
        if place == wanted and passed[place] == int(time):
            os.kill(os.getpid(), sent)

    return passing


def _logging(file: Path) -> Callable[[str], None]:
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def passing(place: str) -> None:
        os.write(handle, f"{place}\n".encode())

    return passing


passing: Callable[[str], None] = _armed(os.environ[_VARIABLE]) if _VARIABLE in os.environ else _nothing
"""Say that a place is being passed."""
