"""Which request meets which fault: a pure function of the seed.

The draw of a send request depends on the seed, the fault's name, the first number of the request and how often a request
with that first number was drawn before. So the same list sent with the same seed meets the same faults, whatever the
order in which concurrent requests arrive. Connections and reads carry no number: they are drawn by their ordinal.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

from engine.simulator.settings import Fault

BY_ORDINAL = (Fault.RESET_CONNECT, Fault.DROP_READ, Fault.DROP_POLL)
"""Drawn per connection or per call that carries no number."""


def chance(seed: int, *what: object) -> float:
    """A number in [0, 1) that is always the same for the same arguments, and looks random between them."""
    text = "\x1f".join(map(str, (seed, *what)))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") / 2**64


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What one send request drew. `first` and `attempt` (from 1) name it in further draws."""

    fault: Fault | None
    first: str
    attempt: int


class Draws:
    """Draws faults. Counts the attempts per first number; everything else is computed."""

    def __init__(self, seed: int, faults: Mapping[str, float]) -> None:
        self._seed = seed
        self._attempts: dict[str, int] = {}
        self._ordinals = dict.fromkeys(BY_ORDINAL, 0)
        self.change(faults)

    def change(self, faults: Mapping[str, float]) -> None:
        """From now on these probabilities hold, and no others."""
        self._shares = {Fault(name): share for name, share in faults.items()}
        self._active = [
            (fault, self._shares[fault]) for fault in Fault if self._shares.get(fault) and fault not in BY_ORDINAL
        ]

    def send(self, first: str) -> Drawn:
        """Draw for a send request whose first number is `first` (empty when it has none)."""
        attempt = self._attempts[first] = self._attempts.get(first, 0) + 1
        for fault, share in self._active:
            if chance(self._seed, fault, first, attempt) < share:
                return Drawn(fault=fault, first=first, attempt=attempt)
        return Drawn(fault=None, first=first, attempt=attempt)

    def connection_is_reset(self) -> bool:
        """Draw for a new connection."""
        return self._next(Fault.RESET_CONNECT)

    def answer_is_dropped(self, fault: Literal[Fault.DROP_READ, Fault.DROP_POLL]) -> bool:
        """Draw for a read of the balance or the keywords, or for a poll."""
        return self._next(fault)

    def _next(self, fault: Fault) -> bool:
        self._ordinals[fault] += 1
        return chance(self._seed, fault, self._ordinals[fault]) < self._shares.get(fault, 0.0)

    def jitter(self, drawn: Drawn) -> float:
        """A share of the jitter in [0, 1) for this request."""
        return chance(self._seed, "jitter", drawn.first, drawn.attempt)

    def without_some(self, drawn: Drawn, numbers: Sequence[str]) -> list[str]:
        """The numbers without 1 to 5 of them, never without all: what a short count takes."""
        dice = random.Random(f"{self._seed}/{drawn.first}/{drawn.attempt}")  # noqa: S311  # repeatable on purpose
        lost = set(dice.sample(range(len(numbers)), min(dice.randint(1, 5), len(numbers) - 1)))
        return [number for place, number in enumerate(numbers) if place not in lost]
