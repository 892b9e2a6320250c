"""Progress on a terminal. Off a terminal nothing: the summary is enough for a log."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from engine.cli import out
from engine.cli.words import Common
from engine.language import _
from engine.live import Live
from engine.runs.steering import SENDING

_EVERY_S = 0.1


@contextmanager
def showing(live: Live, lively: bool) -> Iterator[None]:
    """Show how far `live` is until the block ends. Draws from a thread of its own, so that it never delays a request."""
    if not lively:
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
    )
    over = threading.Event()
    with Progress(*columns, console=Console(stderr=True), auto_refresh=False, transient=True) as bars:
        task = bars.add_task(_("starting"), total=None, figures="")

        def draw() -> None:
            while True:
                done, total, figures = _state(live)
                bars.update(task, description=_(live.phase), completed=done, total=total, figures=figures, refresh=True)
                if over.wait(_EVERY_S):
                    return

        drawer = threading.Thread(target=copy_context().run, args=(draw,), name="progress", daemon=True)
        drawer.start()
        try:
            yield
        finally:
            over.set()
            drawer.join()


def _state(live: Live) -> tuple[int, int | None, str]:
    if not live.recipients:
        return 0, None, _("{rows:,} rows").format(rows=live.rows) if live.rows else ""
    now = live.collector.progress()
    done = now.accepted + now.refused + now.in_doubt
    parts = [
        _("{accepted:,}/{recipients:,} accepted").format(accepted=now.accepted, recipients=live.recipients),
        _("{charged:,f} points").format(charged=now.charged),
    ]
    if now.reported_remaining is not None:
        parts.append(_("{reported_remaining:,f} left").format(reported_remaining=now.reported_remaining))
    if now.in_doubt:
        parts.append("[yellow]" + _("{in_doubt:,} in doubt").format(in_doubt=now.in_doubt) + "[/yellow]")
    if now.refused:
        parts.append("[red]" + _("{refused:,} refused").format(refused=now.refused) + "[/red]")
    parts += filter(None, (live.leaves(), live.ends()))
    if by := _held_back(live):
        parts.append(_("limited by {by}").format(by=by))
    return done, live.recipients, " · ".join(parts)


def _held_back(live: Live) -> str:
    """What sending waits for; another phase than sending says it itself."""
    return (live.held_back_by() or live.rest) if live.phase == SENDING else ""


def announcing(live: Live, common: Common) -> Live:
    """The same, telling what takes long where no display shows it."""
    if not is_lively(common):
        live.notice = lambda words: out.tell(common, f"{words}\n")
    return live


def is_lively(common: Common) -> bool:
    """Whether there is a display: a terminal, and nobody who wants less or data."""
    return sys.stderr.isatty() and not common.quiet and not common.json
