"""What is looked at before anything is sent: the kind of a text, its words and signs, and whom it would reach again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from engine.cli import out
from engine.cli.asking import read_line
from engine.cli.words import Common, Order
from engine.errors import PlanError, SendRefused
from engine.language import N_, _
from engine.planning.kinds import MARKETING, NOTICE
from engine.planning.risks import Risk, risks
from engine.planning.wording import SameText

if TYPE_CHECKING:
    from engine.orders.keywords import Checked, Explained
    from engine.orders.plans import Plan
    from engine.orders.radar import Overlap
    from engine.settings import Settings

_VALUES_SHOWN = 5
_KINDS = {MARKETING: (MARKETING, "营销短信"), NOTICE: (NOTICE, "通知短信")}  # and how they may be answered
_THINGS = {"texts": N_("texts"), "different cells": N_("different cells")}
AGAIN_HINT = N_("Many of them got nearly this text lately: where nobody can be asked, `send` wants --again as well.\n")
Line = tuple[str, str, str]


def with_kind(settings: Settings, order: Order, common: Common, *, asks: bool) -> Settings:
    """The settings with what kind of text this is: asked for where there is somebody to ask."""
    if settings.message.kind or order.add_to is not None:
        return settings
    if not asks:
        out.tell(
            common,
            _(
                "Note: nobody says whether this is marketing or a notice; tell with --kind marketing or --kind "
                "notice.\n"
            ),
        )
        return settings
    kind = None
    while kind is None:
        out.ask(_("Is this marketing, or a notice? [m/n] "))
        said = read_line().strip().lower()
        if not said:
            raise PlanError(_("{said!r} is neither marketing nor notice; say it with --kind").format(said=said))
        kind = next((kind for kind, words in _KINDS.items() if any(word.startswith(said) for word in words)), None)
    return replace(settings, message=settings.message.model_copy(update={"kind": kind}))


def screening_lines(plan: Plan) -> Iterator[Line]:
    """The lines of the preview."""
    yield _("kind"), plan.kind or _("not said: --kind marketing or --kind notice"), ""
    for risk in plan_risks(plan):
        yield _("look at"), risk_words(risk), ""
    if plan.overlap is not None and plan.overlap.reached:
        yield _("reached"), overlap_words(plan.overlap), ""
    if plan.checked is not None:
        yield _("keywords"), checked_words(plan.checked), ""
        for name, values in plan.checked.forbidden.values.items():
            shown = "、".join(list(values)[:_VALUES_SHOWN])
            more = (
                _(" and {count:,} more").format(count=len(values) - _VALUES_SHOWN)
                if len(values) > _VALUES_SHOWN
                else ""
            )
            yield "  " + _("forbidden"), f"{name}: {shown}{more}", ""


def overlap_words(overlap: Overlap) -> str:
    """How many of these people got something lately."""
    told = (
        _("{share} of these people got a message in the last day")
        if overlap.days == 1
        else _("{share} of these people got a message in the last {days:g} days")
    ).format(share=_share(overlap, overlap.reached), days=overlap.days)
    if not overlap.alike:
        return told
    return _("{told} ({share} nearly this text: campaign {campaign})").format(
        told=told, share=_share(overlap, overlap.alike), campaign=overlap.campaign
    )


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
            _(
                "nothing was sent: {overlap}. If that is meant, add --again (from which share on it is refused: "
                "[radar] ask_above_percent)"
            ).format(overlap=overlap_words(plan.overlap))
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
    return (
        _("「{sign}」 at position {position}: {why}").format(sign=risk.sign, position=risk.position, why=risk.why)
        if risk.position
        else risk.why
    )


def checked_words(checked: Checked) -> str:
    """What the gateway said of the texts, and how much was asked."""
    if not checked.checked:
        return _("not checked: {problem}").format(problem=checked.problem)
    found = sum(map(len, checked.forbidden.values.values())) + len(checked.forbidden.rows)
    verdict = _("{found:,} FORBIDDEN, their rows are left out").format(found=found) if found else _("none is forbidden")
    if checked.of == checked.checked == 1 and not found:
        asked = _("the text is checked")
        verdict = _("it is clean")
    elif checked.of == checked.checked:
        asked = _("all {checked:,} {things} are checked").format(
            checked=checked.checked, things=_(_THINGS[checked.things])
        )
    else:
        of = _("many") if checked.of is None else f"{checked.of:,}"
        asked = _("the {checked:,} most frequent of {of} {things} are checked").format(
            checked=checked.checked, of=of, things=_(_THINGS[checked.things])
        )
    why = f" ({checked.problem})" if checked.problem else ""
    return _("{asked}: {verdict}{why}").format(asked=asked, verdict=verdict, why=why)


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
        lines.append(
            _("FORBIDDEN words stand in the text itself: the gateway says 「{fixed}」").format(fixed=found.fixed)
        )
    for name, values in found.values.items():
        lines += [
            _("{name} = {value}: the gateway says 「{words}」").format(name=name, value=value, words=words)
            for value, words in values.items()
        ]
    if found.clean:
        lines.append(
            _("{clean:,} of the {texts:,} refused texts are clean, the gateway says now").format(
                clean=found.clean, texts=found.texts
            )
        )
    if found.unclear:
        lines.append(
            _("{unclear:,} texts are forbidden as a whole; no single cell of them is").format(unclear=found.unclear)
        )
    if found.problem:
        lines.append(_("Not everything could be asked: {problem}").format(problem=found.problem))
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
