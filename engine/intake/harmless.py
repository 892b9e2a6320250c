"""Cells for a spreadsheet that must not compute them, and back again.

What would be computed (=, +, -, @ and controls at the beginning) gets an apostrophe in front, and so does what begins like the
result of that: so it can be taken back exactly. Cells of digits and separators alone stay, so that a country code stays as it was
written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_FIRST = frozenset("'=+-@\t\r\n")  # that a cell can have which is changed
_COMPUTED = re.compile(r"'*[=+\-@\t\r\n]")
_ONLY_A_NUMBER = re.compile(r"[+\-]?[0-9][0-9 ()./\-]*")


def harmless(cell: str) -> str:
    """The cell as a spreadsheet shows it without computing anything."""
    return f"'{cell}" if _COMPUTED.match(cell) and not _ONLY_A_NUMBER.fullmatch(cell) else cell


def all_harmless(cells: Sequence[str]) -> Sequence[str]:
    """The same for all cells of a row, most of which are."""
    return cells if _FIRST.isdisjoint([cell[:1] for cell in cells]) else list(map(harmless, cells))


def unharmed(cell: str) -> str:
    """The cell that `harmless` was given."""
    return cell[1:] if cell.startswith("'") and harmless(cell[1:]) == cell else cell
