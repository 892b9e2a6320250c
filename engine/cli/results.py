"""`export`, `report`, `forget`, `backup`, dead numbers: what campaigns came to, and what is kept of them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from engine.cli import out, pages
from engine.cli.asking import YES
from engine.cli.beginning import read_settings
from engine.cli.exits import AGAIN, OK
from engine.cli.words import Common
from engine.errors import PlanError
from engine.gateway.profile import load_profile
from engine.interrupts import ended_by_signals
from engine.journal.port import OptOutSource
from engine.language import _, _n
from engine.ledger.summary import CampaignSummary
from engine.loop import run_in_loop
from engine.moments import local, zone_told, zone_words
from engine.results.backup import back_up
from engine.results.dead import Dead, dead_numbers
from engine.results.export import Exported
from engine.results.export import export as written
from engine.results.forgetting import Forgotten, age_of, what_to_forget
from engine.results.forgetting import forget as forgotten
from engine.results.landing import STANDARD_OUTPUT, landing
from engine.results.page import Words, page
from engine.results.report import Findings, Span, findings, over_time
from engine.results.writers import form_of
from engine.runs.beside import opt_out
from engine.runs.looking import status as look
from engine.settings import AccountSettings, Settings
from engine.telemetry import mask
from engine.terms import word_of


def export(
    campaign: str, output: Path, form: str | None, states: str | None, columns: str | None, common: Common
) -> int:
    """The list with its results."""
    settings = read_settings(common)
    wanted = None if columns is None else [name.strip() for name in columns.split(",") if name.strip()]
    gc.freeze()  # the libraries stay; looking through millions of short-lived rows took a quarter of the time
    gc.set_threshold(50_000, 20, 100)
    with (
        ended_by_signals(),
        suppress(BrokenPipeError),
    ):  # who reads it has seen enough (`| head`), and nothing more is said
        found = written(
            settings.journal_path,
            campaign,
            output,
            form=form_of(form, output),
            states=states,
            columns=wanted,
            zone=zone_told(),
        )
        for label, problem in found.lacking:
            out.tell(
                common,
                _("Note: {label} {problem}; its rows have their number and no other column of it.\n").format(
                    label=label, problem=problem
                ),
            )
        if output == STANDARD_OUTPUT:
            out.tell(common, _written(found, output))
        elif common.json:
            out.data(_json(found, output))
        elif not common.quiet:
            out.page(_written(found, output))
    return OK


def _written(found: Exported, output: Path) -> str:
    counted, delivered = (
        _(", ").join(
            _("{count:,} {word}").format(count=count, word=word_of(word)) for word, count in told.most_common()
        )
        for told in (found.states, found.delivery)
    )
    of_all = _("of {count:,}: {counted}").format(count=sum(found.states.values()), counted=counted)
    if delivered:
        of_all += _(" ({because})").format(because=delivered)
    where = "" if output == STANDARD_OUTPUT else _(" to {output}").format(output=output)
    return _n(
        "{lines:,} line written{where}, {of_all}\n", "{lines:,} lines written{where}, {of_all}\n", found.lines
    ).format(lines=found.lines, where=where, of_all=of_all)


def _json(found: Exported, output: Path) -> dict[str, object]:
    return {
        "output": str(output),
        "lines": found.lines,
        "states": dict(found.states),
        "delivery": dict(found.delivery),
        "lists_missing": [{"list": label, "problem": problem} for label, problem in found.lacking],
    }


# ── report ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def report(campaign: str, html: Path | None, by: str | None, common: Common) -> int:
    """The report as a page of HTML, or on the terminal."""
    settings = read_settings(common)
    summaries: list[CampaignSummary] = []

    async def main() -> int:
        summaries.extend(await look(settings, campaign))
        return OK

    run_in_loop(main)
    (summary,) = summaries
    if summary.forgotten_at is not None and by is not None:
        raise PlanError(
            _("--by {by}: the rows of {campaign} were forgotten on {forgotten_at:%Y-%m-%d}").format(
                by=by, campaign=campaign, forgotten_at=local(summary.forgotten_at)
            )
        )
    with ended_by_signals(), suppress(BrokenPipeError):  # as above
        found = findings(settings.journal_path, campaign, by=by, zone=zone_told())
        account = settings.account_of(summary.account)
        if html is None:
            out.page(_report_text(summary, found, account))
            return OK
        words = Words(
            state=pages.headline(summary),
            account=account.name if account else "",
            cost=pages.cost_words(account, summary.charged, summary.estimated),
            excluded={reason.value: _(text) for reason, text in pages.EXCLUDED.items()},
            run=_run_facts(settings, summary, found),
        )
        with landing(html) as file:
            file.write(page(summary, found, words, at=datetime.now(UTC)).encode("utf-8", "replace"))
    if html != STANDARD_OUTPUT:
        out.tell(
            common, _("The report is in {html}; open it in a browser, and print it from there.\n").format(html=html)
        )
    return OK


def _run_facts(settings: Settings, summary: CampaignSummary, found: Findings) -> list[tuple[str, str]]:
    known = found.known
    lists = [
        (
            _("list") if len(known.sources) == 1 else _("list {place}").format(place=place),
            _("{path} · {size:,} bytes · {encoding} · numbers in {number_column} · sha256 {sha256}").format(
                path=_(each.path),
                size=each.size,
                encoding=each.encoding,
                number_column=each.number_column,
                sha256=each.sha256[:12],
            ),
        )
        for place, each in enumerate(known.sources, 1)
    ]
    account = settings.account_of(known.account)
    batches = sum(count for word, count in summary.batches.items() if word != "split")
    facts = [*lists, (_("profile"), known.profile), (_("batches"), f"{batches:,}"), (_("plan hash"), known.plan_hash)]
    if account is not None:
        facts.append((_("pace"), pages.pace_words(summary.conduct, account)))
    return [*facts, *((what, told) for what, told, _more in pages.scheduled_lines(summary))]


def _report_text(summary: CampaignSummary, found: Findings, account: AccountSettings | None) -> str:
    parts = [pages.summary_page(summary, account=account)]
    if reasons := found.reasons():
        rows = [(_("undelivered"), _("code"), _("meaning, where known"))]
        rows += [(f"{each.count:,}", each.code or _("(none)"), each.meaning) for each in reasons]
        parts.append(pages.columns(rows))
    if found.column is not None:
        parts.append(pages.columns(_values(found)))
    if spans := over_time(found, most=24):
        parts.append(pages.columns(_spans(spans)))
    return "\n".join(parts)


def _values(found: Findings) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        (found.column or "", _("recipients"), _("delivered"), _("undelivered"), _("no report"))
    ]
    for value, tally in found.by_value():
        counts = (tally.recipients, tally.delivered, tally.undelivered, tally.unreported)
        rows.append((mask(value), *(f"{count:,}" for count in counts)))
    return rows


def _spans(spans: Sequence[Span]) -> list[Sequence[str]]:
    top = max(span.delivered + span.undelivered for span in spans) or 1
    rows: list[Sequence[str]] = [
        (_("time, {zone}").format(zone=zone_words()), _("submitted"), _("delivered"), _("undelivered"), _("reports"))
    ]
    for span in spans:
        bar = "█" * round(30 * span.delivered / top) + "░" * round(30 * span.undelivered / top)
        counts = (span.submitted, span.delivered, span.undelivered)
        rows.append((f"{span.begin:%m-%d %H:%M}", *(f"{count:,}" for count in counts), bar))
    return rows


# ── what is kept, and what is not ────────────────────────────────────────────────────────────────────────────────────


def backup(target: Path, common: Common) -> int:
    """A copy of the journal."""
    settings = read_settings(common)
    with ended_by_signals():
        size = back_up(settings.journal_path, target)
    if common.json:
        out.data({"backup": str(target), "bytes": size})
    elif not common.quiet:
        out.page(_("{target}: {size:,} bytes, checked\n").format(target=target, size=size))
    return OK


def forget(older_than: str, *, dry_run: bool, yes: bool, common: Common) -> int:
    """Numbers and texts of old campaigns go."""
    settings = read_settings(common)
    now = datetime.now(UTC)
    before = now - age_of(older_than)
    found: list[Forgotten] = []
    only_looked: list[bool] = []  # as asked for, or because there is nothing to forget

    async def main() -> int:
        found.append(await what_to_forget(settings.journal_path, before))
        if dry_run or not (yes or found[0].campaigns or found[0].files or found[0].copies):
            only_looked.append(True)
            return OK
        if not yes:
            out.tell(common, _forgotten_page(found[0], before, done=False))
            if not sys.stdin.isatty():
                raise PlanError(_("there is nobody to ask here; add --yes, or --dry-run to see it alone"))
            out.ask(_("Forget them now? It cannot be undone. [y/N] "))
            if sys.stdin.readline().strip().lower() not in YES:
                out.tell(common, _("Nothing was forgotten.\n"))
                return AGAIN
        found[0] = await forgotten(settings.journal_path, before, at=now)
        return OK

    code = run_in_loop(main)
    if code == OK and common.json:
        out.data(_forgotten_json(found[0], before, done=not only_looked))
    elif code == OK and not common.quiet:
        out.page(_forgotten_page(found[0], before, done=not only_looked))
    return code


def _forgotten_page(found: Forgotten, before: datetime, *, done: bool) -> str:
    people = sum(each.recipients for each in found.campaigns)
    lines: list[pages.Line] = [
        (_("older than"), f"{local(before):%Y-%m-%d %H:%M}", ""),
        (
            _("forgotten") if done else _("to forget"),
            len(found.campaigns),
            _n(
                "campaign with {people:,} recipients", "campaigns with {people:,} recipients", len(found.campaigns)
            ).format(people=people),
        ),
        *(
            (f"  {each.name}", each.recipients, _("ended {at:%Y-%m-%d}").format(at=local(each.at)))
            for each in found.campaigns
        ),
        *(
            (
                "  " + _("stays"),
                each.batches,
                _("batches of {name} are planned, in flight or in doubt").format(name=each.name),
            )
            for each in found.waiting
        ),
        *((_("removed") if done else _("to remove"), str(file), "") for file in found.files),
        *(
            (
                _("still there"),
                _("{copy}: a copy from before a migration, with numbers in it; remove it yourself").format(copy=copy),
                "",
            )
            for copy in found.copies
        ),
        pages.times_line(),
    ]
    return pages.grid(lines)


def _forgotten_json(found: Forgotten, before: datetime, *, done: bool) -> dict[str, object]:
    return {
        "before": before.isoformat(),
        "done": done,
        "campaigns": [
            {"campaign": each.name, "recipients": each.recipients, "ended": each.at.isoformat()}
            for each in found.campaigns
        ],
        "not_over": [{"campaign": each.name, "batches": each.batches} for each in found.waiting],
        "files": [str(file) for file in found.files],
        "copies": [str(copy) for copy in found.copies],
    }


def suppress_dead(campaign: str, codes: str | None, reason: str, common: Common) -> int:
    """Numbers a campaign found dead get no more messages."""
    settings = read_settings(common)
    profile = load_profile(settings.for_account(common.account).profile)
    wanted = profile.dead_number_codes if codes is None else tuple(filter(None, codes.replace(" ", ",").split(",")))
    dead = dead_numbers(settings.journal_path, campaign, wanted)
    added: dict[str, int] = {}

    async def main() -> int:
        for code, numbers in dead.by_code.items():
            why = reason or _("reported dead: {code} in {campaign}").format(code=code, campaign=campaign)
            added[code] = await opt_out(settings, common.account, numbers, reason=why, source=OptOutSource.IMPORT)
        return OK

    run_in_loop(main)
    new, all_dead = sum(added.values()), sum(map(len, dead.by_code.values()))
    if common.json:
        out.data({"added": new, "known": all_dead - new, "reached_since": dead.reached_since, "codes": added})
        return OK
    out.page(pages.recorded_line(new, all_dead - new))
    out.tell(common, _other_codes(dead, wanted))
    return OK


def _other_codes(dead: Dead, wanted: Sequence[str]) -> str:
    known = {code.upper() for code in wanted}
    others = sorted(((count, code) for code, count in dead.codes.items() if code.upper() not in known), reverse=True)
    listed = ", ".join(f"{code or _('(none)')} ({count:,})" for count, code in others[:8])
    since = (
        _("{reached_since:,} were reached by a later message, and are left alone.\n").format(
            reached_since=dead.reached_since
        )
        if dead.reached_since
        else ""
    )
    if not listed:
        return since
    return _(
        "{since}Taken for dead: {codes}. Other codes of undelivered ones: {listed}. Where your vendor says "
        "that one of them means an unused number: --codes, or dead_number_codes in your profile.\n"
    ).format(since=since, codes=", ".join(wanted) or _("no code"), listed=listed)
