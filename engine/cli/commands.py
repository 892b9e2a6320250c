"""One function a command: settings in, one call of the engine, a page or JSON out, an exit code."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from engine.cli import pages
from engine.cli.exits import OK, REFUSED_BEFORE, SOME_REFUSED, code_of_error, code_of_summary
from engine.cli.progress import showing
from engine.cli.words import Common, Order
from engine.errors import EngineError, PlanError, SendRefused
from engine.ledger.summary import CampaignSummary, number
from engine.pipeline import Pipeline
from engine.runtime import Engine, Gate, Live, Plan, SendOrder, Stop, preview, run_in_loop
from engine.runtime import status as look
from engine.settings import Settings, load_settings
from engine.telemetry import configure_logging


def check(common: Common) -> int:
    """Settings, journal, disk, SQLite, login, balance and clock; a line each."""
    settings = _settings(common)
    lines = [
        ("settings", str(settings.file or "none: the defaults")),
        ("journal", f"{settings.journal_path}{'' if settings.journal_path.exists() else ' (not there yet)'}"),
        ("disk", f"{_free_bytes(settings.journal_path) / 1e9:,.1f} GB free"),
        ("SQLite", f"{sqlite3.sqlite_version}; one connection writes, so its old write-ahead log bug cannot strike"),
    ]
    problem: EngineError | None = None

    async def ask() -> int:
        nonlocal problem
        async with Gate.open(settings, common.account) as gate:
            lines.append(("account", f"{gate.account.account} at {gate.account.url}, profile {gate.profile.name}"))
            try:
                found = await gate.balance()
            except EngineError as error:
                problem = error
                lines.append(("gateway", f"PROBLEM: {error}"))
                return code_of_error(error)
        lines.append(("gateway", "login works"))
        lines.append(("balance", pages.balance_line(found)))
        return OK

    code = run_in_loop(ask())
    if common.json:
        _print_json({"ok": code == OK, **dict(lines)})
    else:
        sys.stdout.write(pages.table(lines))
    return code


def plan(file: Path, order: Order, common: Common, reading: Pipeline) -> int:
    """The preview."""
    settings = _settings(common, order)
    live = Live()

    async def work() -> Plan:
        with showing(live, _is_lively(common)):
            return await preview(settings, common.account, _order(file, order), reading, live)

    result: list[Plan] = []

    async def main() -> int:
        result.append(await work())
        return OK

    run_in_loop(main())
    if common.json:
        _print_json(pages.plan_json(result[0]))
    else:
        sys.stdout.write(pages.plan_page(result[0]))
    return OK


def send(file: Path, order: Order, common: Common, reading: Pipeline, *, yes: bool, signed: str | None) -> int:
    """Plan, confirm, run; or go on with the campaign this order already is."""
    if not yes and signed is None and not sys.stdin.isatty():
        raise PlanError("there is nobody to ask here; add --yes, or --plan HASH with the hash `xinshi plan` prints")
    settings = _settings(common, order)
    wanted = _order(file, order)
    live = Live()

    async def main() -> int:
        async with Engine.open(settings, common.account) as engine, _stopping() as (stop, caught):
            record = await engine.known(wanted, reading)
            if record is None:
                with showing(live, _is_lively(common)):
                    made = await engine.plan(wanted, reading, live)
                try:
                    agreed = await _agreed(made, common, stop, yes=yes, signed=signed)
                except BaseException:
                    await engine.discard(made)
                    raise
                if not agreed:
                    await engine.discard(made)
                    sys.stderr.write("Nothing was sent, nothing was stored.\n")
                    return 128 + caught[0] if caught else REFUSED_BEFORE
                record = await engine.publish(made)
            else:
                _tell(common, f"This order is the campaign {record.name!r} already; it goes on where it stopped.\n")
            with showing(live, _is_lively(common)):
                summary = await engine.run(
                    record, live=live, stop=stop, allow_partial=wanted.allow_partial, limit=wanted.limit
                )
        return _finish(summary, common, settings, caught)

    return run_in_loop(main())


def run(campaign: str, order: Order, common: Common) -> int:
    """Resume a campaign."""
    settings = _settings(common, order)
    live = Live()

    async def main() -> int:
        async with Engine.open(settings, common.account) as engine, _stopping() as (stop, caught):
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
        _print_json(found[0].as_json() if campaign is not None else [each.as_json() for each in found])
    elif campaign is not None:
        sys.stdout.write(pages.summary_page(found[0]))
    else:
        sys.stdout.write(pages.campaigns_page(found))
    return OK


def balance(common: Common) -> int:
    """The points left."""
    settings = _settings(common)

    async def main() -> int:
        async with Gate.open(settings, common.account) as gate:
            found = await gate.balance()
        if common.json:
            _print_json(
                {
                    "payinfo": found.payinfo,
                    "remaining": number(found.remaining),
                    "send_total": number(found.send_total),
                }
            )
        else:
            sys.stdout.write(pages.balance_line(found) + "\n")
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
            _print_json({"verdict": answer.verdict.value, "message": answer.message})
        else:
            sys.stdout.write(pages.keywords_line(answer.verdict.value, answer.message) + "\n")
        return OK if answer.verdict.value != "forbidden" else SOME_REFUSED

    return run_in_loop(main())


def _settings(common: Common, order: Order | None = None) -> Settings:
    configure_logging(-1 if common.quiet else common.verbose, json_lines=False, stream=sys.stderr)
    pace = "pace" if common.account == "default" else f"accounts.{common.account}.pace"
    overrides: dict[str, object] = {"journal.url": common.journal}
    if order is not None:
        overrides["batch.max_recipients"] = order.batch_size
        overrides[f"{pace}.requests_per_second"] = order.requests_per_second
        overrides[f"{pace}.in_flight"] = order.in_flight
    settings = load_settings(common.config, overrides=overrides)
    for warning in settings.warnings:
        _tell(common, f"Note: {warning}\n")
    return settings


def _order(file: Path, order: Order) -> SendOrder:
    return SendOrder(
        file=file,
        text=_text(order),
        column=order.column,
        encoding=order.encoding,
        campaign=order.campaign,
        signature=order.signature,
        opt_out=order.opt_out,
        allow_partial=order.allow_partial,
        again=order.again,
        limit=order.limit,
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


async def _agreed(made: Plan, common: Common, stop: Stop, *, yes: bool, signed: str | None) -> bool:
    if signed is not None and signed != made.plan_hash:
        raise SendRefused(
            f"nothing was sent: the plan is {made.plan_hash}, not {signed}; list, text, account, pace, batch size or limit "
            "differ from what was signed off. See `xinshi plan`"
        )
    if not common.quiet and not common.json:
        sys.stderr.write(pages.plan_page(made))
    if yes or signed is not None:
        return True
    sys.stderr.write(f"Send to {made.tally.recipients:,} people now? [y/N] ")
    sys.stderr.flush()
    return (await _typed_line(stop)).strip().lower() in ("y", "yes")


async def _typed_line(stop: Stop) -> str:
    """A line from the terminal, or nothing after Ctrl-C. Not in a thread: one that waits for a key cannot be ended."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ready.set)
    try:
        waits = [asyncio.ensure_future(event.wait()) for event in (ready, stop.gently)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline() if ready.is_set() else ""


def _finish(summary: CampaignSummary, common: Common, settings: Settings, caught: list[int]) -> int:
    if common.json:
        _print_json(summary.as_json())
    elif not common.quiet:
        sys.stdout.write(pages.summary_page(summary, journal=settings.journal_path))
    return code_of_summary(summary, signal=caught[0] if caught else None)


@asynccontextmanager
async def _stopping() -> AsyncIterator[tuple[Stop, list[int]]]:
    """The first SIGINT or SIGTERM asks to stop gently, the second at once. The list holds those that came."""
    stop = Stop(gently=asyncio.Event(), now=asyncio.Event())
    caught: list[int] = []
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        caught.append(number)
        if stop.gently.is_set():
            stop.now.set()
        else:
            sys.stderr.write("\nStopping: waiting for the answers under way. Once more to stop at once.\n")
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


def _is_lively(common: Common) -> bool:
    return sys.stderr.isatty() and not common.quiet and not common.json


def _tell(common: Common, line: str) -> None:
    if not common.quiet:
        sys.stderr.write(line)


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()
