"""What a text costs. Source: gateway/protocol.md, Length and billing."""

from __future__ import annotations

ONE_SEGMENT_UNITS = 70
LONG_SEGMENT_UNITS = 67  # of 70, three go to the header that joins the parts


def units(text: str) -> int:
    """The length in UTF-16 code units: every character counts 1, emoji and other astral characters 2."""
    # One encoding, because a walk over the characters of a million different texts takes seconds.
    return len(text.encode("utf-16-le", "surrogatepass")) >> 1


def segments(length_units: int) -> int:
    """How many segments one recipient is billed. Mainland rule for every text, ASCII too: there is no 160 here."""
    if length_units <= ONE_SEGMENT_UNITS:
        return 1
    return -(-length_units // LONG_SEGMENT_UNITS)
