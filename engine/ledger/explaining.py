"""Which charges can fill which gaps: an exact and bounded search over whole numbers.

A puzzle has gaps of known sizes and candidates that may fill one of them. What is left of a candidate's places when the
search ends is a superset of the truth, whatever was cut short: nothing is ever guessed.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd

NOWHERE = -1
"""The place of a candidate that was not charged."""
OUTSIDE = -2
"""The place of a candidate that was charged above the first or below the last link, where nothing can be checked."""

MOST_CANDIDATES = 24  # undecided ones that one exact search takes on
MOST_STEPS = 4_000  # of all exact searches together; one is a look at a few gaps, some 50 µs
MOST_UNITS = 1_000_000  # in one gap: its sums are held as bits
MOST_SUMS = 10_000  # that the number of ways is counted for

Places = list[set[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What a candidate takes out of a gap: `most`, or less in steps of `step`, but not below `least`. Whole units."""

    least: int
    most: int
    step: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """For each candidate the places it may have. A contradiction is a gap that nothing fills, or a candidate without place."""

    places: tuple[frozenset[int], ...]
    cut_short: frozenset[int] = frozenset()  # candidates whose places could not be searched to the end
    unfilled: int | None = None
    homeless: int | None = None


def explain(
    sizes: Sequence[int], pieces: Sequence[Piece], places: Sequence[Iterable[int]], *, most_steps: int = MOST_STEPS
) -> Explanation:
    """Narrow the places of every candidate. Exact where the search ends in time, else too wide, never too narrow."""
    sizes, pieces = _coarsened(sizes, pieces)
    puzzle = _Puzzle(sizes, pieces, [set(each) for each in places])
    left = [set(each) for each in places]
    unfilled = puzzle.narrow(left, range(len(sizes)))
    if unfilled is not None:
        return Explanation(places=_frozen(left), unfilled=unfilled)
    cut_short = set(puzzle.too_fine(left))
    steps = most_steps
    for component in _components(left, len(sizes)):
        if len(component) > MOST_CANDIDATES:
            cut_short.update(component)
            continue
        steps -= puzzle.search(left, component, steps)
        if steps <= 0:
            cut_short.update(component)
    homeless = next((i for i, each in enumerate(left) if not each), None)
    return Explanation(places=_frozen(left), cut_short=frozenset(cut_short), homeless=homeless)


def ways(pieces: Sequence[Piece], size: int) -> int:
    """In how many ways these fill a gap, equal pieces not told apart: 0, 1, or 2 for more than can be vouched for."""
    if any(piece.least < piece.most for piece in pieces):
        return 2  # with ranges the same sum comes about in ways that are not told apart here
    counts = {0: 1}
    for charge, available in sorted(Counter(piece.most for piece in pieces).items()):
        added: Counter[int] = Counter()
        for total, found in counts.items():
            for number in range(available + 1):
                if total + number * charge <= size:
                    added[total + number * charge] += found
        counts = {total: min(found, 2) for total, found in added.items()}
        if len(counts) > MOST_SUMS:
            return 2
    return counts.get(size, 0)


def _coarsened(sizes: Sequence[int], pieces: Sequence[Piece]) -> tuple[Sequence[int], Sequence[Piece]]:
    """The same puzzle in the largest unit that everything in it is a multiple of."""
    parts = [n for piece in pieces for n in ((piece.most,) if piece.least == piece.most else (piece.most, piece.step))]
    unit = gcd(*sizes, *parts)
    if unit <= 1:
        return sizes, pieces
    return [size // unit for size in sizes], [
        Piece(least=piece.least // unit, most=piece.most // unit, step=piece.step // unit or 1) for piece in pieces
    ]


def _frozen(places: Places) -> tuple[frozenset[int], ...]:
    return tuple(frozenset(each) for each in places)


def _components(places: Places, gaps: int) -> list[list[int]]:
    """The undecided candidates, grouped by the gaps they share, in their order."""
    roots = list(range(gaps))

    def root(gap: int) -> int:
        while roots[gap] != gap:
            roots[gap] = roots[roots[gap]]
            gap = roots[gap]
        return gap

    undecided = [i for i, each in enumerate(places) if len(each) > 1 and any(place >= 0 for place in each)]
    for i in undecided:
        first, *others = sorted(place for place in places[i] if place >= 0)
        for other in others:
            roots[root(other)] = root(first)
    groups: dict[int, list[int]] = {}
    for i in undecided:
        groups.setdefault(root(next(place for place in places[i] if place >= 0)), []).append(i)
    return list(groups.values())


class _Puzzle:
    """The fixed part of the search: gap sizes, pieces, and who may stand in which gap."""

    def __init__(self, sizes: Sequence[int], pieces: Sequence[Piece], places: Places) -> None:
        self._sizes, self._pieces = sizes, pieces
        self._members: list[list[int]] = [[] for _ in sizes]
        for i, each in enumerate(places):
            for place in each:
                if place >= 0:
                    self._members[place].append(i)

    def narrow(self, places: Places, gaps: Iterable[int]) -> int | None:
        """Take away the places that one gap alone forbids, until nothing changes. Returns a gap that nothing fills."""
        waiting = deque(gaps)
        queued = set(waiting)
        while waiting:
            gap = waiting.popleft()
            queued.discard(gap)
            touched = self._look_at(gap, places)
            if touched is None:
                return gap
            for other in touched:
                if other != gap and other not in queued:
                    queued.add(other)
                    waiting.append(other)
        return None

    def too_fine(self, places: Places) -> list[int]:
        """Candidates of gaps that are too many units wide to be looked at."""
        wide = {gap for gap, size in enumerate(self._sizes) if size > MOST_UNITS}
        return [i for i, each in enumerate(places) if len(each) > 1 and not wide.isdisjoint(each)]

    def _look_at(self, gap: int, places: Places) -> list[int] | None:
        """Narrow the places of one gap's members. Returns the gaps to look at again, None if it cannot be filled.

        The sums that the members before and after each one can make are bit sets; a member can be in (or out) when a sum
        before it, its own piece (or nothing), and a sum after it make up the size.
        """
        size = self._sizes[gap]
        members = [i for i in self._members[gap] if gap in places[i]]
        if sum(self._pieces[i].most for i in members) < size:
            return None
        if size > MOST_UNITS:
            return []
        all_bits = (1 << (size + 1)) - 1
        fixed = [len(places[i]) == 1 for i in members]
        before = [1]
        for i, is_fixed in zip(members, fixed, strict=True):
            sums = self._added(before[-1], i, all_bits)
            before.append(sums if is_fixed else sums | before[-1])
        if not before[-1] >> size & 1:
            return None
        touched: list[int] = []
        wanted = 1 << size  # what the members so far, from the end, leave to those before them
        for at in range(len(members) - 1, -1, -1):
            i = members[at]
            can_be_in = self._added(before[at], i, all_bits) & wanted
            can_be_out = not fixed[at] and before[at] & wanted
            wanted = self._taken_off(wanted, i) | (0 if fixed[at] else wanted)
            if not can_be_in:
                places[i].discard(gap)
                if len(places[i]) == 1:
                    touched.extend(place for place in places[i] if place >= 0)
            elif not can_be_out and not fixed[at]:
                touched.extend(place for place in places[i] if place >= 0)
                places[i].intersection_update((gap,))
        return touched

    def _added(self, sums: int, i: int, all_bits: int) -> int:
        piece = self._pieces[i]
        found = 0
        for taken in range(piece.most, piece.least - 1, -piece.step):
            found |= sums << taken
        return found & all_bits

    def _taken_off(self, sums: int, i: int) -> int:
        piece = self._pieces[i]
        found = 0
        for taken in range(piece.most, piece.least - 1, -piece.step):
            found |= sums >> taken
        return found

    def search(self, places: Places, component: Sequence[int], most_steps: int) -> int:
        """Keep only the places that some filling of the whole component has. Returns the steps used.

        Cut short when the steps are used up; then every place not yet disproved is kept.
        """
        witnessed: set[tuple[int, int]] = set()
        used = 0
        for i in component:
            for place in sorted(places[i]):
                if (i, place) in witnessed:
                    continue
                filling, steps = self._filling(places, component, (i, place), most_steps - used)
                used += steps
                if used >= most_steps:
                    return used
                if filling is None:
                    places[i].discard(place)
                else:
                    witnessed.update((other, next(iter(filling[other]))) for other in component)
        return used

    def _filling(
        self, places: Places, component: Sequence[int], given: tuple[int, int], most_steps: int
    ) -> tuple[Places | None, int]:
        """One complete filling with a candidate in a given place, or None, depth first; and the steps it took."""
        gaps = sorted({gap for i in component for gap in places[i] if gap >= 0})
        branches, steps = [_with(places, component, *given)], 0
        while branches and steps < most_steps:
            steps += 1
            trial = branches.pop()
            if self.narrow(trial, gaps) is not None or not all(trial[i] for i in component):
                continue
            undecided = [i for i in component if len(trial[i]) > 1]
            if not undecided:
                return trial, steps
            chosen = min(undecided, key=lambda i: len(trial[i]))
            branches.extend(_with(trial, component, chosen, place) for place in sorted(trial[chosen]))
        return None, max(steps, 1)


def _with(places: Places, component: Sequence[int], chosen: int, place: int) -> Places:
    """The same places, copied for the component, and one of it decided."""
    copy = list(places)
    for i in component:
        copy[i] = set(places[i])
    copy[chosen] = {place}
    return copy
