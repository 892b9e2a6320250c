"""One function a command: settings in, one call of the engine, a page or JSON out, an exit code."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import sys
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

from engine.beside import audit_campaign, order_owner
from engine.beside import status as look
from engine.beside import why as trace
from engine.cli import out, pages
from engine.cli.exits import AGAIN, INTERNAL, OK, REFUSED_BEFORE, SOME_REFUSED, code_of_error, code_of_summary
from engine.cli.progress import showing
from engine.cli.words import Common, Order
from engine.errors import EngineError, PlanError
from engine.gate import Gate
from engine.ledger.audit import Truth
from engine.ledger.summary import CampaignSummary
from engine.live import Live, Stop
from engine.model import Balance
from engine.pipeline import Pipeline
from engine.plans import Plan, SendOrder, preview
from engine.runtime import Engine, run_in_loop, unless_set
from engine.settings import Settings, load_settings
from engine.telemetry import configure_logging

_STANDARD_INPUT = Path("-")


def check(common: Common) -> int:
    """Settings, journal, disk, SQLite, login and balance; a line each."""
    settings = _settings(common, warns=True)
    account = settings.for_account(common.account)
    problems: list[EngineError] = []
    balances: list[Balance] = []

    async def main() -> int:
        async with Gate.open(settings, common.account) as gate:
            try:
                await look(settings, None)
            except EngineError as error:
                problems.append(error)
            try:
                balances.append(await gate.balance())
            except EngineError as error:
                problems.append(error)
        return code_of_error(problems[0]) if problems else OK

    code = run_in_loop(main())
    if common.json:
        out.data(
            {
                "ok": code == OK,
                "settings": None if settings.file is None else str(settings.file),
                "journal": str(settings.journal_path),
                "disk_free_bytes": _free_bytes(settings.journal_path),
                "sqlite": sqlite3.sqlite_version,
                "account": account.account,
                "url": account.url,
                "profile": account.profile,
                "balance": pages.balance_json(balances[0]) if balances else None,
                "problems": [str(problem) for problem in problems],
            }
        )
        return code
    there = "" if settings.journal_path.exists() else " (not there yet)"
    lines: list[pages.Line] = [
        ("settings", str(settings.file or "no file: the defaults"), ""),
        ("journal", f"{settings.journal_path}{there}", ""),
        ("disk", f"{_free_bytes(settings.journal_path) / 1e9:,.1f} GB free", ""),
        (
            "SQLite",
            f"{sqlite3.sqlite_version}; one connection writes, so its old write-ahead log bug cannot strike",
            "",
        ),
        ("account", f"{account.account} at {account.url}, profile {account.profile}", ""),
    ]
    if balances:
        lines += [("login", "works", ""), *pages.balance_lines(balances[0])]
    lines += [("PROBLEM", str(problem), "") for problem in problems]
    out.page(pages.grid(lines))
    return code


def plan(files: Sequence[Path], order: Order, common: Common, reading: Pipeline) -> int:
    """The preview."""
    settings = _settings(common, order)
    wanted = _order(files, order)
    live = _announcing(Live(), common)
    made: list[Plan] = []

    async def main() -> int:
        async with _stopping(common, live) as (stop, caught):
            with showing(live, _is_lively(common)):
                found = await unless_set(stop.gently, preview(settings, common.account, wanted, reading, live))
        if found is None:
            reading.end()
            return 128 + caught[0]
        made.append(found)
        return OK

    code = run_in_loop(main())
    if made and common.json:
        out.data(pages.plan_json(made[0]))
    elif made:
        out.page(pages.plan_page(made[0]))
        out.tell(common, pages.plan_hint(made[0]))
    return code


def send(
    files: Sequence[Path], order: Order, common: Common, reading: Pipeline, *, yes: bool, signed: str | None
) -> int:
    """Plan, confirm, run; or go on with the campaign this order already is."""
    if not yes and signed is None and (not sys.stdin.isatty() or _STANDARD_INPUT in files):
        raise PlanError("there is nobody to ask here; add --yes, or --plan HASH with the hash `xinshi plan` prints")
    settings = _settings(common, order)
    wanted = _order(files, order, signed)
    live = _announcing(Live(), common)

    async def main() -> int:
        async with Engine.open(settings, common.account) as engine, _stopping(common, live) as (stop, caught):
            record = await unless_set(stop.gently, engine.known(wanted, reading))
            if record is not None:
                out.tell(common, _known_already(record.name, wanted.campaign))
            elif not caught:
                agreed = _agreed_plan(engine, wanted, common, reading, live, asks=not yes and signed is None)
                if (made := await unless_set(stop.gently, agreed)) is not None:
                    record = await engine.publish(made)
            if record is None:
                reading.end()
                out.tell(common, "Nothing was sent; no campaign was made.\n")
                return 128 + caught[0] if caught else REFUSED_BEFORE
            with showing(live, _is_lively(common)):
                summary = await engine.run(
                    record, live=live, stop=stop, allow_partial=wanted.allow_partial, limit=wanted.limit
                )
        return _finish(summary, common, settings, caught)

    return run_in_loop(main())


def run(campaign: str, order: Order, common: Common) -> int:
    """Resume a campaign."""
    settings = _settings(common, order)
    live = _announcing(Live(), common)

    async def main() -> int:
        async with Engine.open(settings, common.account) as engine, _stopping(common, live) as (stop, caught):
            record = await engine.journal.find_campaign(name=campaign)
            if record is None:
                raise PlanError(f"there is no campaign named {campaign!r}; `xinshi status` lists them")
            with showing(live, _is_lively(common)):
                summary = await engine.run(
                    record, live=live, stop=stop, allow_partial=order.allow_partial, limit=order.limit
                )
        return _finish(summary, common, settings, caught)

    return run_in_loop(main())


def status(campaign: str | None, common: Common) -> int:
    """One campaign in full, or all in a table."""
    settings = _settings(common)
    found: list[CampaignSummary] = []

    async def main() -> int:
        found.extend(await look(settings, campaign))
        return OK

    run_in_loop(main())
    if common.json:
        out.data(found[0].as_json() if campaign is not None else [each.as_json() for each in found])
    elif campaign is not None:
        out.page(pages.summary_page(found[0], words=_same_journal(common)))
    else:
        out.page(pages.campaigns_page(found, journal=settings.journal_path))
    return OK


def audit(campaign: str, truth_url: str | None, common: Common) -> int:
    """The laws, one by one. Exit code 1 when one is broken."""
    settings = _settings(common)
    truth = None if truth_url is None else _truth(truth_url)

    async def main() -> int:
        found = await audit_campaign(settings, common.account, campaign, truth=truth)
        if common.json:
            out.data(pages.audit_json(found))
        else:
            out.page(pages.audit_page(found))
        return OK if found.all_hold else INTERNAL

    return run_in_loop(main())


def _truth(url: str) -> Truth:
    """What a simulator on loopback says it accepted."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/_simulator/truth", timeout=60) as answer:  # noqa: S310
            said = json.load(answer)
        return Truth(mobiles=said["mobiles"], charges=Decimal(str(said["charges"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlanError(f"--truth {url}: no simulator answers there ({error})") from error


def why(number: str, common: Common) -> int:
    """What is known of one number."""
    settings = _settings(common)

    async def main() -> int:
        traces = await trace(settings, number)
        if common.json:
            out.data([pages.trace_json(each) for each in traces])
        else:
            out.page(pages.traces_page(number, traces))
        return OK

    return run_in_loop(main())


def steer(verb: str, campaign: str, common: Common) -> int:
    """Pause, resume or cancel: through the process that owns the journal, or directly."""
    settings = _settings(common)

    async def main() -> int:
        word = await order_owner(settings, verb, campaign)
        if common.json:
            out.data({"done": word.done, "words": word.words})
        else:
            out.page(word.words + "\n")
        return OK if word.done else AGAIN

    return run_in_loop(main())


def balance(common: Common) -> int:
    """The points left."""
    settings = _settings(common)

    async def main() -> int:
        async with Gate.open(settings, common.account) as gate:
            found = await gate.balance()
        if common.json:
            out.data(pages.balance_json(found))
        else:
            out.page(pages.balance_page(found))
        return OK

    return run_in_loop(main())


def keywords(text: str, common: Common) -> int:
    """What the gateway says about a text. Exit code 3 when it found forbidden words."""
    settings = _settings(common)
    asked = sys.stdin.read() if text == "-" else text

    async def main() -> int:
        async with Gate.open(settings, common.account) as gate:
            answer = await gate.check_keywords(asked)
        if common.json:
            out.data({"verdict": answer.verdict.value, "message": answer.message})
        else:
            out.page(pages.keywords_line(answer.verdict.value, answer.message))
        return OK if answer.verdict.value != "forbidden" else SOME_REFUSED

    return run_in_loop(main())


def _settings(common: Common, order: Order | None = None, *, warns: bool = False) -> Settings:
    configure_logging(-1 if common.quiet else common.verbose, json_lines=False, stream=sys.stderr)
    pace = "pace" if common.account == "default" else f"accounts.{common.account}.pace"
    overrides: dict[str, object] = {"journal.url": common.journal}
    if order is not None:
        overrides["batch.max_recipients"] = order.batch_size
        overrides[f"{pace}.requests_per_second"] = order.requests_per_second
        overrides[f"{pace}.in_flight"] = order.in_flight
    if common.account != "default":  # a flag for the pace of an account that is not there would seem to define one
        load_settings(common.config, overrides={}).for_account(common.account)
    settings = load_settings(common.config, overrides=overrides)
    for warning in settings.warnings if order is not None or warns else ():
        out.tell(common, f"Note: {warning}\n")
    return settings


def _order(files: Sequence[Path], order: Order, signed: str | None = None) -> SendOrder:
    return SendOrder(
        files=tuple(files),
        text=_text(order),
        column=order.column,
        encoding=order.encoding,
        campaign=order.campaign,
        signature=order.signature,
        opt_out=order.opt_out,
        allow_partial=order.allow_partial,
        again=order.again,
        limit=order.limit,
        signed_off=signed,
    )


def _text(order: Order) -> str:
    if (order.text is None) == (order.text_file is None):
        raise PlanError("give the message once: with --text, or with --text-file FILE (- reads standard input)")
    if order.text is not None:
        return order.text
    assert order.text_file is not None
    if str(order.text_file) == "-":
        return sys.stdin.read()
    try:
        return order.text_file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise PlanError(f"--text-file {order.text_file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"--text-file {order.text_file}: not UTF-8 at byte {error.start}; save it as UTF-8") from error


def _known_already(name: str, wanted: str | None) -> str:
    unused = f" The name {wanted!r} is not used." if wanted not in (None, name) else ""
    return (
        f"This order is known: it is the campaign {name!r}.{unused} What is left of it goes out now, and nothing twice.\n"
        "To send all of it once more on purpose, add --again.\n"
    )


async def _agreed_plan(
    engine: Engine, order: SendOrder, common: Common, reading: Pipeline, live: Live, *, asks: bool
) -> Plan | None:
    """A plan that somebody agrees to; None, and nothing is left of it, when nobody does."""
    with showing(live, _is_lively(common)):
        made = await engine.plan(order, reading, live)
    try:
        if not common.json:
            out.tell(common, pages.plan_page(made))
        if asks:
            out.ask(f"Send to {_how_many(made, order)} people now? [y/N] ")
        if not asks or (await _typed_line()).strip().lower() in ("y", "yes"):
            return made
    except BaseException:  # put in order, then raised on
        await engine.discard(made)
        raise
    await engine.discard(made)
    return None


def _how_many(made: Plan, order: SendOrder) -> str:
    everybody = made.tally.recipients
    return f"{everybody:,}" if order.limit is None or order.limit >= everybody else f"{order.limit:,} of {everybody:,}"


async def _typed_line() -> str:
    """A line from the terminal. Not in a thread: one that waits for a key cannot be ended by Ctrl-C."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()


def _finish(summary: CampaignSummary, common: Common, settings: Settings, caught: list[int]) -> int:
    if common.json:
        out.data(summary.as_json())
    elif not common.quiet:
        out.page(pages.summary_page(summary, words=_same_journal(common), journal=settings.journal_path))
    return code_of_summary(summary, signal=caught[0] if caught else None)


@asynccontextmanager
async def _stopping(common: Common, live: Live) -> AsyncIterator[tuple[Stop, list[int]]]:
    """The first SIGINT or SIGTERM asks to stop gently, the second at once. The list holds those that came."""
    stop = Stop(gently=asyncio.Event(), now=asyncio.Event())
    caught: list[int] = []
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        caught.append(number)
        if stop.gently.is_set():
            stop.now.set()
        else:
            waits = "waiting for the answers under way; once more to stop at once." if live.recipients else "…"
            out.tell(common, f"\nStopping: {waits}\n")
            stop.gently.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for each in numbers:
        loop.add_signal_handler(each, on_signal, each)
    try:
        yield stop, caught
    finally:
        for each in numbers:
            loop.remove_signal_handler(each)


def _free_bytes(path: Path) -> int:
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _announcing(live: Live, common: Common) -> Live:
    """The same, telling what takes long where no display shows it."""
    if not _is_lively(common):
        live.notice = lambda words: out.tell(common, f"{words}\n")
    return live


def _is_lively(common: Common) -> bool:
    return sys.stderr.isatty() and not common.quiet and not common.json


def _same_journal(common: Common) -> list[str]:
    """The flags with which another command finds this journal and account."""
    given = {"--config": common.config, "--journal": common.journal}
    words = [word for flag, value in given.items() if value is not None for word in (flag, str(value))]
    return words if common.account == "default" else [*words, "--account", common.account]
