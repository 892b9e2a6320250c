"""Frames between two processes: what is read is what was written, or an error."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import threading
from collections.abc import Callable

import pytest

from engine import frames

VALUE = ("甲", [1, 2, 3], {"文": b"\x00\xff"})
LARGE = [b"".join(place.to_bytes(4, "big") for place in range(at, at + 500_000)) for at in range(2)]
"""More than a pipe and a socket hold, and not the same in two places."""

Ends = tuple[frames.End, frames.End]


def a_pipe() -> Ends:
    source, target = os.pipe()
    return open(source, "rb", buffering=0), open(target, "wb", buffering=0)


def a_socket() -> Ends:
    return socket.socketpair()


def close(*ends: frames.End) -> None:
    for end in ends:
        assert isinstance(end, socket.socket | io.FileIO)
        end.close()


@pytest.mark.parametrize("checked", [True, False])
@pytest.mark.parametrize("ends", [a_pipe, a_socket])
def test_values_of_any_size_come_as_they_were_in_their_order(ends: Callable[[], Ends], *, checked: bool) -> None:
    source, target = ends()
    values = [VALUE, LARGE, None, VALUE]
    writing = threading.Thread(target=lambda: [frames.write(target, value, checked=checked) for value in values])
    writing.start()
    assert [frames.read(source) for _ in values] == values
    writing.join()
    close(source, target)


async def test_an_event_loop_reads_them_too() -> None:
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    writing = asyncio.create_task(asyncio.to_thread(frames.write, theirs, LARGE, checked=False))
    assert await frames.receive(reader) == LARGE
    await writing
    writer.writelines(frames.packed(VALUE, checked=True))
    assert await asyncio.to_thread(frames.read, theirs) == VALUE
    writer.close()
    theirs.close()


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 9, -1])
async def test_a_frame_that_ends_too_early_is_the_end(kept: int) -> None:
    cut = b"".join(frames.packed(VALUE, checked=True))[:kept]
    source, target = socket.socketpair()
    target.sendall(cut)
    target.close()
    with pytest.raises(EOFError):
        frames.read(source)
    source.close()
    reader = asyncio.StreamReader()
    reader.feed_data(cut)
    reader.feed_eof()
    with pytest.raises(EOFError):
        await frames.receive(reader)


async def test_no_changed_byte_is_read() -> None:
    head, pickled = frames.packed(VALUE, checked=True)
    for at in range(4, len(head) + len(pickled)):
        frame = bytearray(head + pickled)
        frame[at] ^= 1
        source, target = socket.socketpair()
        target.sendall(frame)
        with pytest.raises(frames.Garbled):
            frames.read(source)
        close(source, target)
        reader = asyncio.StreamReader()
        reader.feed_data(bytes(frame))
        with pytest.raises(frames.Garbled):
            await frames.receive(reader)


def test_nobody_there_is_a_broken_pipe() -> None:
    source, target = a_pipe()
    close(source)
    with pytest.raises(BrokenPipeError):
        frames.write(target, VALUE, checked=True)
    close(target)


def test_a_closed_end_is_not_whatever_has_its_number_now() -> None:
    source, target = a_pipe()
    close(source, target)
    with pytest.raises(ValueError, match="closed"):
        frames.read(source)
