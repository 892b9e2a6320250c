"""What people read. Plain text that also survives a pipe; colour is the progress display's business."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

from engine.ledger.summary import CampaignSummary, number
from engine.model import Balance, BatchState, Exclusion, PauseReason
from engine.runtime import Plan

_EXCLUDED = {
    Exclusion.INVALID: "not a mobile number",
    Exclusion.DUPLICATE: "twice in the list",
    Exclusion.OPTED_OUT: "opted out",
    Exclusion.EMPTY: "no number",
    Exclusion.LANDLINE: "landline",
    Exclusion.FOREIGN: "foreign number",
    Exclusion.IOT: "machine number (13 digits)",
    Exclusion.DIGITS_LOST: "digits lost by a spreadsheet",
    Exclusion.MALFORMED: "columns shifted",
}

_PAUSED = {
    PauseReason.OPERATOR: "paused by the operator",
    PauseReason.CREDENTIALS: "the gateway refused the login; nothing more was tried with it. Check account and password",
    PauseReason.BALANCE: "the points do not reach; top up, or run with --allow-partial",
    PauseReason.CONTENT: "the gateway refused the text; change it and send a new campaign",
    PauseReason.CONFIGURATION: "address or profile are wrong; `xinshi check` helps",
    PauseReason.UNREACHABLE: "the gateway cannot be reached",
    PauseReason.THROTTLED: "the gateway says it is too fast; lower [pace] and run again",
    PauseReason.REFUSALS: "several refusals in a row with a text that is not known; ask your vendor",
    PauseReason.DOUBTS: "several answers in a row were lost; the gateway may be down",
    PauseReason.IN_DOUBT: "nothing is left to send, and some batches are in doubt: their answers were lost",
    PauseReason.STOPPED: "stopped",
    PauseReason.JOURNAL: "the journal could not be written",
    PauseReason.LIMIT: "only a part was released (--limit)",
}

_STATES = {
    "accepted": "accepted by the gateway",
    "planned": "not sent yet",
    "in_flight": "being sent",
    "in_doubt": "in doubt (answer lost; never sent again without evidence)",
    "refused": "refused by the gateway",
    "cancelled": "cancelled",
    "expired": "expired",
}


def table(lines: Iterable[tuple[str, str]], *, indent: str = "") -> str:
    """Words and values in two columns, a line each. Chinese characters count two cells."""
    listed = [line for line in lines if line[1] != ""]
    width = max((_cells(word) for word, _ in listed), default=0)
    return "".join(f"{indent}{word}{' ' * (width - _cells(word))}  {value}\n" for word, value in listed)


def plan_page(plan: Plan) -> str:
    """The preview."""
    tally, source = plan.tally, plan.source
    excluded = sum(tally.excluded.values())
    sizes = f", {tally.smallest_batch}–{tally.largest_batch} numbers each" if tally.batches else ""
    lines = [
        ("campaign", plan.name),
        ("list", f"{source.path} ({source.encoding}, numbers from {source.column_label})"),
        ("", ""),
        ("rows", f"{tally.rows:,}" + (f" and {tally.extra:,} second numbers in a cell" if tally.extra else "")),
        ("recipients", f"{tally.recipients:,}"),
        ("excluded", f"{excluded:,}" + (f", listed in {plan.rejects}" if plan.rejects else "")),
    ]
    page = ["\n", table(lines), _exclusions(plan)]
    points = f"{tally.points:,f} (estimated: {tally.recipients:,} × {plan.message.segments})"
    page.append(
        table(
            [
                ("batches", f"{tally.batches:,}{sizes}"),
                (
                    "segments",
                    f"{plan.message.segments} a recipient ({plan.message.units} characters), {tally.segments:,} in all",
                ),
                ("points", points),
                ("balance", f"not known: {plan.balance_problem}" if plan.balance_problem else _balance_against(plan)),
                ("time", _pace_words(plan)),
                ("text", _indented(plan.message.content, 12)),
                ("plan hash", plan.plan_hash),
            ]
        )
    )
    page.append("\n")
    return "".join(page)


def plan_json(plan: Plan) -> dict[str, Any]:
    """The preview for machines."""
    tally = plan.tally
    return {
        "schema": 1,
        "campaign": plan.name,
        "plan_hash": plan.plan_hash,
        "order_key": plan.order_key,
        "rows": tally.rows,
        "extra": tally.extra,
        "recipients": tally.recipients,
        "excluded": {reason.value: tally.excluded.get(reason, 0) for reason in Exclusion},
        "batches": tally.batches,
        "segments": tally.segments,
        "points": number(tally.points),
        "balance": None if plan.balance is None else number(plan.balance.remaining),
        "seconds": round(plan.forecast_s, 1),
        "text": plan.message.content,
        "encoding": plan.source.encoding,
        "column": plan.source.column_label,
        "rejects": None if plan.rejects is None else str(plan.rejects),
    }


def summary_page(summary: CampaignSummary, *, journal: Path | None = None) -> str:
    """How a campaign stands, for somebody who was not there."""
    recipients = summary.recipients
    lines = [
        ("campaign", f"{summary.campaign}: {_headline(summary)}"),
        ("", ""),
        ("rows", f"{summary.rows:,}" + (f" + {summary.extra:,} second numbers" if summary.extra else "")),
        ("excluded", _excluded_words(summary)),
        ("recipients", f"{sum(recipients.values()):,}"),
    ]
    states = [(_STATES[word], f"{count:,}") for word, count in recipients.items() if count]
    if summary.shortfall:
        states.append(("of these not counted by the gateway", f"{summary.shortfall:,} (its success counts were lower)"))
    money = [
        ("points", f"{_points(summary.charged)} charged for this campaign ({_points(summary.estimated)} estimated)"),
        ("balance", _account_words(summary)),
        ("unexplained", _unexplained_words(summary)),
    ]
    page = ["\n", table(lines), table(states, indent="  "), table(money)]
    if summary.detail and summary.reasons:
        page.append(f"\n{summary.detail}\n")
    page += [
        f"  {size:,} recipients {state.value.replace('_', ' ')}: {words}\n" for (state, words), size in _worst(summary)
    ]
    if hint := _next_step(summary):
        page.append(f"\n{hint}\n")
    if journal is not None:
        page.append(f"Journal: {journal}\n")
    return "".join(page)


def campaigns_page(campaigns: Sequence[CampaignSummary]) -> str:
    """A line a campaign."""
    if not campaigns:
        return "No campaigns yet. `xinshi send FILE --text …` makes one.\n"
    lines = []
    for each in campaigns:
        done = each.recipients["accepted"]
        all_of_them = sum(each.recipients.values())
        lines.append((each.campaign, f"{_when(each.created_at)}  {done:,}/{all_of_them:,} accepted  {_headline(each)}"))
    return table(lines)


def balance_line(balance: Balance) -> str:
    """The points left in a line."""
    left = "not told" if balance.remaining is None else f"{balance.remaining:,f} points"
    kind = {True: "prepaid", False: "postpaid", None: "kind of account not known"}[balance.prepaid]
    bought = "" if balance.send_total is None else f", {balance.send_total:,f} ever bought"
    return f"{left} ({kind} {balance.payinfo}{bought})"


def keywords_line(verdict: str, message: str) -> str:
    """The gateway's word about a text."""
    meaning = {
        "clean": "clean: no forbidden words",
        "forbidden": "FORBIDDEN words found",
        "unknown": "the gateway cannot say",
    }[verdict]
    return f"{meaning} ({message})" if message else meaning


def _headline(summary: CampaignSummary) -> str:
    if not summary.reasons:
        return summary.state.value
    return f"{summary.state.value}: " + "; ".join(_PAUSED[reason] for reason in summary.reasons)


def _next_step(summary: CampaignSummary) -> str:
    if PauseReason.IN_DOUBT in summary.reasons:
        return "Batches in doubt are kept as they are: sending them again could reach people twice."
    if summary.recipients["planned"] and summary.state.value == "paused":
        return f"Go on with: xinshi run {summary.campaign}"
    return ""


def _exclusions(plan: Plan) -> str:
    lines = []
    for reason, count in plan.tally.excluded.most_common():
        samples = "; ".join(f"line {row.line}: {_shortened(row.raw)!r}" for row in plan.tally.samples[reason])
        lines.append((_EXCLUDED[reason], f"{count:,}  e.g. {samples}"))
    return table(lines, indent="  ")


def _excluded_words(summary: CampaignSummary) -> str:
    named = [f"{count:,} {_EXCLUDED[reason]}" for reason, count in summary.excluded.items() if count]
    total = sum(summary.excluded.values())
    return f"{total:,}" + (f" ({', '.join(named)})" if named else "")


def _worst(summary: CampaignSummary) -> list[tuple[tuple[BatchState, str], int]]:
    return sorted(summary.words.items(), key=lambda item: -item[1])[:5]


def _balance_against(plan: Plan) -> str:
    balance = plan.balance
    if balance is None or balance.remaining is None:
        return "not told by the gateway"
    after = balance.remaining - plan.tally.points
    rest = f"{after:,f} after this" if after >= 0 else f"{-after:,f} TOO FEW"
    return f"{balance_line(balance)}; {rest}"


def _pace_words(plan: Plan) -> str:
    pace = plan.account.pace
    limits = [f"{pace.requests_per_second:g} requests a second"] if pace.requests_per_second else []
    limits += [f"{pace.numbers_per_second:g} numbers a second"] if pace.numbers_per_second else []
    at = " and ".join(limits) or "no limit set"
    return f"about {_duration(plan.forecast_s)} ({at}, {pace.in_flight} in flight)" if limits else at


def _account_words(summary: CampaignSummary) -> str:
    if summary.opening is None:
        return "not known"
    bought = f" + {_points(summary.topped_up)} topped up" if summary.topped_up else ""
    return f"{_points(summary.opening)} before{bought}, {_points(summary.remaining)} now"


def _unexplained_words(summary: CampaignSummary) -> str:
    if summary.unexplained is None:
        return "not known"
    if not summary.intervals:
        return "0: every point is accounted for"
    where = "; ".join(
        f"{_points(each.unexplained)} between {_when(each.begin)} and {_when(each.end)}" for each in summary.intervals
    )
    why = " (batches in doubt may be the cause)" if summary.recipients["in_doubt"] else ""
    return f"{_points(summary.unexplained)}: {where}{why}"


def _points(points: Decimal | None) -> str:
    return "?" if points is None else f"{points:,f}"


def _when(at: datetime) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _indented(text: str, by: int) -> str:
    return text.replace("\n", "\n" + " " * by)


def _shortened(raw: str) -> str:
    return raw if len(raw) <= 24 else raw[:23] + "…"


def _cells(word: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in word)
