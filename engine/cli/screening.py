"""What is looked at before anything is sent: the kind of a text, its words and signs, and whom it would reach again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.cli import out
from engine.cli.asking import read_line
from engine.cli.words import Common, Order
from engine.errors import PlanError, SendRefused
from engine.planning.kinds import MARKETING, NOTICE
from engine.planning.risks import Risk, risks
from engine.planning.wording import SameText

if TYPE_CHECKING:
    from engine.orders.keywords import Checked, Explained
    from engine.orders.plans import Plan
    from engine.orders.radar import Overlap
    from engine.settings import Settings

_VALUES_SHOWN = 5
AGAIN_HINT = "Many of them got nearly this text lately: where nobody can be asked, `send` wants --again as well.\n"
Line = tuple[str, str, str]


def with_kind(settings: Settings, order: Order, common: Common, *, asks: bool) -> Settings:
    """The settings with what kind of text this is: asked for where there is somebody to ask."""
    if settings.message.kind or order.add_to is not None:
        return settings
    if not asks:
        out.tell(
            common,
            "Note: nobody says whether this is marketing or a notice; tell with --kind marketing or --kind notice.\n",
        )
        return settings
    out.ask("Is this marketing, or a notice? [m/n] ")
    said = read_line().strip().lower()
    kind = next((kind for kind in (MARKETING, NOTICE) if said and kind.startswith(said)), None)
    if kind is None:
        raise PlanError(f"{said!r} is neither marketing nor notice; say it with --kind")
    return replace(settings, message=settings.message.model_copy(update={"kind": kind}))


def screening_lines(plan: Plan) -> Iterator[Line]:
    """The lines of the preview."""
    yield "kind", plan.kind or "not said: --kind marketing or --kind notice", ""
    for risk in plan_risks(plan):
        yield "look at", risk_words(risk), ""
    if plan.overlap is not None and plan.overlap.reached:
        yield "reached", overlap_words(plan.overlap), ""
    if plan.checked is not None:
        yield "keywords", checked_words(plan.checked), ""
        for name, values in plan.checked.forbidden.values.items():
            shown = "、".join(list(values)[:_VALUES_SHOWN])
            more = f" and {len(values) - _VALUES_SHOWN:,} more" if len(values) > _VALUES_SHOWN else ""
            yield "  forbidden", f"{name}: {shown}{more}", ""


def overlap_words(overlap: Overlap) -> str:
    """How many of these people got something lately."""
    days = "day" if overlap.days == 1 else f"{overlap.days:g} days"
    told = f"{_share(overlap, overlap.reached)} of these people got a message in the last {days}"
    if not overlap.alike:
        return told
    return f"{told} ({_share(overlap, overlap.alike)} nearly this text: campaign {overlap.campaign})"


def _share(overlap: Overlap, part: int) -> str:
    share = overlap.share(part)
    return f"{part:,}" if share < 0.5 or 99.5 <= share < 100 else f"{share:.0f} %"


def repeats(plan: Plan, settings: Settings, *, again: bool) -> bool:
    """Whether so many of these people got nearly this text lately that somebody should say that it is meant."""
    overlap = plan.overlap
    if overlap is None or again or not overlap.alike:
        return False
    return overlap.share(overlap.alike) > settings.radar.ask_above_percent


def refuse_repeats(plan: Plan, settings: Settings) -> None:
    """Raises SendRefused where nobody can be asked about a repetition, unless the settings let it pass."""
    assert plan.overlap is not None
    if settings.radar.refuse:
        raise SendRefused(
            f"nothing was sent: {overlap_words(plan.overlap)}. If that is meant, add --again "
            "(from which share on it is refused: [radar] ask_above_percent)"
        )


def plan_risks(plan: Plan) -> list[Risk]:
    """What in the text, or in the texts that are shown, may trip a filter."""
    words = plan.profile.risky_words
    if isinstance(plan.wording, SameText):
        return risks(plan.wording.message.content, words)
    shown = risks(plan.wording.shown, words)
    longest = (
        []
        if plan.tally.longest is None
        else [risk for risk in risks(plan.tally.longest[1].content, words) if not risk.position]
    )
    return longest + [risk for risk in shown if risk.position]


def risk_words(risk: Risk) -> str:
    """A risk in a sentence."""
    return f"「{risk.sign}」 at position {risk.position}: {risk.why}" if risk.position else risk.why


def checked_words(checked: Checked) -> str:
    """What the gateway said of the texts, and how much was asked."""
    if not checked.checked:
        return f"not checked: {checked.problem}"
    found = sum(map(len, checked.forbidden.values.values())) + len(checked.forbidden.rows)
    verdict = f"{found:,} FORBIDDEN, their rows are left out" if found else "none is forbidden"
    if checked.of == checked.checked == 1 and not found:
        asked = "the text is checked"
        verdict = "it is clean"
    elif checked.of == checked.checked:
        asked = f"all {checked.checked:,} {checked.things} are checked"
    else:
        of = "many" if checked.of is None else f"{checked.of:,}"
        asked = f"the {checked.checked:,} most frequent of {of} {checked.things} are checked"
    why = f" ({checked.problem})" if checked.problem else ""
    return f"{asked}: {verdict}{why}"


def screening_json(plan: Plan) -> dict[str, Any]:
    """The same for machines."""
    checked = plan.checked
    return {
        "kind": plan.kind or None,
        "risks": [risk._asdict() for risk in plan_risks(plan)],
        "reached": None
        if plan.overlap is None
        else {
            "days": plan.overlap.days,
            "any": plan.overlap.reached,
            "nearly_this_text": plan.overlap.alike,
            "campaign": plan.overlap.campaign or None,
        },
        "keywords": None
        if checked is None
        else {
            "checked": checked.checked,
            "of": checked.of,
            "things": checked.things,
            "questions": checked.questions,
            "problem": checked.problem or None,
            "forbidden": {name: list(values) for name, values in checked.forbidden.values.items()},
        },
    }


def explained_page(found: Explained) -> str:
    """Why texts of a campaign were refused."""
    lines = []
    if found.fixed:
        lines.append(f"FORBIDDEN words stand in the text itself: the gateway says 「{found.fixed}」")
    for name, values in found.values.items():
        lines += [f"{name} = {value}: the gateway says 「{words}」" for value, words in values.items()]
    if found.clean:
        lines.append(f"{found.clean:,} of the {found.texts:,} refused texts are clean, the gateway says now")
    if found.unclear:
        lines.append(f"{found.unclear:,} texts are forbidden as a whole; no single cell of them is")
    if found.problem:
        lines.append(f"Not everything could be asked: {found.problem}")
    return "".join(f"{line}\n" for line in lines)


def explained_json(found: Explained) -> dict[str, Any]:
    """The same for machines."""
    return {
        "texts": found.texts,
        "text": found.fixed or None,
        "values": {name: dict(values) for name, values in found.values.items()},
        "clean": found.clean,
        "unclear": found.unclear,
        "problem": found.problem or None,
    }
