"""Row -> Recipient -> Batch in a process of its own.

Reading a million rows takes a core for a second. In its own process that second passes while the sender loads its
libraries, logs in and writes the first batches to the journal. What goes over the pipes is in engine/frames.py.

    parent                      child
    Pipeline ── Request ──►     inspect, read the exclude and only lists
             ◄── Listing ───
             ── Cut ──────►     read, screen, batch, write the rejects
             ◄── Part … ───
             ◄── Survey ────    when the gateway is asked: what the texts take from the rows, known once they are all read, or too many
             ── Forbidden ►     go on; or throw that away, and read again without what is forbidden
             ◄── Part … ───
             ◄── PlanTally ─
             ── Whom ─────►     say who is in the batches
             ◄── a packed set, piece by piece, and b"" ───
             ── Keep ─────►     keep compressed copies of the lists, while the parent sends; then end
             ◄── what is wrong with that, or "" ───
"""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from select import select
from typing import IO, TYPE_CHECKING, Any, TypeVar

from engine import frames, language
from engine.errors import EngineError, IntakeError
from engine.language import _
from engine.model import Chunk, Excluded, Message, PlannedBatch

if TYPE_CHECKING:  # the parent loads neither stage
    from concurrent.futures import Future, ThreadPoolExecutor
    from decimal import Decimal

    from engine.intake import Inspected, ListFile, ReachedSet, ScreeningList, Seen, Skipped
    from engine.planning import Forbidden, PlanTally, Survey, Surveyor, Wording

_END_S = 2.0
_STDIN = Path("-")  # as in intake/given.py, which only the child loads

_AHEAD_MOST = 96 << 20  # bytes
_EXCLUDED_BYTES = 300  # a row that is left out, its cell and its reason
_PART_ROWS = 20_000  # the parent commits each part, and what it does beside the rows is 2 ms
_MESSAGE_ROWS = 4  # as many as a text of its own counts for

_PIPE_BYTES = 1 << 20  # what Linux gives to everybody; a part of 20,000 rows is 0.3 MB

Answer = TypeVar("Answer")

_PIECE_BYTES = 1 << 20  # of a packed set: whole, that of ten millions would stand in a frame beside itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which lists, and what the operator says about them. `stdin_fd`: what - is over there."""

    paths: tuple[Path, ...]
    column: str | None
    encoding: str | None
    sheet: str | None
    exclude: tuple[Path, ...]
    only: tuple[Path, ...]
    stdin_fd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What the lists turned out to be, and what in folders and archives is left aside."""

    list_files: list[ListFile]
    skipped: list[Skipped]
    excluded: list[ScreeningList]
    only: list[ScreeningList]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """How the recipients are screened, told and cut into batches.

    `columns`: for each list those the wording names. `price` in points per segment; `rejects` is written when a row is left out.
    An addition to a campaign has `held`, the numbers that must not come again, and lists counted from `first_list` on.
    """

    max_recipients: int
    distinct: bool
    wording: Wording
    price: Decimal
    rejects: Path
    columns: tuple[tuple[int, ...], ...] = ()
    opted_out: bytes = b""  # a packed set; see intake/screening.py
    held: bytes = b""  # the same
    first_list: int = 0
    left_aside: frozenset[int] = frozenset()  # lists that are not read, by their place
    keeps_batches: bool = True  # False: only the sums are wanted, and nothing else is sent over
    surveys: bool = False  # somebody is asked what is forbidden, once it is known what the texts take from the rows
    forbidden: Forbidden | None = None  # rows with it are left out
    reached: tuple[ReachedSet, ...] = ()  # who was reached lately: counted, and left out who had `most_messages`
    most_messages: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether what was read ahead is what is wanted: all rows of all lists, without texts of their own."""
        return not self.wording.names and not self.held and not self.left_aside and not self.first_list


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Where copies of the lists are kept; `files`: also of those that are not from standard input."""

    folder: Path
    files: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Whom:
    """The question which numbers the batches hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of the plan, in order. `rows` counts from the beginning; `messages` come before the batches that carry them."""

    batches: list[PlannedBatch]
    excluded: list[Excluded]
    rows: int
    messages: list[tuple[int, Message]] = field(default_factory=list)


class Pipeline:
    """The parent's end. Its methods block; call them in a thread. A context manager: leaving it ends the child."""

    def __init__(
        self,
        paths: Path | Sequence[Path],
        *,
        column: str | None = None,
        encoding: str | None = None,
        sheet: str | None = None,
        exclude: Sequence[Path] = (),
        only: Sequence[Path] = (),
    ) -> None:
        """`paths`: files and folders in the order in which they are read; - is our standard input, once.

        `column`, `encoding` and `sheet` are for each of them, as `intake.inspect` takes them. Numbers on an `exclude` list are left
        out, and with `only` those on none of its lists. Raises IntakeError where - is named and standard input is closed.
        """
        listed = (paths,) if isinstance(paths, Path) else tuple(paths)
        self._source = listed[0] if len(listed) == 1 else None
        self._listing: Listing | None = None
        self._survey: Survey | None = None
        self._tally: PlanTally | None = None
        self._answers: ThreadPoolExecutor | None = None  # takes what comes while the parent sends
        self._copies: Future[str] | None = None
        self._whom: Future[IO[bytes] | None] | None = None
        with _inherited_stdin((*listed, *exclude, *only)) as stdin_fd:
            self._child = subprocess.Popen(
                # -P: a csv.py in the working directory is not what we mean by csv.
                [sys.executable, "-P", "-m", "engine.orders.pipeline"],
                env=module_environ(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[] if stdin_fd is None else [stdin_fd],
            )
        _widen(self._child.stdout)
        request = Request(
            paths=listed,
            column=column,
            encoding=encoding,
            sheet=sheet,
            exclude=tuple(exclude),
            only=tuple(only),
            stdin_fd=-1 if stdin_fd is None else stdin_fd,
        )
        with suppress(IntakeError):  # a child that is gone already is told to whoever asks for what it read
            self._send(request)

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.kept()  # of what came on standard input there may be no other copy
        finally:
            self.end()
            if self._answers is not None:
                self._answers.shutdown()
            if (numbers := self.whom()) is not None:
                numbers.close()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()

    def end(self) -> None:
        """End the child now; it removes its unfinished files. A thread that waits for it gets an IntakeError."""
        self._child.send_signal(signal.SIGUSR1)
        try:
            self._child.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def listing(self) -> Listing:
        """What the lists turned out to be, in the order in which they are read, and what of them is not. Raises IntakeError."""
        if self._listing is None:
            self._listing = self._receive()
        return self._listing

    def parts(self, cut: Cut) -> Iterator[Part]:
        """The plan, stretch by stretch; afterwards `tally` has its sums. Raises IntakeError.

        Where the cut surveys, these are the parts before the `survey`, which is there afterwards. The others are the `rest`.
        """
        self.listing()
        self._send(cut)
        told = yield from self._received()
        if cut.surveys:
            self._survey = told
        else:
            self._tally = told

    @property
    def survey(self) -> Survey:
        """What the texts take from the rows, once the parts of a cut that surveys have come."""
        assert self._survey is not None
        return self._survey

    def rest(self, forbidden: Forbidden) -> Iterator[Part]:
        """The parts behind the survey. Where something is forbidden: all parts anew without it, and those before are void."""
        self._send(forbidden)
        self._tally = yield from self._received()

    def _received(self) -> Generator[Part, None, Any]:
        """Parts, and what comes behind them."""
        while isinstance(told := self._receive(), tuple):
            yield _unpacked(told)
        return told

    @property
    def tally(self) -> PlanTally:
        """The sums of the whole plan, once all parts have come."""
        assert self._tally is not None
        return self._tally

    def keep(self, folder: Path, *, files: bool) -> None:
        """Have copies of the lists kept, beside what follows; `files`: also of those that are not from standard input."""
        self.listing()
        self._copies = self._asked(Keep(folder=folder, files=files), self._receive)

    def kept(self) -> str:
        """Wait until the copies are there. Returns what is wrong with them, "" where nothing is or none were asked for."""
        try:
            return "" if self._copies is None else str(self._copies.result())
        except EngineError as error:
            return str(error)

    def ask_whom(self) -> None:
        """Once the `tally` is there, and before `keep`: have `whom` told, beside what follows."""
        with suppress(IntakeError):
            self._whom = self._asked(Whom(), self._receive_whom)

    def whom(self) -> IO[bytes] | None:
        """The numbers of all batches as a packed set, in a file without a name; None where nobody asked, or they are not known."""
        try:
            return None if self._whom is None else self._whom.result()
        except EngineError:
            return None

    def _receive_whom(self) -> IO[bytes] | None:
        pieces = iter(self._receive, b"")
        try:
            return _put_aside(pieces)
        finally:
            deque(pieces, maxlen=0)  # what comes behind them is another answer

    def _asked(self, question: Whom | Keep, answer: Callable[[], Answer]) -> Future[Answer]:
        """What the child will answer. It is taken as soon as it comes, so that the child need not wait to end."""
        if self._answers is None:
            from concurrent.futures import ThreadPoolExecutor  # loaded by then; the child does without

            self._answers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="answers")
        self._send(question)
        return self._answers.submit(answer)

    def _send(self, value: object) -> None:
        assert self._child.stdin is not None
        try:
            _write(self._child.stdin, value)
        except BrokenPipeError:
            raise self._died() from None

    def _receive(self) -> Any:
        assert self._child.stdout is not None
        try:
            value = _read(self._child.stdout)
        except EOFError:
            raise self._died() from None
        if isinstance(value, EngineError):
            raise value
        return value

    def _died(self) -> IntakeError:
        code = self._child.wait()
        how = (
            _("was killed by signal {signal}").format(signal=-code)
            if code < 0
            else _("ended with code {code}").format(code=code)
        )
        return IntakeError(_("the process that reads the list {how}").format(how=how), source=self._source)


def module_environ() -> dict[str, str]:
    """For `python -P -m MODULE`: our environment and language, and the places where this process finds its modules."""
    places = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return {**os.environ, "PYTHONPATH": places, language.VARIABLE: language.spoken()}


def main() -> None:
    """The child. Ends when the parent closes a pipe, however the parent ends."""
    language.speak(language.chosen(None, os.environ))
    for number in (signal.SIGINT, signal.SIGTERM):  # both also come to the whole group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, _stop)
    sys.unraisablehook = _swallowed
    gc.freeze()
    gc.set_threshold(100_000, 50, 1_000)  # what waits for its batch is no rubbish, and looking took a third longer
    source, target = sys.stdin.buffer, sys.stdout.buffer
    try:
        signal.signal(signal.SIGUSR1, _stop)  # here, so that whenever it comes it is caught below
        try:
            _answer(source, target)
        except EngineError as error:
            _write(target, error)
        finally:
            for number in _STOPS:
                signal.signal(number, signal.SIG_IGN)  # it ends already, and must not stop on the way out
    except (BrokenPipeError, EOFError, _Stopped):
        pass  # nobody is there to be told


class _Stopped(BaseException):
    """The parent wants no more. Nothing on the way out may take it for a file that ends too early."""


_STOPS = (signal.SIGUSR1, signal.SIGALRM)  # the parent's, and our own where that one was lost


def _stop(*_: object) -> None:
    warnings.simplefilter("ignore", ResourceWarning)  # what is just being opened nobody can close
    raise _Stopped


def _swallowed(lost: sys.UnraisableHookArgs) -> None:
    """Stop a little later, where a stop came in the middle of what can raise nothing: a finaliser, the end of an import."""
    if lost.exc_type is _Stopped:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
    else:
        sys.__unraisablehook__(lost)


def _answer(source: IO[bytes], target: IO[bytes]) -> None:
    from engine.intake import Seen, gathered, inspect_all, read_all

    request: Request = _read(source)
    if not request.paths:
        raise IntakeError(_("no list was given"))
    if (*request.paths, *request.exclude, *request.only).count(_STDIN) > 1:
        raise IntakeError(_("named twice, and can be read only once"), source="standard input")
    lists = inspect_all(
        request.paths,
        column=request.column,
        encoding=request.encoding,
        sheet=request.sheet,
        stdin_fd=request.stdin_fd,
    )
    excluding = _screening_lists(request.exclude, request)
    allowing = _screening_lists(request.only, request)
    excluded, excluded_lists = gathered(excluding.list_files)
    only, only_lists = gathered(allowing.list_files)
    listing = Listing(
        list_files=lists.list_files,
        skipped=[*lists.skipped, *excluding.skipped, *allowing.skipped],
        excluded=excluded_lists,
        only=only_lists,
    )
    _write(target, listing)
    seen = Seen()
    ahead = _ReadAhead(read_all(lists.list_files, seen=seen))
    ahead.until_told(source)
    order: Cut | Keep = _read(source)
    if isinstance(order, Keep):  # the campaign is there already
        ahead.end()
        _write(target, _kept(lists.list_files, order))
        return
    cutter = _Cutter(lists.list_files, order, excluded=excluded, only=only if request.only else None)
    if order.is_plain:
        cutter.cut(ahead.goes_on(), seen, target)
    else:
        ahead.end()
        cutter.read_and_cut(source, target)
    del ahead, seen  # what comes next comes once the campaign is visible, and waiting for it needs little memory
    while isinstance(asked := _read(source), Whom):
        cutter.tell_whom(target)
    _write(target, _kept(cutter.taken, asked))


def _screening_lists(paths: tuple[Path, ...], request: Request) -> Inspected:
    """The lists of people to leave out, or to send to alone. Where one leaves its column open, `column` decides if it is a name of its header."""
    from engine.intake import inspect_all

    named = request.column is not None and not request.column.strip().isdecimal() and _STDIN not in paths
    try:
        return inspect_all(paths, stdin_fd=request.stdin_fd)
    except IntakeError:
        if not named:
            raise
    return inspect_all(paths, column=request.column, stdin_fd=request.stdin_fd)


class _ForbiddenError(Exception):
    """Something that stands in the lists is forbidden: what was cut so far is void."""

    def __init__(self, forbidden: Forbidden) -> None:
        self.forbidden = forbidden


class _Cutter:
    """Answers a Cut with the parts of a plan and its sums."""

    def __init__(self, list_files: Sequence[ListFile], cut: Cut, *, excluded: bytes, only: bytes | None) -> None:
        self._order, self._excluded, self._only = cut, excluded, only
        self.taken = [each for at, each in enumerate(list_files) if at not in cut.left_aside]
        self._columns = [each for at, each in enumerate(cut.columns) if at not in cut.left_aside]
        self._whom = b""  # the numbers of all batches as a packed set, where somebody may ask for them

    def read_and_cut(self, source: IO[bytes], target: IO[bytes]) -> None:
        """Read the lists and cut them; where something turns out to be forbidden, again without it."""
        if forbidden := self._attempt(source, target):
            self._order = replace(self._order, surveys=False, forbidden=forbidden)
            self._attempt(source, target)

    def _attempt(self, source: IO[bytes], target: IO[bytes]) -> Forbidden | None:
        """Read the lists and cut them. Returns what is forbidden and stands in them."""
        from engine.intake import Seen, Texts, read_all
        from engine.planning import SameText, Surveyor, without

        cut, seen = self._order, Seen(self._order.held)
        if isinstance(cut.wording, SameText):
            self.cut(read_all(self.taken, seen=seen, first=cut.first_list), seen, target)
            return None
        speak = cut.wording.speaker() if cut.forbidden is None else without(cut.wording, cut.forbidden)
        surveyor = Surveyor(cut.wording, speak)
        texts = [Texts(each, surveyor.said) for each in self._columns]
        chunks = read_all(self.taken, seen=seen, texts=texts, first=cut.first_list)
        try:
            self.cut(_asking(chunks, surveyor, source, target) if cut.surveys else chunks, seen, target)
        except _ForbiddenError as error:
            return error.forbidden
        return None

    def cut(self, chunks: Iterable[Chunk], seen: Seen, target: IO[bytes]) -> None:
        """Write the parts and the tally. `seen`: what reads the chunks remembers the numbers there."""
        from engine.intake import Lately, RejectsFile, Screen
        from engine.planning import Batcher, Grouper, PlanTally, SameText

        cut, same = self._order, isinstance(self._order.wording, SameText)
        batcher = (Batcher if same else Grouper)(cut.max_recipients, distinct=cut.distinct)
        tally = PlanTally(cut.wording.message if isinstance(cut.wording, SameText) else None, price=cut.price)
        outgoing = _Outgoing(target, tally, keeps_batches=cut.keeps_batches)
        lately = Lately(cut.reached, most=cut.most_messages) if cut.reached else None
        screen = Screen(cut.opted_out, excluded=self._excluded, only=self._only, lately=lately)
        with RejectsFile(cut.rejects, self.taken, first=cut.first_list) as rejects:
            for chunk in map(screen.sift, chunks):
                tally.add_chunk(chunk)
                rejects.add(chunk.excluded, chunk.original)
                outgoing.add(batcher.add(chunk), batcher.new_messages(), chunk.excluded)
            outgoing.add(batcher.finish(), batcher.new_messages(), [])
            outgoing.flush()
        tally.reached = screen.counted(seen, cut.held)
        _write(target, tally)
        if cut.keeps_batches:
            self._whom = screen.whom(seen, cut.held, recipients=tally.recipients)

    def tell_whom(self, target: IO[bytes]) -> None:
        """Write who is in the batches, once: what comes next needs the memory no more."""
        whom, self._whom = memoryview(self._whom), b""
        for begin in range(0, len(whom), _PIECE_BYTES):
            _write(target, bytes(whom[begin : begin + _PIECE_BYTES]))
        _write(target, b"")


def _asking(chunks: Iterable[Chunk], surveyor: Surveyor, source: IO[bytes], target: IO[bytes]) -> Iterator[Chunk]:
    """The chunks. Once the survey is complete, or as full as it gets, the other end is asked what of it is forbidden.

    Raises _ForbiddenError where something is.
    """

    def ask() -> None:
        _write(target, surveyor.survey())
        if forbidden := _read(source):
            raise _ForbiddenError(forbidden)

    asked = False
    for chunk in chunks:
        if surveyor.is_full and not asked:
            asked = True
            ask()
        yield chunk
    if not asked:
        ask()


class _Held:
    """A chunk that waits: twenty bytes a recipient beside the rows themselves, where lists of objects take a hundred and fifty."""

    __slots__ = ("_chunk", "_lines", "_mobiles", "size")

    def __init__(self, chunk: Chunk) -> None:
        self._mobiles, self._lines = ",".join(chunk.mobiles), array("Q", chunk.lines)
        self.size = chunk.size + len(self._mobiles) + 8 * len(chunk.lines) + _EXCLUDED_BYTES * len(chunk.excluded)
        self._chunk = replace(chunk, mobiles=[], lines=[])

    def chunk(self) -> Chunk:
        """As it was."""
        return replace(self._chunk, mobiles=self._mobiles.split(",") if self._lines else [], lines=self._lines.tolist())


class _ReadAhead:
    """Rows of a list with one text for all, read before it is known how to cut them: the parent still loads and logs in."""

    def __init__(self, chunks: Iterator[Chunk]) -> None:
        self._chunks = chunks
        self._held: deque[_Held] = deque()
        self._size = 0
        self._failure: IntakeError | None = None

    def until_told(self, source: IO[bytes]) -> None:
        """Read until the parent says something, enough is held, or a row cannot be read: `goes_on` says so in its place."""
        try:
            while self._size < _AHEAD_MOST and not select([source], [], [], 0)[0]:
                chunk = next(self._chunks, None)
                if chunk is None:
                    return
                self._held.append(_Held(chunk))
                self._size += self._held[-1].size
        except IntakeError as error:
            self._failure = error

    def end(self) -> None:
        """Nobody wants it: let go of the list, and of the process that may load it."""
        self._held.clear()
        self._chunks = iter(())  # it goes with its last name

    def goes_on(self) -> Iterator[Chunk]:
        """What is held, given up piece by piece, and the rest. Raises IntakeError."""
        while self._held:
            yield self._held.popleft().chunk()
        if self._failure is not None:
            raise self._failure
        yield from self._chunks


def _kept(list_files: Sequence[ListFile], order: Keep) -> str:
    """Keep copies of the lists. Returns what is wrong, "" where nothing is."""
    from engine.intake.kept import keep

    os.nice(19)  # the parent is sending
    try:
        keep([each for each in list_files if order.files or each.path == _STDIN], order.folder)
    except IntakeError as error:
        return str(error)
    return ""


def _put_aside(pieces: Iterator[bytes]) -> IO[bytes] | None:
    """The pieces in a file without a name; None where there are none, or is no room.

    They are wanted when all has been sent, and take no memory until then.
    """
    with suppress(OSError), ExitStack() as undo:
        file: IO[bytes] = undo.enter_context(tempfile.TemporaryFile())
        file.writelines(pieces)
        file.flush()
        if file.tell():
            undo.pop_all()
            return file
    return None


@contextmanager
def _inherited_stdin(named: Sequence[Path]) -> Iterator[int | None]:
    """Our standard input under a number that the child can have, where it is named; there, 0 is the pipe from us."""
    if _STDIN not in named:
        yield None
        return
    try:
        fd = os.dup(0)
    except OSError as exc:
        raise IntakeError(_("is closed: pipe the list into the command"), source="standard input") from exc
    try:
        yield fd
    finally:
        os.close(fd)


_Columns = list[tuple[Any, ...]]
_Packed = tuple[_Columns, _Columns, _Columns, int]
"""A Part on the pipe: the columns of its batches, its messages and its exclusions. A pickled object each costs ten times as much."""


class _Outgoing:
    """Gathers what is planned and writes it in parts: a few large ones, since each is a commit over there."""

    def __init__(self, target: IO[bytes], tally: PlanTally, *, keeps_batches: bool) -> None:
        self._target, self._tally, self._keeps = target, tally, keeps_batches
        self._begin()

    def _begin(self) -> None:
        self._first = self._tally.rows
        self._batches: list[PlannedBatch] = []
        self._messages: list[tuple[int, Message]] = []
        self._excluded: list[Excluded] = []

    def add(self, batches: list[PlannedBatch], messages: list[tuple[int, Message]], excluded: list[Excluded]) -> None:
        """Count the batches and their messages; the tally has counted the rows. Writes a part when there is enough for one."""
        tally = self._tally
        tally.add_batches(batches)
        tally.texts += len(messages)
        if self._keeps:
            self._batches += batches
            self._messages += messages
            self._excluded += excluded
        if tally.rows - self._first + len(self._messages) * _MESSAGE_ROWS >= _PART_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what has gathered."""
        texts = [(number, *message) for number, message in self._messages]
        _write(self._target, (_columns(self._batches), _columns(texts), _columns(self._excluded), self._tally.rows))
        self._begin()


def _columns(rows: Iterable[Iterable[Any]]) -> _Columns:
    return list(zip(*rows, strict=True))


def _unpacked(packed: _Packed) -> Part:
    batches, texts, excluded, rows = packed
    return Part(
        batches=list(map(PlannedBatch, *batches)) if batches else [],
        excluded=list(map(Excluded, *excluded)) if excluded else [],
        rows=rows,
        messages=list(zip(texts[0], map(Message, *texts[1:]), strict=True)) if texts else [],
    )


def _write(pipe: IO[bytes], value: object) -> None:
    frames.write(pipe, value, checked=True)


def _read(pipe: IO[bytes]) -> Any:
    try:
        return frames.read(pipe)
    except frames.Garbled:
        raise IntakeError(_("what the reading process sent came changed; run the same command again")) from None


def _widen(pipe: IO[bytes] | None) -> None:
    """Let some parts wait in the pipe, so that the child need not wait while one is being stored; where that may be."""
    if pipe is not None and hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


if __name__ == "__main__":
    # As `engine.orders.pipeline`, not `__main__`, so that both ends mean the same classes.
    from engine.orders import pipeline

    pipeline.main()
