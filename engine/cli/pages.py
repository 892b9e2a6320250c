"""What people read. Plain text that also survives a pipe; colour is the progress display's business.

A page is one grid: a label, then a number and what it means, or words in both their places. What only the preview needs is loaded
with it: `status` shows none.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

from engine.clock import wall_time
from engine.dispatch.hours import read_windows
from engine.dispatch.schedule import LEAD, date_words
from engine.dispatch.timetable import ends_words, moment_words
from engine.errors import EngineError
from engine.language import N_, _, _n
from engine.ledger.summary import CampaignSummary, number
from engine.lines import named_line, untagged
from engine.model import Balance, BatchState, CampaignState, Excluded, Exclusion, Message, PauseReason
from engine.moments import local, when, with_local_times, zone_words
from engine.orders.conduct import hours_of, pace_of
from engine.reasons import BECAUSE
from engine.terms import word_of

if TYPE_CHECKING:  # what a page shows; who asks for it has it loaded
    from engine.journal.port import AttemptRow, Conduct
    from engine.ledger.audit import Finding
    from engine.ledger.reckoning import Reckoning
    from engine.orders.pipeline import Listing
    from engine.orders.plans import Plan
    from engine.runs.auditing import Audited
    from engine.settings import AccountSettings, PaceSettings

_LISTS_SHOWN, _SPREAD_SHOWN = 8, 6
_CELL_SHOWN, _ROW_SHOWN, _TEXT_SHOWN = 24, 60, 60  # cells of a terminal; Chinese characters take two

EXCLUDED = {
    Exclusion.INVALID: N_("not a mobile number"),
    Exclusion.DUPLICATE: N_("twice in the list"),
    Exclusion.OPTED_OUT: N_("opted out"),
    Exclusion.EMPTY: N_("no number"),
    Exclusion.LANDLINE: N_("landline"),
    Exclusion.FOREIGN: N_("foreign number"),
    Exclusion.IOT: N_("machine number (13 digits)"),
    Exclusion.DIGITS_LOST: N_("digits lost by a spreadsheet"),
    Exclusion.EXCLUDED_LIST: N_("on a list given with --exclude"),
    Exclusion.NOT_ON_LIST: N_("on no list given with --only"),
    Exclusion.MALFORMED: N_("columns shifted"),
    Exclusion.PLACEHOLDER: N_("a cell the text needs is blank"),
    Exclusion.UNSENDABLE: N_("text that cannot be sent"),
    Exclusion.TOO_LONG: N_("text too long"),
    Exclusion.FORBIDDEN_VALUE: N_("a cell that the gateway forbids"),
    Exclusion.TOO_OFTEN: N_("reached too often lately"),
}

_BEFORE_GOING_ON = {
    PauseReason.CREDENTIALS: N_("Check account, userid and password with `xinshi check`."),
    PauseReason.BALANCE: N_("Top up; or add --allow-partial to send what the points reach for."),
    PauseReason.CONFIGURATION: N_("Check account.url and account.profile with `xinshi check`."),
    PauseReason.UNREACHABLE: N_("`xinshi check` tells when the gateway is back."),
    PauseReason.THROTTLED: N_("Ask your vendor how fast this account may be, and lower --requests-per-second."),
    PauseReason.REFUSALS: N_("Ask your vendor what the words above mean."),
    PauseReason.DOUBTS: N_("`xinshi check` tells when the gateway answers again."),
    PauseReason.LIMIT: N_("--limit N releases N more; without it, all that is left goes out."),
    PauseReason.FLOOR: N_("Top up, or lower --keep-points; --allow-partial sends what the points above it reach for."),
    PauseReason.CANARY: N_("Look at the reasons above. Going on accepts them: the rest goes out."),
    PauseReason.SCHEDULE: N_(
        "The rest was not agreed to at another time: --gateway-schedule TIME gives it one, --gateway-schedule now sends it at "
        "once."
    ),
    PauseReason.UNDELIVERED: N_(
        "Look at the reasons (`xinshi report`); canary.undelivered_spike = 0 never pauses for them."
    ),
}

_STATES = {
    "accepted": (N_("accepted"), N_("by the gateway")),
    "planned": (N_("not sent yet"), ""),
    "in_flight": (N_("being sent"), ""),
    "in_doubt": (N_("in doubt"), N_("their answers were lost; never sent again without evidence")),
    "refused": (N_("refused"), N_("by the gateway")),
    "cancelled": (N_("cancelled"), ""),
    "expired": (N_("expired"), ""),
}
_ENCODINGS = {"workbook": "Excel"}
_USUAL_ANSWER_S = 0.5  # many gateways answer no sooner
_MOST_REASONS = 5  # shown per state
_MOST_LINES = 20  # shown of those left out
_MOST_DOUBTS = 20  # shown of those still open

_Value = int | Decimal | str
Line = tuple[str, _Value, str]
"""A label (indented when it is a part of the line above), a number with its meaning, or words and "". """


def grid(lines: Iterable[Line]) -> str:
    """One grid for the whole page: labels, numbers to the right, words. Chinese characters count two cells."""
    listed = list(lines)
    labels = max((_cells(label) for label, _, _ in listed), default=0)
    digits = max((len(_figure(value)) for _, value, _ in listed if not isinstance(value, str)), default=0)
    margin = "\n" + " " * (labels + 2)
    rows = []
    for label, value, meaning in listed:
        text = value if isinstance(value, str) else f"{_figure(value):>{digits}}  {meaning}"
        rows.append(f"{label}{' ' * (labels - _cells(label))}  {text.replace(chr(10), margin)}".rstrip() + "\n")
    return "".join(rows)


def times_line() -> Line:
    """The zone of the times of a page: once on each that shows some."""
    return _("times in"), zone_words(), ""


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows under their headings, all columns to the left."""
    widths = [max(map(_cells, column)) for column in zip(*rows, strict=True)]
    return "".join(
        "  ".join(f"{cell}{' ' * (width - _cells(cell))}" for cell, width in zip(row, widths, strict=True)).rstrip()
        + "\n"
        for row in rows
    )


# ── the preview ──────────────────────────────────────────────────────────────────────────────────────────────────────


def plan_page(plan: Plan) -> str:
    """The preview."""
    from engine.cli.screening import screening_lines

    tally = plan.tally
    excluded = sum(tally.excluded.values())
    lines: list[Line] = [
        (_("campaign") if plan.added_to is None else _("added to"), plan.name, ""),
        *_list_lines(plan.listing, plan.left_aside),
        (
            _("rows"),
            tally.rows,
            _n("and {extra:,} second number in a cell", "and {extra:,} second numbers in a cell", tally.extra).format(
                extra=tally.extra
            )
            if tally.extra
            else "",
        ),
        (_("left out"), excluded, _("listed in {rejects}").format(rejects=plan.rejects) if plan.rejects else ""),
        *(
            (f"  {_(EXCLUDED[reason])}", count, _("e.g. {samples}").format(samples=_samples(tally.samples[reason])))
            for reason, count in tally.excluded.most_common()
        ),
        (_("recipients"), tally.recipients, ""),
        (
            _("batches"),
            tally.batches,
            _("requests of {sizes}").format(sizes=_sizes(tally.smallest_batch, tally.largest_batch)),
        ),
        (_("segments"), tally.segments, _segments_words(plan)),
        (_("points"), plan.points, _points_words(plan)),
        *_cost_lines(plan.account, None, tally.points),
        _balance_against(plan),
        *_reserve_lines(plan),
        (_("time"), _pace_words(plan), ""),
        *_conduct_lines(plan),
        *_text_lines(plan),
        *screening_lines(plan),
        (_("plan hash"), plan.plan_hash, ""),
    ]
    return f"\n{grid(lines)}\n"


def _segments_words(plan: Plan) -> str:
    """What a recipient costs, or how that is spread."""
    from engine.planning.wording import SameText

    if isinstance(plan.wording, SameText):
        message = plan.wording.message
        return _("{segments} a recipient: the text has {units} characters").format(
            segments=message.segments, units=message.units
        )
    spread = plan.tally.spread
    shares = [
        _("{parts}: {share}").format(parts=parts_words(segments), share=_share(spread[segments], plan.tally.recipients))
        for segments in sorted(spread)[:_SPREAD_SHOWN]
    ]
    return _(", ").join([*shares, *(["…"] if len(spread) > _SPREAD_SHOWN else [])])


def parts_words(count: int) -> str:
    """How many parts a text has."""
    return _n("{count} part", "{count} parts", count).format(count=count)


def _share(part: int, whole: int) -> str:
    """A percentage that says neither 0 nor 100 unless it is."""
    share = 100 * part / whole
    return (
        _n("{part:,} recipient", "{part:,} recipients", part).format(part=part)
        if share < 0.5 or 99.5 <= share < 100
        else f"{share:.0f} %"
    )


def _text_lines(plan: Plan) -> Iterator[Line]:
    from engine.planning.wording import SameText

    yield _("text"), plan.wording.shown, ""
    if isinstance(plan.wording, SameText):
        return
    yield "  " + _("different"), plan.tally.texts, _("texts; recipients of the same one share requests")
    if plan.tally.longest is not None:
        line, message = plan.tally.longest
        yield (
            "  " + _("longest"),
            _("{units} characters, line {line}: {content}").format(
                units=message.units, line=named_line(line), content=_cut(message.content, _TEXT_SHOWN)
            ),
            "",
        )
    for line, message in plan.tally.text_samples:
        yield (
            "  " + _("for example"),
            _("line {line}: {content}").format(line=named_line(line), content=message.content),
            "",
        )


def _list_lines(listing: Listing, left_aside: Collection[int] = ()) -> Iterator[Line]:
    """The lists that are read, how each begins, and what is not read or not clear."""
    for at in sorted(left_aside):
        yield (
            _("not read"),
            _("{label}: the campaign has this list already").format(label=listing.list_files[at].label),
            "",
        )
    for each in [each for at, each in enumerate(listing.list_files) if at not in left_aside][:_LISTS_SHOWN]:
        label = _("column {name}").format(name=each.column_label.removeprefix("column "))
        yield (
            _("list"),
            _("{label} ({encoding}, numbers in {column})").format(
                label=each.label, encoding=_ENCODINGS.get(each.encoding, each.encoding.upper()), column=label
            ),
            "",
        )
        if each.passed_over:
            words = _("numbers stand in {names} as well; they are not read: --column NAME reads that one instead")
            yield "  " + _("look at"), words.format(names=", ".join(each.passed_over)), ""
        for row in each.preview_rows if len(listing.list_files) == 1 else ():
            yield "  " + _("begins"), _begins(row), ""
    if (more := len(listing.list_files) - _LISTS_SHOWN) > 0:
        yield "", _n("and {more:,} more list", "and {more:,} more lists", more).format(more=more), ""
    for skipped in listing.skipped[:_LISTS_SHOWN]:
        yield "  " + _("not read"), f"{skipped.name}: {skipped.why}", ""
    for word, lists in ((_("without"), listing.excluded), (_("only"), listing.only)):
        for screening in lists:
            unclear = sum(screening.unclear.values())
            told = (
                _("{unclear:,} of its rows name nobody clearly: it may miss people").format(unclear=unclear)
                if unclear
                else ""
            )
            yield (
                word,
                _n("{mobiles:,} number of {label}", "{mobiles:,} numbers of {label}", screening.mobiles).format(
                    mobiles=screening.mobiles, label=screening.list_file.label
                ),
                told,
            )


def _begins(row: Sequence[str]) -> str:
    """The first cells of a row, as many as a line of the terminal holds, and how many more there are."""
    shown: list[str] = []
    for cell in row:
        if shown and _cells(" | ".join([*shown, _cut(cell, _CELL_SHOWN)])) > _ROW_SHOWN:
            break
        shown.append(_cut(cell, _CELL_SHOWN))
    if more := len(row) - len(shown):
        shown.append(_n("and {more:,} more column", "and {more:,} more columns", more).format(more=more))
    return " | ".join(shown)


def _cut(text: str, most: int) -> str:
    """The text on one line, in at most so many cells of the terminal; … where it goes on."""
    line = " ".join(text.split())
    if _cells(line) <= most:
        return line
    while _cells(line) > most - 1:
        line = line[:-1]
    return f"{line}…"


def plan_hint(plan: Plan) -> str:
    """What to do after a preview."""
    if plan.conduct.scheduled_for is None and hours_of(plan.conduct).opens_at(wall_time()) is None:
        return _("`send` would refuse this (5): it can never begin. Give another --expire, --window or --at.\n")
    return _("Send exactly this: the same words after `xinshi send`, with --plan {plan_hash}\n").format(
        plan_hash=plan.plan_hash
    )


def plan_json(plan: Plan) -> dict[str, Any]:
    """The preview for machines."""
    from engine.cli.screening import screening_json

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
        "points": number(plan.points),
        "balance": None if plan.balance is None else number(plan.balance.remaining),
        "keep_points": number(plan.keep_points),
        "reserved": {name: number(points) for name, points in plan.reserved},
        **_conduct_json(plan),
        "seconds": round(plan.forecast_s, 1),
        "text": plan.wording.shown,
        "encoding": plan.listing.list_files[0].encoding,
        "column": plan.listing.list_files[0].column_label,
        "lists": [each.label for each in plan.listing.list_files],
        "rejects": None if plan.rejects is None else str(plan.rejects),
        "texts": tally.texts,
        "parts": {str(segments): count for segments, count in sorted(tally.spread.items())},
        "longest": None if tally.longest is None else _text_json(*tally.longest),
        "samples": [_text_json(line, message) for line, message in tally.text_samples],
        "added_to": None if plan.added_to is None else plan.added_to.name,
        **screening_json(plan),
        "account": plan.account.name,
        "yuan": number(tally.points * price) if (price := plan.account.price_yuan_per_point) else None,
    }


def _conduct_json(plan: Plan) -> dict[str, Any]:
    """When it goes, and who goes first. Times with their zone; null: never, or nobody can tell."""
    conduct, hours, now = plan.conduct, hours_of(plan.conduct), wall_time()
    return {
        "begins": _iso(hours.opens_at(now)),
        "ends": _iso(hours.ends_at(now, plan.forecast_s)),
        "expires": _iso(conduct.expires_at),
        **({"scheduled_for": _iso(conduct.scheduled_for)} if conduct.scheduled_for else {}),
        "windows": [str(window) for window in read_windows(conduct.windows)],
        "canary": conduct.canary,
    }


def _text_json(line: int, message: Message) -> dict[str, Any]:
    source, number = untagged(line)
    return {
        "list": source + 1,
        "line": number,
        "text": message.content,
        "characters": message.units,
        "parts": message.segments,
    }


def _samples(rows: Sequence[Excluded]) -> str:
    return _("; ").join(
        _("line {line}: {content}").format(
            line=named_line(row.line), content=_shortened(row.raw) if row.raw.strip() else _("(empty)")
        )
        for row in rows
    )


def _sizes(smallest: int, largest: int) -> str:
    if smallest == largest:
        return _n("{count:,} number", "{count:,} numbers", largest).format(count=largest)
    return _("{smallest:,} to {largest:,} numbers").format(smallest=smallest, largest=largest)


def _balance_against(plan: Plan) -> Line:
    balance = plan.balance
    if balance is None:
        return (_("balance"), _("not known: {balance_problem}").format(balance_problem=plan.balance_problem), "")
    if balance.remaining is None:
        return (_("balance"), _("not told by the gateway"), "")
    after = balance.remaining - plan.points
    too_few = plan.keep_points + plan.reserved_points - after
    if too_few <= 0 or balance.prepaid is False:
        return (_("balance"), balance.remaining, _("{after} after this").format(after=_points(after)))
    words = (
        _("{too_few} TOO FEW: what they reach for is sent, as --allow-partial says")
        if plan.sends_part
        else _("{too_few} TOO FEW: top up, or send a part with --allow-partial")
    )
    return (_("balance"), balance.remaining, words.format(too_few=_points(too_few)))


def _points_words(plan: Plan) -> str:
    if plan.ratio in (None, 1):
        return _("estimated")
    price = plan.profile.price_per_segment
    assert plan.ratio is not None
    return _("estimated at {ratio} a segment, as charged lately; the profile says {price}").format(
        ratio=_points((plan.ratio * price).normalize()), price=_points(price)
    )


def _reserve_lines(plan: Plan) -> Iterator[Line]:
    """Points that are not for this campaign."""
    if plan.keep_points:
        yield "  " + _("to stay"), plan.keep_points, "(--keep-points)"
    if plan.reserved:
        names = ", ".join(name for name, _points_of_it in plan.reserved)
        yield "  " + _("reserved"), plan.reserved_points, _("for what is left of {names}").format(names=names)


def _conduct_lines(plan: Plan) -> Iterator[Line]:
    """When it goes, and who goes first."""
    conduct, hours, now = plan.conduct, hours_of(plan.conduct), wall_time()
    if conduct.windows:
        yield "  " + _("hours"), ", ".join(map(str, read_windows(conduct.windows))), ""
    if conduct.scheduled_for is not None:
        yield from _schedule_lines(conduct.scheduled_for, now, plan.forecast_s, hours.zone)
    elif (begin := hours.opens_at(now)) is None:
        yield "  " + _("opens"), _("NEVER: it expires before its hours begin"), ""
    elif conduct.not_before is not None or conduct.windows or conduct.expires_at is not None:
        yield "  " + _("opens"), _("now") if begin <= now else moment_words(begin, now, hours.zone), ""
        end = hours.ends_at(now, plan.forecast_s)
        words = ends_words(hours, now, plan.forecast_s) if end is None else moment_words(end, now, hours.zone)
        yield "  " + _("ends"), words, ""
    if conduct.expires_at is not None:
        yield "  " + _("expires"), moment_words(conduct.expires_at, now, hours.zone), ""
    if conduct.canary:
        share = _("{canary_delivered:.0%} of their reports must say delivered").format(
            canary_delivered=conduct.canary_delivered
        )
        yield (
            "  " + _("first"),
            _n(
                "{canary:,} recipient; {share}, within {wait}",
                "{canary:,} recipients; {share}, within {wait}",
                conduct.canary,
            ).format(canary=conduct.canary, share=share, wait=_duration(conduct.canary_wait_s)),
            "",
        )


def _schedule_lines(at: datetime, now: datetime, work_s: float, zone: tzinfo) -> Iterator[Line]:
    """When the gateway sends it, whether all of it is handed over by then, and what nobody can undo."""
    yield "  " + _("scheduled"), _("{moment}: the gateway keeps it and sends it then").format(moment=date_words(at)), ""
    by, done = at - LEAD, now + timedelta(seconds=work_s)
    words = _("now, until about {moment}").format(moment=moment_words(done, now, zone))
    if done > by:
        words = _(
            "now; at this pace {share:.0%} until {moment}, and the rest pauses: raise the pace, or choose a later time"
        ).format(share=(by - now).total_seconds() / work_s, moment=moment_words(by, now, zone))
    yield "  " + _("handed over"), words, ""
    yield (
        "  " + _("mind"),
        _(
            "what is handed over cannot be taken back: `cancel` and opt-outs reach only the rest\n"
            "reports come after that time"
        ),
        "",
    )


def _pace_words(plan: Plan) -> str:
    pace = plan.account.pace
    limited = pace.requests_per_second or pace.numbers_per_second
    duration = _("about {duration}: ").format(duration=_duration(plan.forecast_s)) if limited else ""
    return _("{duration}{pace}, {in_flight} in flight{enough}").format(
        duration=duration, pace=_limit_words(pace), in_flight=pace.in_flight, enough=_enough_words(plan)
    )


def pace_words(conduct: Conduct, account: AccountSettings) -> str:
    """How fast a campaign goes, or would."""
    pace = pace_of(conduct, account.pace)
    return _("{limit}, {in_flight} in flight").format(limit=_limit_words(pace), in_flight=pace.in_flight)


def _pace_line(summary: CampaignSummary, account: AccountSettings) -> Line:
    whose = _("given for this campaign") if summary.conduct.has_own_pace else _("as the settings say")
    return (_("pace"), _("{pace} ({whose})").format(pace=pace_words(summary.conduct, account), whose=whose), "")


def _limit_words(pace: PaceSettings) -> str:
    limits = (
        [_("{requests_per_second:g} requests a second").format(requests_per_second=pace.requests_per_second)]
        if pace.requests_per_second
        else []
    )
    limits += (
        [_("{numbers_per_second:g} numbers a second").format(numbers_per_second=pace.numbers_per_second)]
        if pace.numbers_per_second
        else []
    )
    return _(" and ").join(limits) or _("no limit of pace")


def _enough_words(plan: Plan) -> str:
    """Up to which answer time the requests in flight use the whole pace, where usual answers may be slower."""
    pace = plan.account.pace
    if not pace.requests_per_second:
        return ""
    from engine.dispatch.lane import ENOUGH_IN_FLIGHT

    enough_s = pace.in_flight / (ENOUGH_IN_FLIGHT * pace.requests_per_second)
    return (
        ""
        if enough_s >= _USUAL_ANSWER_S
        else _(" (the whole pace while answers take up to {milliseconds:,.0f} ms)").format(milliseconds=enough_s * 1000)
    )


def route_lines(account: AccountSettings) -> Iterator[Line]:
    """The way to the gateway, where it is not the usual one."""
    if account.proxy:
        yield (
            "  " + _("through"),
            (_("the proxy {proxy} as {user}") if account.proxy_user else _("the proxy {proxy}")).format(
                proxy=account.proxy, user=account.proxy_user
            ),
            "",
        )
    if account.source_address:
        yield "  " + _("from"), account.source_address, ""
    if account.tls_ca:
        yield "  " + _("trusting"), _("{tls_ca} alone").format(tls_ca=account.tls_ca), ""
    if account.tls_cert:
        yield "  " + _("showing"), account.tls_cert, ""


# ── a campaign ───────────────────────────────────────────────────────────────────────────────────────────────────────


def summary_page(
    summary: CampaignSummary,
    *,
    words: Sequence[str] = (),
    journal: Path | None = None,
    account: AccountSettings | None = None,
    waits: bool = False,
) -> str:
    """How a campaign stands, for somebody who was not there. `words` are the flags that lead to this journal again.

    `account`: whose it is, where the settings know that. `waits`: a process has it and waits.
    """
    lines: list[Line] = [
        (_("campaign"), summary.campaign, ""),
        *([(_("account"), account.name, "")] if account else []),
        (_("state"), headline(summary), ""),
        *_why_lines(summary),
        *scheduled_lines(summary),
        *_forgotten_lines(summary),
        (
            _("rows"),
            summary.rows,
            _n("and {extra:,} second number in a cell", "and {extra:,} second numbers in a cell", summary.extra).format(
                extra=summary.extra
            )
            if summary.extra
            else "",
        ),
        (_("left out"), sum(summary.excluded.values()), ""),
        *((f"  {_(EXCLUDED[reason])}", count, "") for reason, count in summary.excluded.items() if count),
        (_("recipients"), sum(summary.recipients.values()), ""),
        *_state_lines(summary),
        *([_pace_line(summary, account)] if account else []),
        (
            _("points"),
            summary.charged,
            _("charged for this campaign, {estimated} estimated").format(estimated=_points(summary.estimated)),
        ),
        *_cost_lines(account, summary.charged, summary.estimated),
        _account_line(summary),
        _unexplained_line(summary),
    ]
    if journal is not None:
        lines.append((_("journal"), str(journal), ""))
    if summary.intervals or summary.balance_read_at is not None:
        lines.append(times_line())
    hint = _next_step(summary, words, waits=waits)
    return f"\n{grid(lines)}" + (f"\n{hint}\n" if hint else "")


def summary_json(summary: CampaignSummary, account: AccountSettings | None) -> dict[str, Any]:
    """The same for machines: the contract's object, with the account's name (null: the settings do not know it), a pace of its own, the cost."""
    price = account.price_yuan_per_point if account else Decimal(0)
    yuan = {"estimated": number(summary.estimated * price), "charged": number(summary.charged * price)}
    own_pace = pace_of(summary.conduct, account.pace) if account and summary.conduct.has_own_pace else None
    return {
        **summary.as_json(),
        "account": account.name if account else None,
        **({"pace": own_pace.model_dump()} if own_pace else {}),
        **({"yuan": yuan} if price else {}),
    }


def _cost_lines(account: AccountSettings | None, charged: Decimal | None, estimated: Decimal) -> Iterator[Line]:
    """What the points cost, where that is known."""
    labels = (_("cost"), "  " + _("estimated"))
    yield from ((label, yuan, "") for label, yuan in zip(labels, cost_words(account, charged, estimated), strict=False))


def cost_words(account: AccountSettings | None, charged: Decimal | None, estimated: Decimal) -> list[str]:
    """What the points cost in yuan, and what they were to cost where that differs; nothing where no price is known."""
    price = account.price_yuan_per_point if account else Decimal(0)
    if not price:
        return []
    points = [estimated] if charged is None or charged == estimated else [charged, estimated]
    return [_yuan(each * price) for each in points]


def _yuan(amount: Decimal) -> str:
    return _("{yuan:,f} yuan").format(yuan=amount.quantize(Decimal("0.01")))


def campaigns_page(
    campaigns: Sequence[CampaignSummary], *, journal: Path, accounts: Mapping[str, str] | None = None
) -> str:
    """A line a campaign. `accounts`: their names by their keys, where there are several."""
    if not campaigns:
        return _("No campaigns yet in {journal}. `xinshi send FILE --text …` makes one.\n").format(journal=journal)
    names = accounts or {}
    rows = [
        [_("campaign"), _("account"), _("made, {zone}").format(zone=zone_words()), _("accepted"), _("of"), _("state")]
    ]
    rows += [
        [
            each.campaign,
            names.get(each.account, "?"),
            when(each.created_at),
            f"{each.recipients['accepted']:,}",
            f"{sum(each.recipients.values()):,}",
            headline(each),
        ]
        for each in campaigns
    ]
    return columns(rows if len(names) > 1 else [[first, *others] for first, _account, *others in rows])


def headline(summary: CampaignSummary) -> str:
    """The state and why, in a sentence."""
    why = _("; ").join(_(BECAUSE[reason]) for reason in summary.reasons if reason.value != "stopped")
    state = _("stopped") if summary.reasons == (PauseReason.STOPPED,) else word_of(summary.state.value)
    if summary.state is CampaignState.FINISHED and summary.recipients["refused"]:
        return _("finished, some were refused")
    return _("{state}: {why}").format(state=state, why=why) if why else state


def _forgotten_lines(summary: CampaignSummary) -> Iterable[Line]:
    if summary.forgotten_at is not None:
        yield (
            _("forgotten"),
            _("numbers and texts, on {forgotten_at:%Y-%m-%d}").format(forgotten_at=local(summary.forgotten_at)),
            "",
        )


def scheduled_lines(summary: CampaignSummary) -> Iterable[tuple[str, str, str]]:
    """When the gateway sends what it was handed, where it was told a time."""
    if summary.scheduled_for is None:
        return
    words = _("{moment}: the gateway sends then what it has accepted")
    if summary.scheduled_for <= wall_time():
        words = _("{moment}: the gateway was to send then what it had accepted")
    yield _("scheduled"), words.format(moment=date_words(summary.scheduled_for)), ""


def _why_lines(summary: CampaignSummary) -> Iterable[Line]:
    """What the pause reason does not say, unless it stands beside a state already."""
    told = {reason for _state, reason in summary.words}
    obvious = {PauseReason.STOPPED, PauseReason.IN_DOUBT, PauseReason.OPERATOR}
    if summary.detail and summary.detail not in told and summary.reasons and obvious.isdisjoint(summary.reasons):
        yield "  " + _("why"), summary.detail, ""


def _state_lines(summary: CampaignSummary) -> Iterable[Line]:
    for state, count in summary.recipients.items():
        label, meaning = _STATES[state]
        if not count:
            continue
        yield f"  {_(label)}", count, _(meaning)
        if state == "accepted" and summary.shortfall:
            yield (
                "    " + _("not counted"),
                summary.shortfall,
                _("the gateway's success counts are lower and do not say whom it left out"),
            )
            yield from _left_out_lines(summary)
        if state == "accepted":
            yield from _delivery_lines(summary)
        yield from _reason_lines(summary, state)


def _left_out_lines(summary: CampaignSummary) -> Iterable[Line]:
    """Whom a short count left out: nobody but the reports can tell, and they take their time."""
    if summary.left_out is None:
        yield "", _("who they are, the delivery reports tell in time; nothing is sent again"), ""
    elif lines := summary.left_out:
        listed = ", ".join(map(str, lines[:_MOST_LINES])) + (" …" if len(lines) > _MOST_LINES else "")
        meaning = _("of those batches have no report, and none is waited for any more: list line {listed}").format(
            listed=listed
        )
        yield (
            "    " + _("left out"),
            len(lines),
            _("{meaning}\n(`xinshi why NUMBER` tells of each)").format(meaning=meaning),
        )


def _delivery_lines(summary: CampaignSummary) -> Iterable[Line]:
    told = summary.delivery
    if not (told.delivered or told.undelivered or told.overdue):
        return
    yield "    " + _("delivered"), told.delivered, ""
    if told.undelivered:
        yield "    " + _("undelivered"), told.undelivered, ""
    if summary.unreported:
        late = (
            _("{overdue:,} of them no longer waited for").format(overdue=told.overdue)
            if told.overdue
            else _("may still come")
        )
        yield "    " + _("no report"), summary.unreported, late


def _reason_lines(summary: CampaignSummary, state: str) -> Iterable[Line]:
    """The gateway's words, verbatim, with the recipients they were said of."""
    said = [(size, reason) for (of, reason), size in summary.words.items() if of.value == state]
    said.sort(key=lambda each: -each[0])
    if state in (BatchState.REFUSED.value, BatchState.IN_DOUBT.value):
        yield from (("    " + _("because"), size, _(reason)) for size, reason in said[:_MOST_REASONS])
        if rest := sum(size for size, _reason in said[_MOST_REASONS:]):
            yield (
                "    " + _("because"),
                rest,
                _n("{count} other reason", "{count} other reasons", len(said) - _MOST_REASONS).format(
                    count=len(said) - _MOST_REASONS
                ),
            )


def _account_line(summary: CampaignSummary) -> Line:
    if summary.remaining is None:
        return (_("balance"), _("not known"), "")
    bought = (
        _(", {topped_up} topped up since").format(topped_up=_points(summary.topped_up)) if summary.topped_up else ""
    )
    return (
        _("balance"),
        summary.remaining,
        _("the account's, {read}; {opening} before{bought}").format(
            read=_read_words(summary), opening=_points(summary.opening), bought=bought
        ),
    )


def _read_words(summary: CampaignSummary) -> str:
    read = _("read {at}").format(at="?" if summary.balance_read_at is None else when(summary.balance_read_at))
    if not summary.charged_since_read:
        return read
    return _("{read}, less {charged} charged since").format(read=read, charged=_points(summary.charged_since_read))


def _unexplained_line(summary: CampaignSummary) -> Line:
    if summary.unexplained is None:
        return (_("unexplained"), _("not known"), "")
    if not summary.intervals:
        return (_("unexplained"), 0, _("every point is accounted for"))
    several = len(summary.intervals) > 1
    where = _("; ").join(
        (f"{_points(each.unexplained)} " if several else "")
        + _("between {begin} and {end}").format(begin=when(each.begin), end=when(each.end))
        for each in summary.intervals
    )
    why = _("; batches in doubt may be the cause") if summary.recipients["in_doubt"] else ""
    return (_("unexplained"), summary.unexplained, f"{where}{why}{_price_seen(summary)}")


def _price_seen(summary: CampaignSummary) -> str:
    """That the price in the profile is likely wrong, how much of the missing points that makes up, and what to change."""
    ratio, beyond = summary.price_ratio, summary.undercounted
    if ratio is None or beyond is None:
        return ""
    return _(
        "; the last answers show {ratio} points charged for each that the profile {profile!r} expects, which would make "
        "{charged} charged here and {beyond} of what is missing: price_per_segment there is likely wrong"
    ).format(
        ratio=_points(ratio),
        profile=summary.profile,
        charged=_points(summary.charged + beyond),
        beyond=_points(beyond),
    )


def _next_step(summary: CampaignSummary, words: Sequence[str], *, waits: bool) -> str:
    """What whoever reads this may do now. An operator's pause is ended by `resume`: `run` would be refused."""
    if PauseReason.IN_DOUBT in summary.reasons:
        settle = " ".join(["xinshi settle", shlex.quote(summary.campaign), *map(shlex.quote, words)])
        return _(
            "What is in doubt stays as it is: sending it again could reach people twice.\nWhat each batch waits "
            "for, and what reports say by now: {settle}"
        ).format(settle=settle)
    if summary.state is not CampaignState.PAUSED or not summary.recipients["planned"]:
        return ""
    if PauseReason.CONTENT in summary.reasons:
        return _("Mend the text and send it as a new campaign: `xinshi send FILE --text …`")
    verb = "resume" if PauseReason.OPERATOR in summary.reasons else "run"
    before = [_(_BEFORE_GOING_ON[reason]) for reason in summary.reasons if reason in _BEFORE_GOING_ON]
    if waits and verb == "run":
        return "\n".join((*before, _("A process has it, waits, and goes on by itself.")))
    again = shlex.join(["xinshi", verb, summary.campaign, *words])
    return "\n".join((*before, _("Go on with: {again}").format(again=again)))


# ── the gateway ──────────────────────────────────────────────────────────────────────────────────────────────────────


def balance_page(balance: Balance) -> str:
    """The points left."""
    return grid(balance_lines(balance))


def balances_page(told: Mapping[str, Balance | EngineError]) -> str:
    """The points of several accounts, by their names."""
    rows = [[_("account"), _("points left"), _("ever bought"), _("paid")]]
    for name, balance in told.items():
        if isinstance(balance, EngineError):
            rows.append([name, "?", "", _("PROBLEM: {balance}").format(balance=balance)])
        else:
            bought = "" if balance.send_total is None else _points(balance.send_total)
            rows.append([name, _points(balance.remaining), bought, balance.payinfo])
    return columns(rows)


def balances_json(told: Mapping[str, Balance | EngineError]) -> list[dict[str, Any]]:
    """The same for machines."""
    return [
        {"account": name, "problem": str(balance)}
        if isinstance(balance, EngineError)
        else {"account": name, **balance_json(balance)}
        for name, balance in told.items()
    ]


def balance_lines(balance: Balance) -> list[Line]:
    """The points left, for a page that says more."""
    kind = {True: _("prepaid"), False: _("postpaid"), None: _("neither prepaid nor postpaid in words that are known")}
    left: Line = (_("points left"), _("not told by the gateway"), "")
    if balance.remaining is not None:
        left = (_("points left"), balance.remaining, "")
    bought: list[Line] = [] if balance.send_total is None else [(_("ever bought"), balance.send_total, "")]
    paid = kind[balance.prepaid]
    return [left, *bought, (_("paid"), paid if paid == balance.payinfo else f"{paid} ({balance.payinfo})", "")]


def balance_json(balance: Balance) -> dict[str, Any]:
    """The points left, for machines."""
    return {
        "payinfo": balance.payinfo,
        "remaining": number(balance.remaining),
        "send_total": number(balance.send_total),
    }


def recorded_line(new: int, known: int) -> str:
    """How many opt-outs were written down."""
    if not known:
        return _n("{new:,} opt-out recorded\n", "{new:,} opt-outs recorded\n", new).format(new=new)
    return _n(
        "{new:,} opt-out recorded, {known:,} known already\n",
        "{new:,} opt-outs recorded, {known:,} were known already\n",
        new,
    ).format(new=new, known=known)


def keywords_line(verdict: str, message: str) -> str:
    """The gateway's word about a text."""
    meaning = {
        "clean": _("no forbidden words"),
        "forbidden": _("FORBIDDEN words found"),
        "unknown": _("the gateway cannot say"),
    }[verdict]
    return (
        _("{meaning}: the gateway says 「{message}」\n").format(meaning=meaning, message=message)
        if message
        else f"{meaning}\n"
    )


# ── figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _figure(value: int | Decimal) -> str:
    return _points(value) if isinstance(value, Decimal) else f"{value:,}"


def _points(points: Decimal | None) -> str:
    return "?" if points is None else f"{points:,f}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return _("{seconds} s").format(seconds=max(1, round(seconds)))
    return (
        _("{minutes:.0f} min").format(minutes=seconds / 60)
        if seconds < 5400
        else _("{hours:.1f} h").format(hours=seconds / 3600)
    )


def _shortened(raw: str) -> str:
    clean = " ".join(raw.split())
    return clean if len(clean) <= 24 else clean[:23] + "…"


def _cells(word: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in word)


# ── an audit ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def audit_page(found: Audited) -> str:
    """The laws, the balance from reading to reading and answer to answer, and what a person should look at."""
    polls = found.polls
    cost = (
        _(" (up to {may_have_cost:,} reports with them)").format(may_have_cost=polls.may_have_cost)
        if polls.may_have_cost
        else ""
    )
    lines: list[Line] = [
        (_("campaign"), found.summary.campaign, ""),
        (_("verdict"), _("every law holds") if found.all_hold else _("A LAW IS BROKEN"), ""),
        *((f"  {word_of(finding.law.value)}", _law_words(finding), "") for finding in found.findings),
        (
            _("polls"),
            _("made {made:,}, lost {lost:,}{cost}, unreadable {unread:,}").format(
                made=polls.made, lost=polls.lost, cost=cost, unread=polls.unread
            ),
            "",
        ),
        *_doubt_lines(found.doubts),
        *((_("look at"), with_local_times(flag.words), "") for flag in found.flags),
        times_line(),
    ]
    page = f"\n{grid(lines)}"
    if found.reckoning.steps:
        page += _("\nThe balance, from reading to reading:\n{reckoning}").format(
            reckoning=grid(_reckoning_lines(found.reckoning))
        )
    if found.drawing:
        page += _("\nThe balance, from answer to answer:\n") + "".join(
            f"{with_local_times(line)}\n" for line in found.drawing
        )
    return page


def audit_json(found: Audited) -> dict[str, Any]:
    """The campaign as `status` has it, with its laws, the polls of its account, and what a person should look at."""
    polls = found.polls
    return {
        **found.summary.as_json(),
        "laws": [finding.as_json() for finding in found.findings],
        "polls": {
            "made": polls.made,
            "lost": polls.lost,
            "may_have_cost": polls.may_have_cost,
            "unread": polls.unread,
        },
        "flags": [flag.as_json() for flag in found.flags],
    }


def _law_words(finding: Finding) -> str:
    return (_("holds   ") if finding.holds else _("BROKEN  ")) + with_local_times(finding.detail)


def _doubt_lines(doubts: Sequence[AttemptRow]) -> Iterable[Line]:
    for row in doubts[:_MOST_DOUBTS]:
        why = row.waits_for or _("nothing has looked at it yet: `xinshi settle` does")
        yield (
            _("in doubt"),
            _n(
                "batch {seq}, {size:,} recipient: {reason}\n{why}",
                "batch {seq}, {size:,} recipients: {reason}\n{why}",
                row.size,
            ).format(seq=row.seq, size=row.size, reason=_(row.reason), why=with_local_times(why)),
            "",
        )
    if more := doubts[_MOST_DOUBTS:]:
        yield (
            _("in doubt"),
            _n("and {count:,} batch more", "and {count:,} batches more", len(more)).format(count=len(more)),
            "",
        )


def _reckoning_lines(reckoning: Reckoning) -> Iterable[Line]:
    """Opening, what was charged and bought, what does not add up with its interval, and so on to the closing."""
    opening, *later = reckoning.steps
    yield _("opening"), opening.remaining, _("read at {at}").format(at=when(opening.at))
    before = opening
    for step in later:
        if step.charges:
            yield (
                "  " + _("charged"),
                -step.charged,
                _n("in {count:,} batch", "in {count:,} batches", step.charges).format(count=step.charges),
            )
        if step.topped_up:
            yield "  " + _("topped up"), step.topped_up, ""
        if step.missing:
            span = _("between {begin} and {end}").format(begin=when(before.at), end=when(step.at))
            yield "  " + _("unexplained"), -step.missing, f"{span}: {step.because}"
        yield (
            _("closing") if step is later[-1] else _("reading"),
            step.remaining,
            _("read at {at}").format(at=when(step.at)),
        )
        before = step


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
