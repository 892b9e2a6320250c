"""The text of an order: where its flags say that it stands, read from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.cli.words import Order
from engine.errors import IntakeError, PlanError
from engine.language import _
from engine.terms import system_words

STANDARD_INPUT = Path("-")


def text_of(order: Order, files: Sequence[Path]) -> str | None:
    """The text as it was given, or as its file has it; None where every row, or the campaign, has it. Raises PlanError, IntakeError.

    `files`: the lists. What is on standard input is one of them or the text, and not a piece of each.
    """
    given = {"--text": order.text, "--text-file": order.text_file, "--text-column": order.text_column}
    named = [flag for flag, value in given.items() if value is not None]
    if order.add_to is not None:
        _refuse_settled(order, named)
        return None
    if len(named) != 1:
        raise PlanError(
            _(
                "give the message once: with --text, with --text-file FILE (- reads standard input), or with "
                "--text-column COLUMN where every row has its own"
            )
        )
    if order.text_file is None:
        return order.text
    if order.text_file == STANDARD_INPUT and STANDARD_INPUT in (*files, *order.exclude, *order.only):
        raise IntakeError(_("named twice, and can be read only once"), source="standard input")
    return read_text(order.text_file)


def _refuse_settled(order: Order, named: Sequence[str]) -> None:
    """Raises PlanError for what a campaign that is added to has already."""
    settled: dict[str, object] = {
        "--campaign": order.campaign,
        "--signature": order.signature,
        "--opt-out": order.opt_out,
        "--default": order.default,
        "--again": order.again,
    }
    if idle := [*named, *(flag for flag, value in settled.items() if value)]:
        raise PlanError(
            _("{names}: the campaign {add_to!r} has its text and name already; leave it away").format(
                names=", ".join(idle), add_to=order.add_to
            )
        )


def read_text(file: Path) -> str:
    """A file, or standard input (-): UTF-8 whatever the locale says, with or without its mark. Raises PlanError."""
    is_ours = file != STANDARD_INPUT
    place = f"--text-file {file}" if is_ours else _("standard input")
    try:
        with open(file if is_ours else 0, encoding="utf-8-sig", closefd=is_ours) as text:
            return text.read()
    except OSError as error:
        raise PlanError(
            _("{place}: cannot be read: {problem}").format(place=place, problem=system_words(error))
        ) from error
    except UnicodeDecodeError as error:
        raise PlanError(
            _("{place}: not UTF-8 at byte {start}; save it as UTF-8").format(place=place, start=error.start)
        ) from error
