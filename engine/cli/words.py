"""The words that several commands take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

_COMMON = Group("Every command", sort_key=100)


@Parameter(name="*", group=_COMMON)
@dataclass(kw_only=True)
class Common:
    """What every command takes."""

    config: Annotated[Path | None, Parameter(help="The settings file; see also XINSHI_CONFIG.")] = None
    journal: Annotated[Path | None, Parameter(help="The journal; by default xinshi.db in your state folder.")] = None
    account: Annotated[str, Parameter(help="Which account of the settings.")] = "default"
    json: Annotated[bool, Parameter(negative="", show_default=False, help="Data for machines on standard output.")] = (
        False
    )
    verbose: Annotated[
        int, Parameter(name=["--verbose", "-v"], count=True, show_default=False, help="Tell more; twice: everything.")
    ] = 0
    quiet: Annotated[
        bool, Parameter(name=["--quiet", "-q"], negative="", show_default=False, help="Tell nothing but errors.")
    ] = False


@Parameter(name="*")
@dataclass(kw_only=True)
class Order:
    """What is to be sent, and how."""

    text: Annotated[str | None, Parameter(help="The message.")] = None
    text_file: Annotated[
        Path | None, Parameter(help="A file with the message (UTF-8), or - for standard input; keeps it out of `ps`.")
    ] = None
    column: Annotated[str | None, Parameter(help="The column with the numbers: its name, or its place from 1.")] = None
    encoding: Annotated[str | None, Parameter(help="The list's encoding, when the found one is wrong.")] = None
    sheet: Annotated[str | None, Parameter(help="The sheet of a workbook: its name, or its place from 1.")] = None
    exclude: Annotated[
        tuple[Path, ...], Parameter(negative="", help="A list of people to leave out; may be given several times.")
    ] = ()
    only: Annotated[
        tuple[Path, ...],
        Parameter(negative="", help="Send to nobody who is not on this list; may be given several times."),
    ] = ()
    campaign: Annotated[str | None, Parameter(help="A name for this campaign.")] = None
    signature: Annotated[str | None, Parameter(help="Your brand, as the gateway knows it.")] = None
    opt_out: Annotated[str | None, Parameter(help="The opt-out words to end the message with.")] = None
    batch_size: Annotated[int | None, Parameter(help="Recipients in one request.")] = None
    limit: Annotated[
        int | None,
        Parameter(validator=Number(gte=1), help="Plan all, but release only so many recipients now, in whole batches."),
    ] = None
    requests_per_second: Annotated[float | None, Parameter(help="The pace; 0: no limit.")] = None
    in_flight: Annotated[int | None, Parameter(help="How many requests may be under way at once.")] = None
    allow_partial: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="When the points do not reach: send what they reach for, whole batches.",
        ),
    ] = False
    again: Annotated[
        bool, Parameter(negative="", show_default=False, help="Send it once more although this very order was sent.")
    ] = False
