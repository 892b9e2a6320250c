"""A text with places for the cells of a row: `{姓名}您好`. Names of columns only; `{{` and `}}` are braces.

`str.format` itself would walk from a cell to attributes and items of anything, so only its parser is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter

from engine.errors import PlanError
from engine.language import N_, _

_LITERALLY = N_("a brace that is meant as such is written twice: {{ or }}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A text in its parts: `names[i]` stands between `literals[i]` and `literals[i + 1]`."""

    literals: tuple[str, ...]
    names: tuple[str, ...]


def parsed(text: str) -> Template:
    """The parts of a text. Without a name it is one literal, its double braces single. Raises PlanError."""
    literals, names = [""], []
    try:
        for literal, name, form, conversion in Formatter().parse(text):
            literals[-1] += literal
            if name is not None:
                names.append(_checked(name, form or "", conversion))
                literals.append("")
    except ValueError as error:
        raise PlanError(_("the braces of the text do not pair; {literally}").format(literally=_(_LITERALLY))) from error
    return Template(literals=tuple(literals), names=tuple(names))


def _checked(name: str, form: str, conversion: str | None) -> str:
    if conversion or form or any(sign in name for sign in ".[]{"):
        written = f"{{{name}{'!' + conversion if conversion else ''}{':' + form if form else ''}}}"
        raise PlanError(
            _(
                "{written} in the text: between braces stands the name of a column and nothing else, without . : ! or "
                "brackets where its header has them; {literally}"
            ).format(written=written, literally=_(_LITERALLY))
        )
    if not name.strip():
        raise PlanError(_("{{}} in the text names no column; {literally}").format(literally=_(_LITERALLY)))
    return name.strip()
