"""A port for a server that is named before it runs, or that is away for a while."""

from __future__ import annotations

import random
import socket
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_USUALLY_FROM, _LEAST = 32_768, 10_000


def free_port() -> int:
    """A port nobody listens on, and that the system gives to nobody: neither to a server that wants any, nor to a client."""
    while True:
        port = random.SystemRandom().randrange(_LEAST, _given_from())
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _given_from() -> int:
    """The first port that a program gets where it names none."""
    first = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _USUALLY_FROM
    return first if first > _LEAST + 1_000 else 65_536
