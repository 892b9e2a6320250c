"""The commands and their words. What they need is imported when they run: `xinshi --help` loads none of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from engine import __version__
from engine.cli.out import complain
from engine.cli.words import Common, Order
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.pipeline import Pipeline

app = App(
    name="xinshi",
    version=__version__,
    help="Bulk SMS through 企业信使 gateways: nobody twice, nobody lost, every point accounted for.",
    help_epilogue="Exit codes: 0 all accepted · 2 usage or settings · 3 some refused · 4 doubts open · "
    "5 refused before sending · 75 paused, run again · 130/143 stopped",
)
_NONE = Common()


@app.command
def demo(*, rows: Annotated[int, Parameter(validator=Number(gte=1))] = 200_000, common: Common = _NONE) -> int:
    """Show the whole way on this machine: a simulated gateway, a generated list. No account is needed.

    Parameters
    ----------
    rows
        How many rows the generated customer list has.
    """
    from engine.cli import demo as page

    return page.run(rows, common)


@app.command
def check(*, common: Common = _NONE) -> int:
    """Check settings, login, balance, journal and disk. Sends nothing."""
    from engine.cli import commands

    return commands.check(common)


@app.command
def plan(file: Path, /, *files: Path, order: Order | None = None, common: Common = _NONE) -> int:
    """Show what `send` would do. Nothing is sent; only the rows it would leave out are listed in a file.

    Parameters
    ----------
    file
        The customer list: CSV, Excel (.xlsx, .xls, .ods), a .gz or .zip of CSVs, a folder, or - for standard input.
    files
        More of them; who stands in two is sent to once.
    """
    order = order or Order()
    with _reading([file, *files], order) as reading:
        from engine.cli import commands

        return commands.plan([file, *files], order, common, reading)


@app.command
def send(
    file: Path,
    /,
    *files: Path,
    yes: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    plan: str | None = None,
    order: Order | None = None,
    common: Common = _NONE,
) -> int:
    """Plan, confirm, and send. The same order given again goes on where it stopped; it is never sent twice.

    Parameters
    ----------
    file
        The customer list: CSV, Excel (.xlsx, .xls, .ods), a .gz or .zip of CSVs, a folder, or - for standard input.
    files
        More of them; who stands in two is sent to once.
    yes
        Do not ask.
    plan
        Send only if the plan hash is this one.
    """
    order = order or Order()
    with _reading([file, *files], order) as reading:
        from engine.cli import commands

        return commands.send([file, *files], order, common, reading, yes=yes, signed=plan)


@app.command
def run(
    campaign: str,
    /,
    *,
    limit: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    requests_per_second: float | None = None,
    in_flight: int | None = None,
    allow_partial: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    common: Common = _NONE,
) -> int:
    """Send or resume what is planned in a campaign. Asks nothing.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    limit
        Release only so many recipients now.
    requests_per_second
        The pace; 0: no limit.
    in_flight
        How many requests may be under way at once.
    allow_partial
        When the points do not reach: send what they reach for.
    """
    from engine.cli import commands

    order = Order(
        limit=limit, allow_partial=allow_partial, requests_per_second=requests_per_second, in_flight=in_flight
    )
    return commands.run(campaign, order, common)


@app.command
def status(campaign: str | None = None, /, *, common: Common = _NONE) -> int:
    """Show a campaign, or all of them.

    Parameters
    ----------
    campaign
        Its name; without one, all campaigns.
    """
    from engine.cli import commands

    return commands.status(campaign, common)


@app.command
def audit(campaign: str, /, *, truth: str | None = None, common: Common = _NONE) -> int:
    """Prove from the journal that nobody was reached twice, nobody is lost and every point is accounted for.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    truth
        The address of a simulator, to compare with what it really accepted.
    """
    from engine.cli import commands

    return commands.audit(campaign, truth, common)


@app.command
def why(number: str, /, *, common: Common = _NONE) -> int:
    """Show what happened to one number: file, line, batch, attempts, or why it was left out.

    Parameters
    ----------
    number
        A mobile number, in any usual spelling.
    """
    from engine.cli import commands

    return commands.why(number, common)


@app.command
def pause(campaign: str, /, *, common: Common = _NONE) -> int:
    """Send nothing more of a campaign for now; answers under way are awaited.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    """
    from engine.cli import commands

    return commands.steer("pause", campaign, common)


@app.command
def resume(campaign: str, /, *, common: Common = _NONE) -> int:
    """End a pause. A process that waits goes on; without one, `run` sends the rest.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    """
    from engine.cli import commands

    return commands.steer("resume", campaign, common)


@app.command
def cancel(campaign: str, /, *, common: Common = _NONE) -> int:
    """Never send what has not started of a campaign.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    """
    from engine.cli import commands

    return commands.steer("cancel", campaign, common)


@app.command
def balance(*, common: Common = _NONE) -> int:
    """Ask the gateway for the points left."""
    from engine.cli import commands

    return commands.balance(common)


@app.command
def keywords(text: str, /, *, common: Common = _NONE) -> int:
    """Ask the gateway whether a text holds forbidden words. Sends nothing.

    Parameters
    ----------
    text
        The text, or - to read it from standard input.
    """
    from engine.cli import commands

    return commands.keywords(text, common)


@app.command
def track(
    *,
    once: Annotated[bool, Parameter(negative="")] = False,
    replay: Annotated[bool, Parameter(negative="")] = False,
    common: Common = _NONE,
) -> int:
    """Read delivery reports and replies until Ctrl-C. While a campaign is being sent, its process does it by itself.

    Parameters
    ----------
    once
        Read until nothing is waiting, then end.
    replay
        Read kept answers again that could not be read; without --once nothing else.
    """
    from engine.cli import tracking

    return tracking.track(common, once=once, replay=replay)


optouts = App(name="optouts", help="Who is not to be sent to: people who asked for no more messages.")
app.command(optouts)


@optouts.command(name="add")
def optouts_add(number: str, /, *numbers: str, reason: str = "", common: Common = _NONE) -> int:
    """Send these people nothing any more, also in a campaign that is being sent now.

    Parameters
    ----------
    number
        A mobile number, in any usual spelling.
    numbers
        More of them.
    reason
        Why, in your words.
    """
    from engine.cli import tracking

    return tracking.add([number, *numbers], reason, common)


@optouts.command(name="remove")
def optouts_remove(number: str, /, *numbers: str, common: Common = _NONE) -> int:
    """Let these people get messages again.

    Parameters
    ----------
    number
        A mobile number, in any usual spelling.
    numbers
        More of them.
    """
    from engine.cli import tracking

    return tracking.remove([number, *numbers], common)


@optouts.command(name="import")
def optouts_import(file: Path, /, *, column: str | None = None, reason: str = "", common: Common = _NONE) -> int:
    """Send everybody in a list nothing any more.

    Parameters
    ----------
    file
        A list (CSV), or one number a line.
    column
        The column with the numbers: its name, or its place from 1.
    reason
        Why, in your words.
    """
    from engine.cli import tracking

    return tracking.import_(file, column, reason, common)


@optouts.command(name="list")
def optouts_list(*, common: Common = _NONE) -> int:
    """Show everybody who has opted out, with full numbers."""
    from engine.cli import tracking

    return tracking.listing(common)


def _reading(files: Sequence[Path], order: Order) -> Pipeline:
    """Begin to read the list before the libraries of the sender are loaded: both take most of a second."""
    from engine.pipeline import Pipeline

    return Pipeline(
        files,
        column=order.column,
        encoding=order.encoding,
        sheet=order.sheet,
        exclude=order.exclude,
        only=order.only,
    )


@app.command
def settle(
    campaign: str,
    /,
    *,
    batch: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    assume: str | None = None,
    reason: str = "",
    common: Common = _NONE,
) -> int:
    """Settle what is in doubt in a campaign: by delivery reports, by the balance, or by your word. Sends nothing.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    batch
        The batch your word is about.
    assume
        Your word: taken, or not-taken (then it is sent again).
    reason
        How you know; it is kept with your name.
    """
    from engine.cli import settling

    if assume is not None or batch is not None:
        return settling.assume(campaign, batch=batch, what=assume or "", reason=reason, common=common)
    return settling.settle(campaign, common)


@app.command(help_flags=[])
def simulator(*words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]) -> int:
    """Run the gateway on loopback, with faults. `xinshi simulator --help` lists its words."""
    from engine.simulator.__main__ import main as serve

    return serve(words)


def answer(words: Sequence[str]) -> int:
    """The exit code of one command line. The only place that ends an error."""
    try:
        result: Any = app(list(words), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        known = list(words[:1]) if words and words[0] in app else []
        complain(f"xinshi: {error}\nTry: {' '.join(['xinshi', *known, '--help'])}\n")
        return 2
    except EngineError as error:
        from engine.cli.exits import code_of_error

        complain(f"xinshi: {error}\n")
        return code_of_error(error)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  the last door: people get a sentence, the log the rest
        from engine.telemetry import logger, mask

        logger.debug("internal error", exc_info=error)
        complain(
            mask(f"xinshi: internal error, {type(error).__name__}: {error}\nNothing is lost: `run` goes on. ")
            + "With -vv the details are shown; please report them.\n"
        )
        return 1
    return result if isinstance(result, int) else 0
