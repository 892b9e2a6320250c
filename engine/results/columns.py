"""Which columns an export has: those of the lists, then the results. And a line's cells in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from engine.errors import PlanError
from engine.intake.harmless import harmless
from engine.language import _
from engine.lines import untagged
from engine.model import Exclusion
from engine.results.original import Original
from engine.results.rows import DELIVERY_WORDS, EXCLUDED, STATE_WORDS, Joined, Result

USUAL = ("state", "delivery", "task_id", "submitted", "answered", "reported", "reason", "replied", "reply")
"""The results that an export has unless it is asked for others."""

_USUAL = slice(Result._fields.index(USUAL[0]), Result._fields.index(USUAL[-1]) + 1)
_MORE = ("message", "number", "list", "line", "batch", "exclusion", "code", "scheduled")
_PREFIX = "xinshi_"  # before a result whose name a list has already, as the list of an earlier export does
NUMBER = "mobile"  # the column of the numbers where no list is there

_Cell = Callable[[Joined, Result], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The columns of an export by name, and how a line is made. `plain`: the places of those that are of the lists."""

    names: tuple[str, ...]
    plain: frozenset[int]
    lines: Callable[[Sequence[Joined]], list[list[str]]]  # one for each result


@dataclass(frozen=True, slots=True)
class Heads:
    """The columns of all lists as one table: `places[k][i]` is where list k has column i, None where it has no such."""

    names: tuple[str, ...]
    number_at: int
    places: tuple[tuple[int | None, ...], ...]

    @property
    def straight(self) -> tuple[bool, ...]:
        """Of each list: whether its rows are the table's as they stand."""
        return tuple(place == tuple(range(len(self.names))) for place in self.places)


def heads_of(lists: Sequence[Original]) -> Heads:
    """The columns of the first list, then those that others have beside. The numbers of all are in one column."""
    headers = [_header(each) for each in lists]
    numbers = [None if each.list_file is None else each.list_file.column for each in lists]
    there = [at for at, header in enumerate(headers) if header]
    if not there:
        return Heads((NUMBER,), 0, tuple((None,) for _ in lists))
    first = there[0]
    names = list(headers[first])
    number_name = names[numbers[first] or 0]
    for at in there[1:]:
        headers[at][numbers[at] or 0] = number_name
        names += [name for name in headers[at] if name not in names]
    places = tuple(
        tuple(header.index(name) if name in header else None for name in names) if header else (None,) * len(names)
        for header in headers
    )
    return Heads(tuple(names), names.index(number_name), places)


def _header(each: Original) -> list[str]:
    """The names of a list's columns, each once; "column 3" where it has none."""
    list_file = each.list_file
    if list_file is None:
        return []
    given = [name.strip() for name in list_file.header or ()]
    given += [""] * (list_file.width - len(given))
    names: list[str] = []
    for place, name in enumerate(given, 1):
        name, again = name or f"column {place}", 1
        while name in names:
            again += 1
            name = f"{given[place - 1] or f'column {place}'} {again}"
        names.append(name)
    return names


def table_of(lists: Sequence[Original], wanted: Sequence[str] | None, *, queue: str = "") -> Table:
    """The columns that are `wanted`, by name and in that order; None: all of the lists, then the usual results.

    A campaign that grows from a `queue` has the ids of its messages instead of a list.

    Raises PlanError for a name that is none, with the nearest that is.
    """
    heads = heads_of(lists)
    of_lists: dict[str, _Cell] = {name: _original(heads, at) for at, name in enumerate(heads.names)}
    if wanted is None and queue:
        wanted = (NUMBER, "message", *USUAL)
    if wanted is None:
        return _whole(heads)
    results = {_free(name, heads.names): _result(name, lists, queue) for name in (*USUAL, *_MORE)}
    known = of_lists | results
    if unknown := [name for name in wanted if name not in known]:
        near = get_close_matches(unknown[0], known, n=1)
        raise PlanError(
            _("--columns: there is no column {unknown!r}{hint}").format(
                unknown=unknown[0], hint=_meant(near) or _("; there are: {names}").format(names=", ".join(known))
            )
        )
    chosen = [known[name] for name in wanted]
    plain = frozenset(at for at, name in enumerate(wanted) if name in of_lists)
    return Table(
        names=tuple(wanted),
        plain=plain,
        lines=lambda rows: [[cell(row, result) for cell in chosen] for row in rows for result in row.results],
    )


def _whole(heads: Heads) -> Table:
    """Everything of the lists, and the usual results: the way that is not walked cell by cell."""
    names = (*heads.names, *(_free(name, heads.names) for name in USUAL))
    width, number_at, straight = len(heads.names), heads.number_at, heads.straight

    def lines(rows: Sequence[Joined]) -> list[list[str]]:
        made = []
        for row in rows:
            source, own, results = row
            for result in results:
                told: tuple[str, ...] = result  # type: ignore[assignment]  # its one number is not among the usual ones
                if own is not None and len(own) == width and straight[source]:
                    line = [*own, *told[_USUAL]]
                else:
                    line = [*_laid_out(heads, row), *told[_USUAL]]
                if own is None or line[number_at] != result.number:
                    several = len(results) > 1
                    line[number_at] = _number_cell(line[number_at], result, several=several, own=own is not None)
                made.append(line)
        return made

    return Table(names=names, plain=frozenset(range(width)), lines=lines)


def _laid_out(heads: Heads, row: Joined) -> list[str]:
    """A row's cells where the table has them; what is missing is blank, and cells beyond its columns are left away."""
    own = row.cells
    if own is None or row.source >= len(heads.places):
        return [""] * len(heads.names)
    return [own[at] if at is not None and at < len(own) else "" for at in heads.places[row.source]]


def _number_cell(cell: str, result: Result, *, several: bool, own: bool) -> str:
    """The number cell of one line. As it stands, as long as a new send would read from it this one number, or none.

    Of a cell with two numbers each line has its own, so that a list of those who were not reached names nobody else. The line of a
    number that was left out of such a cell names none: its reason does.
    """
    if not result.number:
        return "" if several else cell if own else result.cell
    return result.number if several or not own or harmless(cell) != cell else cell


def _original(heads: Heads, at: int) -> _Cell:
    def cell(row: Joined, result: Result) -> str:
        line = _laid_out(heads, row)
        if at != heads.number_at:
            return line[at]
        return _number_cell(line[at], result, several=len(row.results) > 1, own=row.cells is not None)

    return cell


def _result(name: str, lists: Sequence[Original], queue: str) -> _Cell:
    labels = [each.label for each in lists] or [queue]
    if name == "list":
        return lambda row, result: labels[untagged(result.line)[0]] if result.line else ""
    if name == "line":
        return lambda row, result: str(untagged(result.line)[1]) if result.line else ""
    at = Result._fields.index(name)
    return lambda row, result: str(result[at])


def _free(name: str, taken: Sequence[str]) -> str:
    while name in taken:
        name = _PREFIX + name
    return name


def _meant(near: Sequence[str]) -> str:
    return _("; did you mean '{name}'?").format(name=near[0]) if near else ""


def wanted_states(words: str | None) -> frozenset[str] | None:
    """The words of --state: states, delivered, undelivered, unreported, excluded or a reason for it. Raises PlanError."""
    if words is None:
        return None
    known = (*STATE_WORDS, *DELIVERY_WORDS, EXCLUDED, *(reason.value for reason in Exclusion))
    given = [word for word in words.replace("，", ",").replace(" ", ",").split(",") if word]
    for word in given:
        if word not in known:
            near = get_close_matches(word, known, n=1)
            raise PlanError(
                _("--state: there is no state {word!r}{hint}; there are: {names}").format(
                    word=word, hint=_meant(near), names=", ".join(known)
                )
            )
    if not given:
        raise PlanError(_("--state: name one or more of {names}").format(names=", ".join(known)))
    return frozenset(given)
