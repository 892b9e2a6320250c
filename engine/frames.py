"""Values on a pipe or a socket between two processes of this program.

A frame is the length of a pickle and its checksum or 0, four bytes each, then the pickle. It is nowhere copied as a whole: a part
of a plan has megabytes.

Not through a buffer of Python's: a process that was stopped (Ctrl-Z) and continued in the middle of a buffered write wrote
bytes twice or not at all on Python 3.11, and what comes from the lists are telephone numbers. Frames on those pipes are
`checked`, should that ever happen again. What goes to the journal's writer and back is not: its sockets never had that buffer,
and a checksum would take as long as the pickle of a hundred claims.
"""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # the process that reads the list has no event loop
    from asyncio import StreamReader

_HEAD = struct.Struct(">II")


class Garbled(Exception):
    """What came is not what was sent."""


class End(Protocol):
    """An end of a pipe or a socket that blocks. Once closed it has no number any more, or one that is nobody's."""

    def fileno(self) -> int:
        """Its number."""
        ...


def packed(value: object, *, checked: bool) -> tuple[bytes, bytes]:
    """The head of a frame and the rest of it."""
    pickled = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return _HEAD.pack(len(pickled), zlib.crc32(pickled) if checked else 0), pickled


def write(end: End, value: object, *, checked: bool) -> None:
    """Write one frame. Raises BrokenPipeError where nobody reads any more."""
    left = [memoryview(part) for part in packed(value, checked=checked)]
    while left:
        written = os.writev(end.fileno(), left)
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if left:
            left[0] = left[0][written:]


def read(end: End) -> Any:
    """Wait for one frame. Raises EOFError where nobody writes any more, Garbled."""
    size, checksum = _HEAD.unpack(_exactly(end, _HEAD.size))
    return _unpacked(_exactly(end, size), checksum)


async def receive(reader: StreamReader) -> Any:
    """`read`, from a stream of an event loop."""
    size, checksum = _HEAD.unpack(await reader.readexactly(_HEAD.size))
    return _unpacked(await reader.readexactly(size), checksum)


def _exactly(end: End, size: int) -> bytearray:
    data = bytearray(size)
    left = memoryview(data)
    while left:
        came = os.readv(end.fileno(), [left])
        if not came:
            raise EOFError
        left = left[came:]
    return data


def _unpacked(pickled: bytes | bytearray, checksum: int) -> Any:
    if checksum and zlib.crc32(pickled) != checksum:
        raise Garbled
    return pickle.loads(pickled)  # noqa: S301  the other end is this program
