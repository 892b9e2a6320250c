"""How another process speaks to the owner of a journal: a Unix socket beside it, for its user alone.

One line of JSON there, one back: {"verb": "pause", "campaign": "spring"} -> {"done": true, "words": "…"}.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.errors import EngineError, JournalBusy, PlanError
from engine.language import _
from engine.telemetry import logger

WHOSE = "whose"
"""An order that changes nothing: it is done where the owner has the campaign."""
_LONGEST_LINE = 64 * 1024
_ANSWER_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is asked of the owner. `words`: what the verb needs beside the campaign."""

    verb: str
    campaign: str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What the owner says: whether it is done, and a sentence for people. `is_unfit`: it is not, and never will be."""

    done: bool
    words: str
    is_unfit: bool = False


Handler = Callable[[Order], Awaitable[Word]]


def socket_path(journal: Path) -> Path:
    """Where the owner of a journal listens."""
    return journal.with_name(journal.name + ".sock")


@asynccontextmanager
async def listening(journal: Path, handler: Handler) -> AsyncIterator[None]:
    """Answer orders until the block ends. Only the owner of the journal may: it removes what a killed one left."""
    path = socket_path(journal)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.LimitOverrunError, ValueError):
            word = await _answered(await reader.readline(), handler)
            writer.write(json.dumps(asdict(word), ensure_ascii=False).encode() + b"\n")
            await writer.drain()
        writer.close()

    with _bound(path) as bound:
        server = await asyncio.start_unix_server(serve, sock=bound, limit=_LONGEST_LINE)
        try:
            yield
        finally:
            server.close()
            path.unlink(missing_ok=True)


async def asked(journal: Path, order: Order) -> Word | None:
    """What the owner of the journal says to an order; None when nobody listens.

    Raises PlanError for an order that is unfit, as without an owner, and JournalBusy when the owner says nothing.
    """
    try:
        async with asyncio.timeout(_ANSWER_WITHIN_S):
            with _near(socket_path(journal)) as near:
                reader, writer = await asyncio.open_unix_connection(near)
            try:
                line = {"verb": order.verb, "campaign": order.campaign, "words": list(order.words)}
                writer.write(json.dumps(line).encode() + b"\n")
                answer = json.loads(await reader.readline() or b"null")
            finally:
                writer.close()
    except (FileNotFoundError, ConnectionRefusedError):
        return None
    except (TimeoutError, OSError, ValueError) as error:
        raise JournalBusy(_("the process that owns the journal does not answer")) from error
    if answer is None:
        raise JournalBusy(_("the process that owns the journal is just ending; try again"))
    if answer.get("is_unfit"):
        raise PlanError(str(answer["words"]))
    return Word(done=bool(answer["done"]), words=str(answer["words"]))


async def _answered(line: bytes, handler: Handler) -> Word:
    try:
        asked_for = json.loads(line)
        order = Order(
            verb=str(asked_for["verb"]), campaign=str(asked_for["campaign"]), words=tuple(asked_for.get("words", ()))
        )
    except (ValueError, KeyError, TypeError):
        return Word(done=False, words=_("that is no order"))
    try:
        return await handler(order)
    except EngineError as error:
        logger.warning("an order could not be carried out", extra={"verb": order.verb, "problem": str(error)})
        return Word(done=False, words=str(error), is_unfit=isinstance(error, PlanError))


@contextlib.contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # 0600 from its first moment
    try:
        with _near(path) as near:
            bound.bind(near)
    except BaseException:  # the socket is closed, then it is raised on
        bound.close()
        raise
    finally:
        os.umask(before)
    yield bound


@contextlib.contextmanager
def _near(path: Path) -> Iterator[str]:
    """A short name for the socket: an address holds 107 bytes, and a journal may lie deeper."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}" if Path("/proc/self/fd").is_dir() else str(path)
    finally:
        os.close(folder)
