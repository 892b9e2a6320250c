"""Who asks for no more messages, and who may not be sent to. Source: gateway/protocol.md §17."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable

OPT_OUT_WORDS = frozenset({"T", "TD", "R", "N", "退订", "退", "取消", "拒收"})
"""Replies that are an opt-out when nothing else stands in them."""

_BEGINNINGS = ("TD", "退订")


def is_opt_out(text: str, words: Collection[str] = OPT_OUT_WORDS) -> bool:
    """Whether a reply asks for no more messages.

    Width, case, and white space and punctuation around it do not matter. It is one of the words, or begins with TD or 退订,
    or with a T that no word follows: "T, please" is one, "Thanks" and "T恤" are none, "T退订" is.
    """
    plain = _plain(text)
    if not plain:
        return False
    if plain.startswith(_BEGINNINGS) or plain in {_plain(word) for word in words}:
        return True
    rest = plain[1:]
    return plain[0] == "T" and rest != "" and (not rest[0].isalpha() or rest.startswith(_BEGINNINGS) or rest == "退")


def _plain(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).upper()
    begin, end = 0, len(text)
    while begin < end and _is_around(text[begin]):
        begin += 1
    while end > begin and _is_around(text[end - 1]):
        end -= 1
    return text[begin:end]


def _is_around(sign: str) -> bool:
    """White space, punctuation, a symbol, or what cannot be seen."""
    return unicodedata.category(sign)[0] in "ZPSC"


class Barred:
    """The numbers that opted out since a campaign was planned. Asked at every attempt: without any it costs nothing."""

    def __init__(self, mobiles: Iterable[str] = ()) -> None:
        self.additions = 0  # so far
        self._mobiles = dict.fromkeys(mobiles, 0)  # and with which addition each came last

    def add(self, mobiles: Iterable[str]) -> None:
        """From now on these are barred too."""
        self.additions += 1
        self._mobiles.update(dict.fromkeys(mobiles, self.additions))

    def remove(self, mobiles: Iterable[str], *, since: int) -> None:
        """These may be sent to again, as the journal said after so many additions: who was added later stays."""
        for mobile in mobiles:
            if self._mobiles.get(mobile, since + 1) <= since:
                del self._mobiles[mobile]

    def among(self, joined: str) -> tuple[str, ...]:
        """The barred ones of comma-joined numbers, in their order."""
        if not self._mobiles or self._mobiles.keys().isdisjoint(mobiles := joined.split(",")):
            return ()
        return tuple([mobile for mobile in mobiles if mobile in self._mobiles])
