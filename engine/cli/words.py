"""The words that several commands take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from engine.language import N_, _

if TYPE_CHECKING:
    from engine.orders.conduct import Wish

_COMMON = Group(N_("Every command"), sort_key=100)


@Parameter(name="*", group=_COMMON)
@dataclass(kw_only=True)
class Common:
    """What every command takes."""

    config: Annotated[Path | None, Parameter(help=_("The settings file; see also XINSHI_CONFIG."))] = None
    journal: Annotated[Path | None, Parameter(help=_("The journal; by default xinshi.db in your state folder."))] = None
    account: Annotated[str, Parameter(help=_("Which account of the settings."))] = "default"
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help=_("Data for machines on standard output."))
    ] = False
    verbose: Annotated[
        int,
        Parameter(name=["--verbose", "-v"], count=True, show_default=False, help=_("Tell more; twice: everything.")),
    ] = 0
    lang: Annotated[
        str | None, Parameter(help=_("The language of what people read: en or zh; see also XINSHI_LANG."))
    ] = None
    """Read from the words before the parser is there; it stands here for the help."""
    quiet: Annotated[
        bool, Parameter(name=["--quiet", "-q"], negative="", show_default=False, help=_("Tell nothing but errors."))
    ] = False


@Parameter(name="*")
@dataclass(kw_only=True)
class When:
    """When a campaign may send, how fast, how many points stay, and who goes first. It is kept with the campaign."""

    at: Annotated[
        str | None,
        Parameter(help=_("Begin then: 2026-11-23 09:00, or 09:00 for the next time it is nine (China time).")),
    ] = None
    window: Annotated[
        tuple[str, ...],
        Parameter(
            negative="",
            help=_(
                'Send only within these hours: 08:30-20:00, "Mon-Fri 08:30-12:00,13:30-20:00"; may be given several times; '
                "any: no hours."
            ),
        ),
    ] = ()
    expire: Annotated[
        str | None, Parameter(help=_("What has not been sent by then never is: a time as for --at, or never."))
    ] = None
    gateway_schedule: Annotated[
        str | None,
        Parameter(
            help=_(
                "Hand it over now, and have the gateway send it then: a time as for --at, at most 30 days away. Nothing that was "
                "handed over can be taken back; now: no such time."
            )
        ),
    ] = None
    keep_points: Annotated[
        int | None,
        Parameter(validator=Number(gte=0), help=_("Points that stay: pause before the balance falls below.")),
    ] = None
    canary: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=0),
            help=_("So many recipients first, in whole batches; the rest when their reports are good. 0: none."),
        ),
    ] = None
    canary_delivered: Annotated[
        str | None, Parameter(help=_("The share of the canary's reports that must say delivered; 80% if not given."))
    ] = None
    canary_wait: Annotated[
        str | None, Parameter(help=_("How long its reports are waited for, such as 90s, 15m, 2h; 15m if not given."))
    ] = None
    requests_per_second: Annotated[float | None, Parameter(help=_("The pace; 0: no limit."))] = None
    numbers_per_second: Annotated[
        float | None, Parameter(help=_("How many numbers a second, over all requests; 0: no limit."))
    ] = None
    in_flight: Annotated[int | None, Parameter(help=_("How many requests may be under way at once."))] = None

    def wish(self, *, at: datetime) -> Wish:
        """The same for the engine."""
        from engine.orders.conduct import Wish

        return Wish(
            at=at,
            begin=self.at,
            windows=self.window,
            expire=self.expire,
            schedule=self.gateway_schedule,
            keep_points=None if self.keep_points is None else Decimal(self.keep_points),
            canary=self.canary,
            canary_delivered=self.canary_delivered,
            canary_wait=self.canary_wait,
            requests_per_second=self.requests_per_second,
            numbers_per_second=self.numbers_per_second,
            in_flight=self.in_flight,
        )


@Parameter(name="*")
@dataclass(kw_only=True)
class Order(When):
    """What is to be sent, and how."""

    text: Annotated[
        str | None,
        Parameter(help=_("The message. {姓名} is filled with the row's cell of that column; {{ and }} are braces.")),
    ] = None
    text_file: Annotated[
        Path | None,
        Parameter(help=_("A file with the message (UTF-8), or - for standard input; keeps it out of `ps`.")),
    ] = None
    text_column: Annotated[str | None, Parameter(help=_("The column that holds each row's whole message."))] = None
    default: Annotated[
        tuple[str, ...],
        Parameter(
            negative="", help=_("What stands in for a blank cell, such as 姓名=客户; may be given several times.")
        ),
    ] = ()
    column: Annotated[str | None, Parameter(help=_("The column with the numbers: its name, or its place from 1."))] = (
        None
    )
    encoding: Annotated[str | None, Parameter(help=_("The list's encoding, when the found one is wrong."))] = None
    sheet: Annotated[str | None, Parameter(help=_("The sheet of a workbook: its name, or its place from 1."))] = None
    exclude: Annotated[
        tuple[Path, ...], Parameter(negative="", help=_("A list of people to leave out; may be given several times."))
    ] = ()
    only: Annotated[
        tuple[Path, ...],
        Parameter(negative="", help=_("Send to nobody who is not on this list; may be given several times.")),
    ] = ()
    campaign: Annotated[str | None, Parameter(help=_("A name for this campaign."))] = None
    add_to: Annotated[
        str | None,
        Parameter(
            help=_(
                "Add these people to a campaign, with its text: its repaired rejects, or more. "
                "Who was refused there may come again; nobody is sent to twice."
            )
        ),
    ] = None
    signature: Annotated[str | None, Parameter(help=_("Your brand, as the gateway knows it."))] = None
    opt_out: Annotated[str | None, Parameter(help=_("The opt-out words to end the message with."))] = None
    kind: Annotated[
        str | None,
        Parameter(help=_("marketing or notice: a marketing text must say how to get no more of them (see --opt-out).")),
    ] = None
    checkcontent: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help=_("Have the gateway look for forbidden words in every request.")
        ),
    ] = False
    max_per_number: Annotated[
        str | None,
        Parameter(help=_("Leave out who got so many messages lately, such as 2/7d: two in seven days.")),
    ] = None
    batch_size: Annotated[int | None, Parameter(help=_("Recipients in one request."))] = None
    limit: Annotated[
        int | None,
        Parameter(
            validator=Number(gte=1), help=_("Plan all, but release only so many recipients now, in whole batches.")
        ),
    ] = None
    allow_partial: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help=_("When the points do not reach: send what they reach for, whole batches."),
        ),
    ] = False
    ignore_reserve: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help=_("Spend also the points that other unfinished campaigns need.")
        ),
    ] = False
    wait: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help=_("When points, gateway or journal are not there: wait until they are, and go on (see [wait])."),
        ),
    ] = False
    test: Annotated[
        tuple[str, ...],
        Parameter(negative="", help=_("First send the text to this number of yours; may be given several times.")),
    ] = ()
    dry_run: Annotated[
        bool, Parameter(negative="", show_default=False, help=_("Do everything but send; no campaign is made."))
    ] = False
    again: Annotated[
        bool, Parameter(negative="", show_default=False, help=_("Send it once more although this very order was sent."))
    ] = False
