"""The commands and their words. What they need is imported when they run: `xinshi --help` loads none of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from engine import __version__
from engine.cli.front import front_page
from engine.cli.out import complain, page
from engine.cli.spoken import Commands, Formatter, complaint
from engine.cli.words import Common, Order, When
from engine.errors import EngineError, PlanError, SettingsError
from engine.language import N_, _, chosen, speaking, spoken

if TYPE_CHECKING:
    from engine.orders.pipeline import Pipeline

COMMANDS = Commands()
_NONE = Common()


@COMMANDS.add()
def demo(*, rows: Annotated[int, Parameter(validator=Number(gte=1))] = 200_000, common: Common = _NONE) -> int:
    """Show the whole way on this machine: a simulated gateway, a generated list. No account is needed.

    Parameters
    ----------
    rows
        How many rows the generated customer list has.
    """
    from engine.cli import demo as page

    return page.run(rows, common)


@COMMANDS.add()
def check(
    *, notify: Annotated[bool, Parameter(negative="", show_default=False)] = False, common: Common = _NONE
) -> int:
    """Check settings, login, balance, journal and disk. Sends nothing.

    Parameters
    ----------
    notify
        Also send a notification to try, every way that [notify] names.
    """
    from engine.cli import checking

    return checking.check(common, notify=notify)


@COMMANDS.add()
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


@COMMANDS.add()
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


@COMMANDS.add()
def run(
    campaign: str,
    /,
    *,
    limit: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    allow_partial: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    wait: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    when: When | None = None,
    common: Common = _NONE,
) -> int:
    """Send or resume what is planned in a campaign. Asks nothing.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    limit
        Release only so many recipients now.
    allow_partial
        When the points do not reach: send what they reach for.
    wait
        When points, gateway or journal are not there: wait until they are, and go on (see [wait]).
    """
    from engine.cli import commands

    order = Order(**vars(when or When()), limit=limit, allow_partial=allow_partial, wait=wait)
    return commands.run(campaign, order, common)


@COMMANDS.add()
def status(campaign: str | None = None, /, *, common: Common = _NONE) -> int:
    """Show a campaign, or all of them.

    Parameters
    ----------
    campaign
        Its name; without one, all campaigns.
    """
    from engine.cli import looking

    return looking.status(campaign, common)


@COMMANDS.add()
def audit(campaign: str, /, *, truth: str | None = None, common: Common = _NONE) -> int:
    """Prove from the journal that nobody was reached twice, nobody is lost and every point is accounted for.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    truth
        The address of a simulator, to compare with what it really accepted.
    """
    from engine.cli import looking

    return looking.audit(campaign, truth, common)


@COMMANDS.add()
def why(number: str, /, *, common: Common = _NONE) -> int:
    """Show what happened to one number: file, line, batch, attempts, or why it was left out.

    Parameters
    ----------
    number
        A mobile number, in any usual spelling.
    """
    from engine.cli import looking

    return looking.why(number, common)


@COMMANDS.add()
def pause(campaign: str, /, *, common: Common = _NONE) -> int:
    """Send nothing more of a campaign for now; answers under way are awaited.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    """
    from engine.cli import looking

    return looking.steer("pause", campaign, common)


@COMMANDS.add()
def resume(campaign: str, /, *, common: Common = _NONE) -> int:
    """End a pause. A process that waits goes on; without one, `run` sends the rest.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    """
    from engine.cli import looking

    return looking.steer("resume", campaign, common)


@COMMANDS.add()
def pace(
    campaign: str,
    /,
    *,
    requests_per_second: Annotated[float | None, Parameter(validator=Number(gte=0, lte=10_000))] = None,
    numbers_per_second: Annotated[float | None, Parameter(validator=Number(gte=0, lte=10_000_000))] = None,
    in_flight: Annotated[int | None, Parameter(validator=Number(gte=1, lte=1_000))] = None,
    common: Common = _NONE,
) -> int:
    """Show how fast a campaign is being sent and what holds it back, or change the pace until its process ends.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    requests_per_second
        From the next request on; 0: no limit. To keep a pace, set it under [pace] in the settings, or give it to `send` or `run`:
        there it stays with the campaign.
    numbers_per_second
        From the next request on; 0: no limit.
    in_flight
        How many requests may be under way at once.
    """
    from engine.cli import looking

    given = {
        "requests_per_second": requests_per_second,
        "numbers_per_second": numbers_per_second,
        "in_flight": in_flight,
    }
    words = [f"{name}={value}" for name, value in given.items() if value is not None]
    return looking.steer("pace", campaign, common, words)


@COMMANDS.add()
def cancel(campaign: str, /, *, common: Common = _NONE) -> int:
    """Never send what has not started of a campaign.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    """
    from engine.cli import looking

    return looking.steer("cancel", campaign, common)


@COMMANDS.add()
def balance(
    *,
    every: Annotated[bool, Parameter(name="--all", negative="", show_default=False)] = False,
    common: Common = _NONE,
) -> int:
    """Ask the gateway for the points left.

    Parameters
    ----------
    every
        Of every account of the settings.
    """
    from engine.cli import gateway

    return gateway.balance(common, every=every)


@COMMANDS.add()
def keywords(text: str | None = None, /, *, campaign: str | None = None, common: Common = _NONE) -> int:
    """Ask the gateway whether a text holds forbidden words. Sends nothing.

    Parameters
    ----------
    text
        The text, or - to read it from standard input.
    campaign
        Instead of a text: find out which cells brought forbidden words into the texts of this campaign that were refused.
    """
    if (text is None) == (campaign is None):
        raise PlanError(_("name a text, or a campaign with --campaign"))
    if campaign is not None:
        from engine.cli import commands

        return commands.explain_refusals(campaign, common)
    from engine.cli import gateway

    assert text is not None
    return gateway.keywords("-" if text == "./-" else text, common)


@COMMANDS.add()
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


@COMMANDS.add("optouts", "add")
def optouts_add(number: str, /, *numbers: str, reason: str = "", scope: str = "account", common: Common = _NONE) -> int:
    """Send these people nothing any more, also in a campaign that is being sent now.

    Parameters
    ----------
    number
        A mobile number, in any usual spelling.
    numbers
        More of them.
    reason
        Why, in your words.
    scope
        account: from this account; all: from every account of this journal.
    """
    from engine.cli import optouts as acts

    return acts.add([number, *numbers], reason, scope, common)


@COMMANDS.add("optouts", "remove")
def optouts_remove(
    number: str, /, *numbers: str, reason: str = "", scope: str = "account", common: Common = _NONE
) -> int:
    """Let these people get messages again.

    Parameters
    ----------
    number
        A mobile number, in any usual spelling.
    numbers
        More of them.
    reason
        Why, in your words; it is kept.
    scope
        account: those from this account; all: those from every account.
    """
    from engine.cli import optouts as acts

    return acts.remove([number, *numbers], reason, scope, common)


@COMMANDS.add("optouts", "import")
def optouts_import(
    file: Path | None = None,
    /,
    *,
    column: str | None = None,
    from_dead: str | None = None,
    codes: str | None = None,
    reason: str = "",
    scope: str = "account",
    common: Common = _NONE,
) -> int:
    """Send everybody in a list nothing any more; or everybody whose number a campaign found dead.

    Parameters
    ----------
    file
        A list (CSV), or one number a line.
    column
        The column with the numbers: its name, or its place from 1.
    from_dead
        Instead of a file: the campaign whose delivery reports say that a number is not in use (空号).
    codes
        With --from-dead: the error codes that say so, such as MK:0001; by default those of the profile.
    reason
        Why, in your words.
    scope
        Of a list: account, from this account; all, from every account of this journal.
    """
    if (file is None) == (from_dead is None):
        raise PlanError(_("name a list, or a campaign with --from-dead"))
    if from_dead is not None:
        from engine.cli import results

        return results.suppress_dead(from_dead, codes, reason, common)
    from engine.cli import optouts as acts

    assert file is not None
    return acts.import_(file, column, reason, scope, common)


@COMMANDS.add("optouts", "export")
def optouts_export(file: Path, /, *, common: Common = _NONE) -> int:
    """Write everybody who has opted out to a CSV that `optouts import` reads again.

    Parameters
    ----------
    file
        The file to write (only you may read it), or - for standard output.
    """
    from engine.cli import optouts as acts

    return acts.export(file, common)


@COMMANDS.add("optouts", "list")
def optouts_list(*, common: Common = _NONE) -> int:
    """Show everybody who has opted out, with full numbers."""
    from engine.cli import optouts as acts

    return acts.listing(common)


@COMMANDS.add()
def consume(
    source: str,
    /,
    *,
    once: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    outcomes: str | None = None,
    at: str | None = None,
    window: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    keep_points: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    signature: str | None = None,
    opt_out: str | None = None,
    batch_size: int | None = None,
    requests_per_second: float | None = None,
    numbers_per_second: float | None = None,
    in_flight: int | None = None,
    common: Common = _NONE,
) -> int:
    """Send what a queue brings, until Ctrl-C: Redis Streams, RabbitMQ or Kafka.

    Parameters
    ----------
    source
        A name from [queues.NAME] in the settings, or an address: redis://host:port/stream?group=NAME, amqp://host:port/queue,
        kafka://host:port/topic?group=NAME. A password stands in the settings or in a variable, never here.
    once
        End when the queue is empty and everything is sent.
    outcomes
        The stream, queue or topic of the same broker in which somebody wants to know what became of everybody.
    at
        Send nothing before then: 2026-11-23 09:00, or 09:00 for the next time it is nine (China time).
    window
        Send only within these hours: 08:30-20:00, "Mon-Fri 08:30-12:00,13:30-20:00"; may be given several times; any: no hours.
        By default those of [queues.NAME].
    keep_points
        Points that stay: end before the balance falls below.
    signature
        Your brand, as the gateway knows it.
    opt_out
        The opt-out words to end messages with.
    batch_size
        Recipients in one request.
    requests_per_second
        The pace; 0: no limit.
    numbers_per_second
        How many numbers a second, over all requests; 0: no limit.
    in_flight
        How many requests may be under way at once.
    """
    from engine.cli import consuming

    order = Order(
        at=at,
        window=window,
        keep_points=keep_points,
        signature=signature,
        opt_out=opt_out,
        batch_size=batch_size,
        requests_per_second=requests_per_second,
        numbers_per_second=numbers_per_second,
        in_flight=in_flight,
    )
    return consuming.consume(source, order, common, once=once, outcomes=outcomes or "")


def _reading(files: Sequence[Path], order: Order) -> Pipeline:
    """Begin to read the list before the libraries of the sender are loaded: both take most of a second."""
    from engine.orders.pipeline import Pipeline

    return Pipeline(
        files,
        column=order.column,
        encoding=order.encoding,
        sheet=order.sheet,
        exclude=order.exclude,
        only=order.only,
    )


@COMMANDS.add()
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


@COMMANDS.add()
def export(
    campaign: str,
    /,
    *,
    output: Path,
    format: str | None = None,
    state: str | None = None,
    columns: str | None = None,
    common: Common = _NONE,
) -> int:
    """Write the list again with what became of every row: state, task id, delivery, times, reason, reply.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    output
        The file to write (only you may read it), or - for standard output.
    format
        csv (for Excel), jsonl or parquet; by default what the file is called.
    state
        Only these, such as undelivered,unreported,refused: a list that can be sent to again.
    columns
        Only these columns, in this order, by name: of your list, and state, delivery, task_id, submitted, answered, reported,
        reason, replied, reply, message, number, list, line, batch, exclusion, code, scheduled.
    """
    from engine.cli import results

    return results.export(campaign, output, format, state, columns, common)


@COMMANDS.add()
def report(
    campaign: str,
    /,
    *,
    html: Path | None = None,
    by: str | None = None,
    common: Common = _NONE,
) -> int:
    """Show what a campaign came to: delivery over time, undelivered by reason, points, doubts. No full number is in it.

    Parameters
    ----------
    campaign
        Its name, as `status` shows it.
    html
        Write it as one page of HTML, which shows and prints without anything else.
    by
        Count also by the values of this column of the list, such as a city.
    """
    from engine.cli import results

    return results.report(campaign, html, by, common)


@COMMANDS.add()
def forget(
    *,
    older_than: str,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    yes: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    common: Common = _NONE,
) -> int:
    """Remove numbers and texts of campaigns that ended long ago, for good. Their counts and all opt-outs stay.

    Parameters
    ----------
    older_than
        How long ago they ended at least: 180d, 26w, 6m, 2y.
    dry_run
        Show what would be removed, and remove nothing.
    yes
        Do not ask.
    """
    from engine.cli import results

    return results.forget(older_than, dry_run=dry_run, yes=yes, common=common)


@COMMANDS.add()
def backup(file: Path, /, *, common: Common = _NONE) -> int:
    """Copy the journal, also while a campaign is being sent, and check the copy.

    Parameters
    ----------
    file
        Where the copy goes (only you may read it). What is there already is not overwritten.
    """
    from engine.cli import results

    return results.backup(file, common)


@COMMANDS.add(help_flags=[])
def simulator(*words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]) -> int:
    """Run the gateway on loopback, with faults. `xinshi simulator --help` lists its words."""
    from engine.simulator.__main__ import main as serve

    return serve(words, program="xinshi simulator", say=_)


_ABOUT = N_("Bulk SMS through 企业信使 gateways: nobody twice, nobody lost, every point accounted for.")
_EXIT_CODES = N_(
    "Exit codes: 0 all accepted · 1 internal error, or an audit found a broken law · 2 usage or settings · "
    "3 some refused · 4 doubts open · "
    "5 refused before sending · 75 paused, run again · 130/143 stopped"
)
_GROUPS = {"optouts": N_("Who is not to be sent to: people who asked for no more messages.")}


def made() -> App:
    """The whole command line, with its help in the language spoken."""
    app = App(
        name="xinshi",
        version=__version__,
        help=_(_ABOUT),
        help_epilogue=_(_EXIT_CODES),
        help_format="plaintext",  # a reader of Markdown takes a third of the time of --help
        default_parameter=Parameter(show_default=lambda value: str(value) if value else None),
        help_formatter=None if spoken() == "en" else Formatter(),
    )
    return COMMANDS.put(app, {name: App(name=name, help=_(words)) for name, words in _GROUPS.items()})


def _with_dashes(words: Sequence[str]) -> list[str]:
    """A dash alone is standard input or output, and the parser takes it for an option; as a path, ./- is the same."""
    return ["./-" if word == "-" else word for word in words]


def _without_language(words: Sequence[str]) -> tuple[str | None, list[str]]:
    """What --lang says, wherever it stands, and the other words: the parser is made in that language."""
    end = words.index("--") if "--" in words else len(words)
    for at, word in enumerate(words[:end]):
        if word == "--lang" and at + 1 < end:
            return words[at + 1], [*words[:at], *words[at + 2 :]]
        if word.startswith("--lang="):
            return word.removeprefix("--lang="), [*words[:at], *words[at + 1 :]]
    return None, list(words)


def answer(words: Sequence[str]) -> int:
    """The exit code of one command line."""
    try:
        flag, words = _without_language(words)
        language = chosen(flag, os.environ)
    except SettingsError as error:
        complain(f"xinshi: {error}\n")
        return 2
    with speaking(language):
        if words in ([], ["--help"], ["-h"]):
            page(front_page(_(_ABOUT), COMMANDS.summaries() | _in_words(_GROUPS), _(_EXIT_CODES)))
            return 0
        return _answer(words)


def _in_words(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: _(text) for name, text in texts.items()}


def _answer(words: Sequence[str]) -> int:
    """The exit code of one command line. The only place that ends an error."""
    app = made()
    try:
        result: Any = app(_with_dashes(words), exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        known = list(words[:1]) if words and words[0] in app else []
        complain(
            _("xinshi: {error}\nTry: {command}\n").format(
                error=complaint(str(error)), command=" ".join(["xinshi", *known, "--help"])
            )
        )
        return 2
    except EngineError as error:
        from engine.cli.exits import code_of_error
        from engine.telemetry import logger

        code = code_of_error(error)
        logger.info("the command failed", extra={"error": type(error).__name__, "code": code})
        complain(f"xinshi: {error}\n")
        return code
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001  the last door: people get a sentence, the log the rest
        from engine.telemetry import logger, mask

        logger.debug("internal error", exc_info=error)
        complain(
            mask(
                _("xinshi: internal error, {kind}: {error}\nNothing is lost: `run` goes on. ").format(
                    kind=type(error).__name__, error=error
                )
            )
            + _("With -vv the details are shown; please report them.\n")
        )
        return 1
    return result if isinstance(result, int) else 0
