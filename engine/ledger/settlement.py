"""Settlement: how a doubt ends by the balance alone, or why it waits. Pure, and the same for any order of the rows.

A wrong settlement is a double or a loss, so every rule here prefers to wait. What is concluded holds in every way in which
the gaps of the balance chain can be filled by what may have been charged: everything doubtful and everything in flight,
alone and in sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from unicodedata import east_asian_width

from engine.language import _
from engine.ledger.chain import EARLIEST, LATEST, Candidate, Chain, Gap, Link, read_chain
from engine.ledger.evidence import (
    AttemptKey,
    Doubt,
    Finding,
    InFlight,
    Source,
    Standing,
    Stretch,
    Verdict,
    amount,
    clock,
)
from engine.ledger.explaining import NOWHERE, OUTSIDE, Explanation, Piece, explain, ways

_WORST_TIMES = 4  # a shortfall may be this many times as large as the worst that was seen
_NAMES_SHOWN = 4
_LABEL_CELLS = 7  # of the drawing


@dataclass(frozen=True, slots=True, kw_only=True)
class GapFact:
    """A gap of the chain for the audit. `taken_by`: the only batches that can explain it, None where that is not certain."""

    gap: Gap
    taken_by: tuple[AttemptKey, ...] | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """A verdict for each open doubt, by key; why the chain is off (None: it is not); its gaps; the chain drawn as text."""

    verdicts: tuple[Verdict, ...]
    off: str | None
    gaps: tuple[GapFact, ...]
    drawing: tuple[str, ...]
    price: Fraction  # points really charged for a point expected


def settle(stretch: Stretch) -> Settlement:
    """Say of every open doubt whether the balance proves it taken or not taken, and with which evidence."""
    chain = read_chain(stretch)
    if chain.off is not None:
        return _switched_off(stretch, chain, chain.off)
    pieces = _pieces(stretch, chain)
    explanation = explain(
        [gap.size for gap in chain.gaps], pieces, [_places(chain, candidate) for candidate in chain.candidates]
    )
    off = _contradiction(chain, explanation)
    if off is not None:
        return _switched_off(stretch, chain, off)
    judge = _Judge(stretch, chain, pieces, explanation)
    asked = [at for at, each in enumerate(chain.candidates) if _is_asked(each.row)]
    facts = tuple(judge.fact(at) for at in range(len(chain.gaps)))
    return Settlement(
        verdicts=tuple(judge.verdict(at) for at in asked),
        off=None,
        gaps=facts,
        drawing=_draw(chain, facts),
        price=chain.price,
    )


def _is_asked(row: object) -> bool:
    return isinstance(row, Doubt) and row.standing is Standing.OPEN


def _switched_off(stretch: Stretch, chain: Chain, why: str) -> Settlement:
    words = _("the balance cannot tell: {why}; a delivery report or an operator must").format(why=why)
    doubts = sorted((doubt for doubt in stretch.doubts if _is_asked(doubt)), key=lambda doubt: doubt.key)
    facts = tuple(GapFact(gap=gap, taken_by=None, words=_("not judged")) for gap in chain.gaps)
    return Settlement(
        verdicts=tuple(
            Verdict(key=doubt.key, finding=Finding.OPEN, source=Source.BALANCE, evidence=words) for doubt in doubts
        ),
        off=why,
        gaps=facts,
        drawing=(_("the chain is off: {why}").format(why=why), *_draw(chain, facts)),
        price=chain.price,
    )


# -- the puzzle ----------------------------------------------------------------------------------------------------


def _pieces(stretch: Stretch, chain: Chain) -> list[Piece]:
    """What each candidate takes out of a gap, if it stands there."""
    lacking = _most_lacking(stretch)
    return [_piece(candidate, lacking) for candidate in chain.candidates]


def _most_lacking(stretch: Stretch) -> int:
    """How many numbers of a batch may have gone uncharged; 0 where short counts do not happen on this account."""
    policy, answered = stretch.policy, stretch.answered
    worst = max((row.lacking for row in answered), default=0)
    if not policy.short_counts and not worst and len(answered) >= policy.whole_answers_needed:
        return 0
    return max(policy.short_bound, _WORST_TIMES * worst)


def _piece(candidate: Candidate, lacking: int) -> Piece:
    """What a candidate takes out of a gap. Only an answer without a balance is known exactly."""
    row, charge = candidate.row, candidate.charge
    if not isinstance(row, Doubt | InFlight) or not lacking or charge <= 0:
        return Piece(least=charge, most=charge)
    step = charge // row.size if charge % row.size == 0 else 1
    least = charge - min(row.size - 1, lacking) * charge // row.size
    return Piece(least=least, most=charge, step=step)


def _places(chain: Chain, candidate: Candidate) -> set[int]:
    """The gaps whose bracket meets the candidate's, and where else its charge may be."""
    places = {at for at, gap in enumerate(chain.gaps) if candidate.begin <= gap.end and candidate.end >= gap.begin}
    if candidate.begin <= chain.first_end or candidate.end >= chain.seen_until:
        places.add(OUTSIDE)
    if not candidate.is_certain:
        places.add(NOWHERE)
    return places


def _contradiction(chain: Chain, explanation: Explanation) -> str | None:
    if explanation.unfilled is not None:
        gap = chain.gaps[explanation.unfilled]
        return _("an unexplained step: nothing of ours makes up the {gap}").format(gap=gap)
    if explanation.homeless is not None:
        candidate = chain.candidates[explanation.homeless]
        return _("{name} was taken, and the balance has no place for its charge").format(name=candidate.name)
    return None


# -- the verdicts --------------------------------------------------------------------------------------------------


class _Judge:
    """Turns the places that are left into verdicts with their evidence."""

    def __init__(self, stretch: Stretch, chain: Chain, pieces: Sequence[Piece], explanation: Explanation) -> None:
        self._stretch, self._chain, self._explanation = stretch, chain, explanation
        self._fillers: list[list[int]] = [[] for _ in chain.gaps]
        for at, places in enumerate(explanation.places):
            for place in places:
                if place >= 0:
                    self._fillers[place].append(at)
        self._is_unique = [all(self._is_charged(at) for at in fillers) for fillers in self._fillers]
        # Enough for a stranger to the gap: which charges fill it is certain, though two equal batches may both be able to.
        self._is_closed = [
            self._is_unique[gap] or ways([pieces[at] for at in fillers], chain.gaps[gap].size) == 1
            for gap, fillers in enumerate(self._fillers)
        ]

    def _is_charged(self, at: int) -> bool:
        """In every filling this candidate stands in some gap."""
        return self._explanation.places[at].isdisjoint((NOWHERE, OUTSIDE))

    def fact(self, gap: int) -> GapFact:
        """What is known of a gap."""
        keys = tuple(self._chain.candidates[at].row.key for at in self._fillers[gap])
        names = self._names(self._fillers[gap])
        if self._is_unique[gap]:
            words = _("explained by {names} alone")
        elif self._is_closed[gap]:
            words = _("one charge or sum fits: {names}")
        else:
            words = _("may be {names}")
        taken_by = keys if self._is_unique[gap] else None
        return GapFact(gap=self._chain.gaps[gap], taken_by=taken_by, words=words.format(names=names))

    def verdict(self, at: int) -> Verdict:
        """Taken, not taken, or why it waits."""
        candidate = self._chain.candidates[at]
        found = self._taken(at) or self._not_taken(at) or (Finding.OPEN, self._why_open(at))
        return Verdict(key=candidate.row.key, finding=found[0], source=Source.BALANCE, evidence=found[1])

    def _taken(self, at: int) -> tuple[Finding, str] | None:
        if not self._is_charged(at):
            return None
        gaps = sorted(self._explanation.places[at])
        if not all(self._is_unique[gap] and self._chain.gaps[gap].end <= self._chain.told_until for gap in gaps):
            return None
        missing = _("; or ").join(str(self._chain.gaps[gap]) for gap in gaps)
        others = sorted({other for gap in gaps for other in self._fillers[gap] if other != at})
        beside = _(", together with {names}").format(names=self._names(others)) if others else ""
        own = amount(self._chain.points(self._chain.candidates[at].charge))
        return Finding.TAKEN, _(
            "the balance lacks {missing}; only this batch ({own} points){beside} explains it"
        ).format(missing=missing, own=own, beside=beside)

    def _not_taken(self, at: int) -> tuple[Finding, str] | None:
        candidate, chain = self._chain.candidates[at], self._chain
        if self._explanation.places[at] != {NOWHERE} or self._waits_for(candidate):
            return None
        if self._may_be_charged_later(candidate):
            return None
        gaps = [gap for gap in _places(chain, candidate) if gap >= 0]
        if not all(self._is_closed[gap] and chain.gaps[gap].end <= chain.told_until for gap in gaps):
            return None
        span = _("between {begin} and {end}").format(begin=clock(candidate.begin), end=clock(candidate.end))
        closing = _("the line is known beyond that: {name}").format(name=_last_sure(chain).name)
        if not gaps:
            words = _("no charge is missing in the balance {span}; {closing}")
            return Finding.NOT_TAKEN, words.format(span=span, closing=closing)
        theirs = _("; ").join(
            _("{gap}: {words}").format(gap=chain.gaps[gap], words=self.fact(gap).words) for gap in sorted(gaps)
        )
        words = _("every charge missing {span} is another's: {theirs}; {closing}")
        return Finding.NOT_TAKEN, words.format(span=span, theirs=theirs, closing=closing)

    def _waits_for(self, candidate: Candidate) -> str | None:
        """What must still come before anything can be called not taken."""
        assert isinstance(candidate.row, Doubt)
        until = max(candidate.row.gave_up_at + self._stretch.policy.patience, candidate.end)
        if self._stretch.now < until:
            return _("it may still be taken until {until}").format(until=clock(until))
        if self._chain.seen_until < until:
            return _("no answer to a later request and no quiet reading tells the balance after {until} yet").format(
                until=clock(until)
            )
        if self._chain.told_until < candidate.end:
            return _("a balance reading after {end} must tell what was bought until then").format(
                end=clock(candidate.end)
            )
        return None

    def _may_be_charged_later(self, candidate: Candidate) -> bool:
        """That its charge is missing proves nothing: the gateway may charge what it sends later when it sends it."""
        row, policy = candidate.row, self._stretch.policy
        return isinstance(row, Doubt) and row.scheduled and not policy.charges_when_taken

    def _why_open(self, at: int) -> str:
        """Which counts are known, and what is waited for."""
        candidate, places = self._chain.candidates[at], self._explanation.places[at]
        reasons = []
        if candidate.begin <= self._chain.first_end:
            reasons.append(_("it was sent before the first known balance, which may hold its charge already"))
        if at in self._explanation.cut_short:
            reasons.append(_("too many batches are in doubt at once to try every combination"))
        own = sorted(place for place in places if place >= 0)
        unsure = sorted(gap for gap in _places(self._chain, candidate) if gap >= 0 and not self._is_closed[gap])
        for gap in (own or unsure)[:_NAMES_SHOWN]:
            names = self._names(self._fillers[gap])
            reasons.append(_("{gap} may be {names}").format(gap=self._chain.gaps[gap], names=names))
        if self._may_be_charged_later(candidate):
            reasons.append(_("no answer shows that the gateway charges what it sends later when it takes it"))
        waits = self._waits_for(candidate)
        if waits:
            reasons.append(waits)
        elif any(self._chain.gaps[gap].end > self._chain.told_until for gap in own or unsure):
            reasons.append(_("a later balance reading must tell what was bought until then"))
        return _("; ").join(reasons) + _(". A delivery report or an operator can settle it too")

    def _names(self, candidates: Sequence[int]) -> str:
        shown = [self._chain.candidates[at] for at in candidates[:_NAMES_SHOWN]]
        words = [f"{each.name} ({amount(self._chain.points(each.charge))}{_still(each)})" for each in shown]
        more = len(candidates) - len(shown)
        return _(" and ").join(words) + (_(" and {count:,} more").format(count=more) if more else "")


def _still(candidate: Candidate) -> str:
    return _(", in flight") if isinstance(candidate.row, InFlight) else ""


def _last_sure(chain: Chain) -> Link:
    return max(chain.links, key=lambda link: link.begin)


# -- the drawing ---------------------------------------------------------------------------------------------------


def _draw(chain: Chain, facts: Sequence[GapFact]) -> tuple[str, ...]:
    """The chain as text: the opening, runs of charges summed, each gap with its interval, readings, the closing."""
    if not chain.links:
        return ()
    by_place = {id(fact.gap.above): fact for fact in facts}
    above = _("above {name}").format(name=chain.links[0].name)
    lines = [_drawn(_("opening"), amount(chain.points(chain.links[0].top)), above)]
    run: list[Link] = []
    for at, link in enumerate(chain.links):
        if at and link.top > chain.links[at - 1].bottom:
            over = amount(chain.points(link.top - chain.links[at - 1].bottom))
            lines += [*_summed(chain, run), _drawn(_("overlap"), over, link.name)]
            run = []
        if link.charge:
            run.append(link)
        fact = by_place.get(id(link))
        if fact is not None:
            span = f"{_or(fact.gap.begin, _('the beginning'))} – {_or(fact.gap.end, _('now'))}"
            words = _("{gap}: {words}").format(gap=span, words=fact.words)
            lines += [*_summed(chain, run), _drawn(_("gap"), "-" + amount(fact.gap.points), words)]
            run = []
    closing = chain.links[-1]
    return *lines, *_summed(chain, run), _drawn(_("closing"), amount(chain.points(closing.bottom)), closing.name)


def _summed(chain: Chain, run: Sequence[Link]) -> list[str]:
    if not run:
        return []
    total = amount(chain.points(sum(link.charge for link in run)))
    span = run[0].name
    if len(run) > 1:
        span = _("{count} charges, {first} to {last}").format(count=len(run), first=span, last=run[-1].name)
    return [_drawn(_("charged"), "-" + total, span)]


def _drawn(label: str, figure: str, words: str) -> str:
    """A line of the drawing, its label as wide as the widest; a Chinese sign is two cells wide."""
    wide = sum(2 if east_asian_width(sign) in "WF" else 1 for sign in label)
    return f"{label}{' ' * (_LABEL_CELLS - wide)} {figure:>14}  {words}"


def _or(at: datetime, word: str) -> str:
    return word if at in (EARLIEST, LATEST) else clock(at)
