"""Which of many values a gateway forbids, when it only says of a whole text whether something in it is forbidden.

Group testing: values are joined into probes, and a probe that is forbidden is halved until one value is left. A half that is
clean says that the other one is not, so a bad value costs about log2(n) checks and a clean one next to none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from engine.planning.segments import units

SEPARATOR = "，0，"
"""Between the values of a probe. Not only punctuation: filters look through that, and would find words across a border."""

_GROUPS = 4  # a bad value is searched for in a quarter at most: that pays for asking again what is left, and for the last word

Asking = Callable[[Sequence[str]], Awaitable[bool | None]]
"""Whether something in these values is forbidden. None: the gateway cannot say (any more)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search came to. `unknown`: values of which nobody knows, because an answer or the checks ran out."""

    bad: tuple[str, ...]
    unknown: tuple[str, ...]
    checks: int


def joined(values: Sequence[str]) -> str:
    """The probe of some values."""
    return SEPARATOR.join(values)


def probes(values: Iterable[str], *, most_units: int, most_values: int = 1_000) -> list[list[str]]:
    """The values in their order, in groups whose probes are no longer than `most_units`; a longer value stands alone."""
    groups: list[list[str]] = []
    length = 0
    for value in values:
        more = units(value) + units(SEPARATOR)
        if not groups or length + more > most_units or len(groups[-1]) >= most_values:
            groups.append([])
            length = 0
        groups[-1].append(value)
        length += more
    return groups


async def find_bad(values: Iterable[str], is_bad: Asking, *, most_units: int, most_checks: int | None = None) -> Found:
    """Find the forbidden ones among `values` (each counts once). Every one found was forbidden when it was asked alone.

    For k bad ones in n values at most k·⌈log2 n⌉ + c checks, where c is the number of probes that hold them all, twice, and 4.
    Beyond `most_checks` nothing more is asked.
    """
    search = _Search(is_bad, most_checks)
    distinct = list(dict.fromkeys(values))
    groups = probes(distinct, most_units=most_units)
    clean_or_not = [(group, await search.asks(group)) for group in groups]
    suspects = [group for group, bad in clean_or_not if bad]
    search.unknown += [value for group, bad in clean_or_not if bad is None for value in group]
    if suspects and len(groups) < _GROUPS:
        values_left = [value for group in suspects for value in group]
        quarter = max(1, -(-len(values_left) // _GROUPS))
        smaller = probes(values_left, most_units=most_units, most_values=quarter)
        suspects = [group for group in smaller if await search.may_hold(group)]
    for group in suspects:
        await search.clear(group)
    return Found(
        bad=tuple(value for value in distinct if value in search.bad),
        unknown=tuple(search.unknown),
        checks=search.checks,
    )


class _Search:
    """The checks made, and what they found."""

    def __init__(self, is_bad: Asking, most_checks: int | None) -> None:
        self._is_bad, self._most = is_bad, most_checks
        self._over = False
        self.checks = 0
        self.bad: set[str] = set()
        self.unknown: list[str] = []

    async def asks(self, group: Sequence[str]) -> bool | None:
        """One check; None once there are no answers, or no checks, any more."""
        if self._over or (self._most is not None and self.checks >= self._most):
            self._over = True
            return None
        self.checks += 1
        said = await self._is_bad(group)
        self._over = said is None
        return said

    async def may_hold(self, group: Sequence[str]) -> bool:
        """Whether a group is forbidden. Values nobody can tell of are noted."""
        if (said := await self.asks(group)) is None:
            self.unknown += group
        return bool(said)

    async def clear(self, group: Sequence[str]) -> None:
        """Take one bad value after the other out of a group that is known to hold one, until the rest is clean."""
        left = list(group)
        while left:
            left = await self._take_one(left)
            if not left or not await self.may_hold(left):
                return

    async def _take_one(self, group: list[str]) -> list[str]:
        """Find one bad value. Returns what nobody has asked about on the way, without it."""
        open_: list[str] = []
        asked_alone = False
        while len(group) > 1:
            half = len(group) // 2
            left, right = group[:half], group[half:]
            said = await self.asks(left)
            if said is None:
                self.unknown += [*open_, *group]
                return []
            asked_alone = said and len(left) == 1
            if said:
                group, open_ = left, [*right, *open_]
            else:
                group = right
        # The half that was not asked holds it by inference alone; nobody is left out because of that.
        said = True if asked_alone else await self.asks(group)
        if said is None:
            self.unknown += group
        elif said:
            self.bad.add(group[0])
        return open_
