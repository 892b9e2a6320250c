"""The report as one page of HTML: nothing is loaded from elsewhere, no script, charts in SVG. It prints on A4.

Everything that comes from lists, gateways and people is escaped, and no full number appears.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from html import escape
from itertools import accumulate

from engine.language import N_, Language, _, _n, spoken
from engine.ledger.summary import CampaignSummary
from engine.moments import local, zone_words
from engine.results.report import Findings, Span, over_time
from engine.telemetry import mask

_SHOWN_REASONS = 20
_LANGUAGE_TAGS: Mapping[Language, str] = {"en": "en", "zh": "zh-CN"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the page calls things: the state in a sentence, the reasons why rows were left out, and lines about the run.

    `account`: whose the campaign is, "" where the settings do not know it. `cost`: what its points cost, and what they were to
    cost where that differs; empty where no price is known.
    """

    state: str
    account: str
    cost: Sequence[str]
    excluded: dict[str, str]
    run: Sequence[tuple[str, str]]


def page(summary: CampaignSummary, found: Findings, words: Words, *, at: datetime) -> str:
    """The whole page. `at`: when it was made."""
    sections = (
        _head(summary, found, words, at),
        _cards(summary, words),
        _section(_("Where the rows went"), _share_bar(summary) + _rows_table(found, words)),
        _section(_("Over time"), _chart(over_time(found))),
        _section(_("Why some were not delivered"), _reasons_table(found)),
        _section(_("By {column}").format(column=found.column), _values_table(found)) if found.column else "",
        _section(
            _("What the gateway refused"), _counted(found.refusals.most_common(_SHOWN_REASONS), _("in its words"))
        ),
        _section(_("In doubt"), _doubts(summary, found)),
        _section(_("Points"), _points_table(summary, words)),
        _section(_("The run"), _facts(words.run)),
    )
    title = escape(mask(summary.campaign))
    return (
        f'<!doctype html>\n<html lang="{_LANGUAGE_TAGS[spoken()]}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f'<meta name="color-scheme" content="light dark">\n<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n<main>\n{''.join(sections)}</main>\n</body>\n</html>\n"
    )


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _head(summary: CampaignSummary, found: Findings, words: Words, at: datetime) -> str:
    texts = found.known.texts
    said = f'<blockquote class="text">{_text(texts[0])}</blockquote>' if len(texts) == 1 and texts[0] else ""
    if len(texts) > 1:
        said = f'<p class="muted">{_("personal texts: made from the columns of the list")}</p>'
    account = [_("account {name}").format(name=_text(words.account))] if words.account else []
    made = [
        *account,
        _("made {time}").format(time=_when(summary.created_at)),
        _("this page {time}").format(time=_when(at)),
        _("times in {zone}").format(zone=_text(zone_words())),
    ]
    return (
        f'<header>\n<p class="eyebrow">{_("campaign report")}</p>\n<h1>{_text(summary.campaign)}</h1>\n'
        f'<p class="state {summary.state.value}">{_text(words.state)}</p>\n{said}\n'
        f'<p class="muted">{" · ".join(made)}</p>\n</header>\n'
    )


def _cards(summary: CampaignSummary, words: Words) -> str:
    told, accepted = summary.delivery, summary.recipients["accepted"]
    cards: list[tuple[str, int | Decimal, str, str]] = [
        (
            _("recipients"),
            sum(summary.recipients.values()),
            _n("of {rows:,} row", "of {rows:,} rows", summary.rows).format(rows=summary.rows),
            "",
        ),
        (_("accepted"), accepted, _part(accepted, sum(summary.recipients.values())), ""),
        (_("delivered"), told.delivered, _part(told.delivered, accepted), "good"),
        (_("undelivered"), told.undelivered, _part(told.undelivered, accepted), "bad"),
        (_("no report"), summary.unreported, _part(summary.unreported, accepted), "dim"),
        (_("points"), summary.charged, _("{figure} estimated").format(figure=_figure(summary.estimated)), ""),
    ]
    beside = " · ".join(_("{figure} estimated").format(figure=each) for each in words.cost[1:])
    costs = [(_("cost"), words.cost[0], beside, "")] if words.cost else []
    shown = [*((label, _figure(value), beside, kind) for label, value, beside, kind in cards), *costs]
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card {kind}"><span class="label">{label}</span>'
            f'<span class="figure">{escape(value)}</span><span class="muted">{escape(beside)}</span></div>'
            for label, value, beside, kind in shown
        )
        + "</div>\n"
    )


_KINDS = (N_("delivered"), N_("undelivered"), "unreported", "waiting", "refused", N_("in doubt"), N_("left out"))
_KIND_WORDS = {
    "waiting": N_("not sent yet"),
    "refused": N_("refused, cancelled or expired"),
    "unreported": N_("no report"),
}


def _kinds(summary: CampaignSummary) -> dict[str, int]:
    """Every row in one of a few kinds."""
    those = summary.recipients
    return dict(
        zip(
            _KINDS,
            (
                summary.delivery.delivered,
                summary.delivery.undelivered,
                summary.unreported,
                those["planned"] + those["in_flight"],
                those["refused"] + those["cancelled"] + those["expired"],
                those["in_doubt"],
                sum(summary.excluded.values()),
            ),
            strict=True,
        )
    )


def _share_bar(summary: CampaignSummary) -> str:
    """All rows as one bar, and what its colours mean."""
    kinds = {kind: count for kind, count in _kinds(summary).items() if count}
    whole = sum(kinds.values()) or 1
    bars, at = [], 0.0
    for kind, count in kinds.items():
        width = 1000 * count / whole
        bars.append(f'<rect class="{_css(kind)}" x="{at:.2f}" y="0" width="{max(width, 0.8):.2f}" height="26"/>')
        at += width
    legend = "".join(
        f'<li><span class="dot {_css(kind)}"></span>{_kind_words(kind)} <b>{count:,}</b> '
        f'<span class="muted">{_part(count, whole)}</span></li>'
        for kind, count in kinds.items()
    )
    return (
        '<svg class="share" viewBox="0 0 1000 26" preserveAspectRatio="none" role="img" aria-label="'
        f'{_("shares of all rows")}">'
        f'{"".join(bars)}</svg>\n<ul class="legend">{legend}</ul>\n'
    )


def _kind_words(kind: str) -> str:
    return _(_KIND_WORDS.get(kind, kind))


def _rows_table(found: Findings, words: Words) -> str:
    left_out = {reason: count for reason, count in found.excluded.most_common() if count}
    if not left_out:
        return ""
    rows = [(words.excluded.get(reason, reason), count) for reason, count in left_out.items()]
    return f"<h3>{_('left out')}</h3>\n" + _counted(rows, _("why"))


def _reasons_table(found: Findings) -> str:
    reasons = found.reasons()
    if not reasons:
        return ""
    whole = sum(reason.count for reason in reasons)
    rows = "".join(
        f"<tr><td><code>{_text(reason.code) or _('(none)')}</code></td><td>{_text(reason.meaning)}</td>"
        f"{_count_cells(reason.count, whole)}</tr>\n"
        for reason in reasons[:_SHOWN_REASONS]
    )
    if rest := reasons[_SHOWN_REASONS:]:
        count = sum(reason.count for reason in rest)
        rows += f"<tr><td></td><td>{_('{count:,} more codes').format(count=len(rest))}</td>{_count_cells(count, whole)}</tr>\n"
    return (
        f'<table><thead><tr><th>{_("code")}</th><th>{_("meaning, where known")}</th><th class="n">{_("people")}</th>'
        f'<th class="n">{_("share")}</th><th class="bar"></th></tr></thead><tbody>\n{rows}</tbody></table>\n'
    )


def _values_table(found: Findings) -> str:
    labels = (_("recipients"), _("delivered"), _("undelivered"), _("no report"), _("delivered of accepted"))
    heads = [f'<th class="n">{label}</th>' for label in labels]
    rows = "".join(
        f'<tr><td>{_text(value)}</td><td class="n">{tally.recipients:,}</td><td class="n">{tally.delivered:,}</td>'
        f'<td class="n">{tally.undelivered:,}</td><td class="n">{tally.unreported:,}</td>'
        f'<td class="n">{_part(tally.delivered, tally.accepted)}</td>'
        f'<td class="bar">{_bar((tally.delivered, "delivered"), (tally.undelivered, "undelivered"), (tally.unreported, "unreported"))}</td></tr>\n'
        for value, tally in found.by_value()
    )
    lacking = _("Of {count:,} rows the list is not there any more.").format(count=found.without_list)
    return (
        f"<table><thead><tr><th>{_text(found.column or '')}</th>{''.join(heads)}"
        f'<th class="bar"></th></tr></thead><tbody>\n{rows}</tbody></table>\n'
        + (f'<p class="muted">{lacking}</p>' if found.without_list else "")
    )


def _doubts(summary: CampaignSummary, found: Findings) -> str:
    if not found.doubts:
        return ""
    words = _(
        "{count:,} recipients: their answers were lost, and nothing was sent to them again: it could reach people twice."
    ).format(count=summary.recipients["in_doubt"])
    return f"<p>{words}</p>\n" + _counted(found.doubts.most_common(_SHOWN_REASONS), _("what is known"))


def _points_table(summary: CampaignSummary, words: Words) -> str:
    facts = [
        (_("estimated"), _figure(summary.estimated)),
        (_("charged for this campaign"), _figure(summary.charged)),
        *zip((_("cost"), _("cost estimated")), words.cost, strict=False),
        (_("balance before"), _figure(summary.opening)),
        (_("topped up since"), _figure(summary.topped_up)),
        (_("balance at the last reading"), _figure(summary.remaining)),
        (_("unexplained"), _figure(summary.unexplained)),
    ]
    return _facts(facts)


# ── pieces ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{_text(title)}</h2>\n{body}</section>\n" if body else ""


def _counted(rows: Sequence[tuple[str, int]], heading: str) -> str:
    if not rows:
        return ""
    whole = sum(count for _, count in rows)
    cells = "".join(f"<tr><td>{_text(words)}</td>{_count_cells(count, whole)}</tr>\n" for words, count in rows)
    return (
        f'<table><thead><tr><th>{heading}</th><th class="n">{_("rows")}</th><th class="n">{_("share")}</th><th class="bar"></th></tr></thead>'
        f"<tbody>\n{cells}</tbody></table>\n"
    )


def _count_cells(count: int, whole: int) -> str:
    bar = _bar((count, "plain"), (whole - count, "none"))
    return f'<td class="n">{count:,}</td><td class="n">{_part(count, whole)}</td><td class="bar">{bar}</td>'


def _bar(*parts: tuple[int, str]) -> str:
    whole, at, rects = sum(count for count, _ in parts) or 1, 0.0, []
    for count, kind in parts:
        width = 100 * count / whole
        rects.append(f'<rect class="{kind}" x="{at:.2f}" y="0" width="{width:.2f}" height="8"/>' if count else "")
        at += width
    return f'<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">{"".join(rects)}</svg>'


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in facts) + "</dl>\n"


_WIDE, _HIGH, _LEFT, _BELOW, _WIDEST = 1000.0, 240.0, 90.0, 26.0, 60.0


def _chart(spans: Sequence[Span]) -> str:
    """How many were submitted (a line), delivered and undelivered (bars) up to each moment.

    All so far, not the new ones: a campaign is submitted in minutes and reported over hours, and one scale has to hold both.
    """
    if not spans:
        return ""
    spans = list(accumulate(spans, _so_far))
    top = _round_up(max(max(span.delivered + span.undelivered, span.submitted) for span in spans))
    step = (_WIDE - _LEFT) / len(spans)
    marks = "".join(
        f'<line class="grid" x1="{_LEFT}" x2="{_WIDE}" y1="{_y(value, top):.1f}" y2="{_y(value, top):.1f}"/>'
        f'<text x="{_LEFT - 8}" y="{_y(value, top) + 4:.1f}" class="axis" text-anchor="end">{value:,.0f}</text>'
        for value in (0, top / 2, top)
    )
    bars = "".join(_span_bars(span, _LEFT + at * step, step, top) for at, span in enumerate(spans))
    points = " ".join(f"{_LEFT + (at + 0.5) * step:.1f},{_y(span.submitted, top):.1f}" for at, span in enumerate(spans))
    line = f'<polyline class="submitted" points="{points}"/>'
    if len(spans) == 1:  # a line of one point is not seen
        line = f'<line class="submitted" x1="{_LEFT:.0f}" x2="{_WIDE:.0f}" y1="{_y(spans[0].submitted, top):.1f}" y2="{_y(spans[0].submitted, top):.1f}"/>'
    scale = _("up to each moment, a bar for {length}; by the time in the gateway’s reports").format(
        length=_length(spans[0].minutes)
    )
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDE:.0f} {_HIGH:.0f}" role="img" '
        f'aria-label="{_("delivered and undelivered over time")}">'
        f"{marks}{bars}{line}{_times(spans, step)}</svg>\n"
        f'<ul class="legend"><li><span class="dot delivered"></span>{_("delivered")}</li>'
        f'<li><span class="dot undelivered"></span>{_("undelivered")}</li>'
        f'<li><span class="dot submitted"></span>{_("submitted")}</li><li class="muted">{scale}</li></ul>\n'
    )


def _so_far(before: Span, span: Span) -> Span:
    return replace(
        span,
        submitted=before.submitted + span.submitted,
        delivered=before.delivered + span.delivered,
        undelivered=before.undelivered + span.undelivered,
    )


def _span_bars(span: Span, x: float, step: float, top: int) -> str:
    width, y, bars = min(max(step * 0.8, 0.6), _WIDEST), _y(0, top), []
    told = (
        (span.delivered, "delivered", _("{begin}: {count:,} delivered so far")),
        (span.undelivered, "undelivered", _("{begin}: {count:,} undelivered so far")),
    )
    for count, kind, words in told:
        if count:
            height = _y(0, top) - _y(count, top)
            y -= height
            title = words.format(begin=f"{span.begin:%m-%d %H:%M}", count=count)
            bars.append(
                f'<rect class="{kind}" x="{x + (step - width) / 2:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
                f"<title>{title}</title></rect>"
            )
    return "".join(bars)


def _times(spans: Sequence[Span], step: float) -> str:
    every = max(1, -(-len(spans) // 8))
    several_days = spans[0].begin.date() != spans[-1].begin.date()
    form = "%m-%d" if spans[0].minutes >= 1440 else "%m-%d %H:%M" if several_days else "%H:%M"
    return "".join(
        f'<text class="axis" x="{_LEFT + (at + 0.5) * step:.1f}" y="{_HIGH - 6:.0f}" text-anchor="middle">{span.begin:{form}}</text>'
        for at, span in enumerate(spans)
        if at % every == 0 and _LEFT + (at + 0.5) * step < _WIDE - 40
    )


def _y(value: float, top: int) -> float:
    return 10 + (_HIGH - _BELOW - 10) * (1 - value / top)


def _round_up(value: int) -> int:
    """The next of 2, 4, 10, 20, 40, 100, …: half of it is a whole number too."""
    top = 2
    while top < value:
        top = top * 5 // 2 if str(top)[0] == "4" else top * 2
    return top


def _length(minutes: int) -> str:
    if minutes < 60:
        return _("{minutes:g} min").format(minutes=minutes)
    if minutes < 1440:
        return _("{hours} h").format(hours=minutes // 60)
    return _("{days} d").format(days=minutes // 1440)


def _css(kind: str) -> str:
    return kind.replace(" ", "-")


def _text(words: str) -> str:
    """Anybody's words in the page: numbers masked, signs escaped, control characters shown as nothing."""
    clean = "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in mask(words))
    return escape(clean)


def _figure(value: int | Decimal | None) -> str:
    return _("not known") if value is None else f"{value:,f}" if isinstance(value, Decimal) else f"{value:,}"


def _part(count: int, whole: int) -> str:
    return f"{100 * count / whole:.1f} %" if whole else "–"


def _when(at: datetime) -> str:
    return f"{local(at):%Y-%m-%d %H:%M}"


_STYLE = """
:root { --ink:#1d2430; --dim:#667085; --line:#e4e7ec; --paper:#ffffff; --sheet:#f6f7f9; --good:#2e8b67; --bad:#c8553d;
  --wait:#b8c0cc; --late:#d9a441; --blue:#3867b5; --out:#8a94a6; }
@media (prefers-color-scheme: dark) { :root { --ink:#e7eaf0; --dim:#98a2b3; --line:#2c3442; --paper:#171c25; --sheet:#0f131a;
  --good:#4db58c; --bad:#e07a5f; --wait:#566072; --late:#e0b45c; --blue:#7aa2e3; --out:#6b7588; } }
* { box-sizing:border-box }
body { margin:0; background:var(--sheet); color:var(--ink); font:15px/1.55 system-ui,"PingFang SC","Microsoft YaHei",
  "Noto Sans CJK SC","WenQuanYi Zen Hei",sans-serif; -webkit-print-color-adjust:exact; print-color-adjust:exact }
main { max-width:60rem; margin:0 auto; padding:2rem 1.25rem 3rem }
header { margin-bottom:1.25rem }
.eyebrow { margin:0; color:var(--dim); letter-spacing:.08em; font-size:.8rem }
h1 { margin:.1rem 0 .35rem; font-size:1.9rem; line-height:1.2; overflow-wrap:anywhere }
h2 { margin:0 0 .8rem; font-size:1.05rem }
h3 { margin:1.1rem 0 .4rem; font-size:.9rem; color:var(--dim); font-weight:600 }
p { margin:.3rem 0 } .muted { color:var(--dim); font-size:.87rem }
.state { display:inline-block; margin:.1rem 0 .5rem; padding:.1rem .6rem; border-radius:1rem; background:var(--blue); color:#fff;
  font-size:.85rem } .state.finished { background:var(--good) } .state.paused,.state.cancelled { background:var(--bad) }
.text { margin:.4rem 0; padding:.5rem .9rem; border-left:3px solid var(--line); background:var(--paper); white-space:pre-wrap;
  overflow-wrap:anywhere }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr)); gap:.7rem; margin-bottom:.9rem }
.card,section { background:var(--paper); border:1px solid var(--line); border-radius:.6rem }
.card { padding:.6rem .8rem; display:flex; flex-direction:column }
.card .label { color:var(--dim); font-size:.8rem } .card .figure { font-size:1.2rem; font-weight:650; line-height:1.35;
  font-variant-numeric:tabular-nums } .card.good .figure { color:var(--good) } .card.bad .figure { color:var(--bad) }
section { padding:1rem 1.1rem; margin-bottom:.9rem; break-inside:avoid }
table { width:100%; border-collapse:collapse; font-size:.92rem } th { text-align:left; color:var(--dim); font-weight:500;
  font-size:.82rem } th,td { padding:.32rem .5rem; border-bottom:1px solid var(--line); vertical-align:baseline;
  overflow-wrap:anywhere } tbody tr:last-child td { border-bottom:0 }
.n { text-align:right; white-space:nowrap; font-variant-numeric:tabular-nums } .bar { width:22%; vertical-align:middle } td.bar svg { width:100%;
  height:.5rem; display:block } code { font-size:.9em }
dl { display:grid; grid-template-columns:minmax(9rem,max-content) 1fr; gap:.25rem 1.2rem; margin:0 } dt { color:var(--dim) }
dd { margin:0; overflow-wrap:anywhere; font-variant-numeric:tabular-nums }
.share { width:100%; height:1.6rem; border-radius:.35rem; display:block } .chart { width:100%; height:auto; display:block }
.legend { list-style:none; display:flex; flex-wrap:wrap; gap:.2rem 1.1rem; margin:.6rem 0 0; padding:0; font-size:.88rem }
.dot { display:inline-block; width:.7em; height:.7em; border-radius:2px; margin-right:.4em }
rect.delivered { fill:var(--good) } rect.undelivered { fill:var(--bad) } rect.unreported { fill:var(--wait) }
rect.waiting,rect.plain { fill:var(--blue) } rect.refused { fill:var(--late) } rect.in-doubt { fill:#8d5bb5 }
rect.left-out { fill:var(--out); opacity:.55 } rect.none { fill:var(--line) }
.dot.delivered { background:var(--good) } .dot.undelivered { background:var(--bad) } .dot.unreported { background:var(--wait) }
.dot.waiting,.dot.submitted { background:var(--blue) } .dot.refused { background:var(--late) }
.dot.in-doubt { background:#8d5bb5 } .dot.left-out { background:var(--out); opacity:.55 } .dot.submitted { height:.2em;
  vertical-align:middle }
.grid { stroke:var(--line); stroke-width:1 } .axis { fill:var(--dim); font-size:13px }
.submitted { fill:none; stroke:var(--blue); stroke-width:2; stroke-linejoin:round }
@page { size:A4; margin:14mm }
@media print { :root { --ink:#1d2430; --dim:#5b6472; --line:#d8dce3; --paper:#fff; --sheet:#fff; --good:#2e8b67; --bad:#c8553d;
  --wait:#b8c0cc; --late:#d9a441; --blue:#3867b5; --out:#8a94a6 } body { font-size:10.5pt } main { max-width:none; padding:0 }
  .cards { grid-template-columns:repeat(auto-fit,minmax(4.5rem,1fr)); gap:.4rem } .card { padding:.4rem .45rem } .card .figure { font-size:.95rem }
  section,.card { border-color:#d8dce3 } tr { break-inside:avoid } }
"""
