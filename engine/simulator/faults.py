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

from engine.simulator.settings import Fault

ON_READS = (Fault.LOGIN_PAGE, Fault.DROP_READ)
ON_POLLS = (Fault.LOGIN_PAGE, Fault.DROP_POLL, Fault.ERROR_BESIDE)
"""What a balance or keyword call and what a poll can meet, in the order of precedence."""

BY_ORDINAL = (Fault.RESET_CONNECT, Fault.DROP_READ, Fault.DROP_POLL, Fault.ERROR_BESIDE)
"""Drawn per connection or per call that carries no number, and never for a send."""


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
        self._ordinals = dict.fromkeys((*BY_ORDINAL, Fault.LOGIN_PAGE), 0)
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

    def read(self) -> Fault | None:
        """Draw for a read of the balance or the keywords."""
        return self._first(ON_READS)

    def poll(self) -> Fault | None:
        """Draw for a poll."""
        return self._first(ON_POLLS)

    def errors_place(self) -> float:
        """Where in [0, 1) the error of the last poll stands, and which it is."""
        return chance(self._seed, "errors_place", self._ordinals[Fault.ERROR_BESIDE])

    def resume(self, attempts: Mapping[str, int], *, reads: int, polls: int) -> None:
        """Go on after so many attempts per first number, reads and polls. Connections were not counted."""
        self._attempts = dict(attempts)
        self._ordinals.update(dict.fromkeys(ON_READS, reads) | dict.fromkeys(ON_POLLS, polls))
        self._ordinals[Fault.LOGIN_PAGE] = reads + polls

    def _first(self, faults: Sequence[Fault]) -> Fault | None:
        """The first that strikes. All are drawn, so that none depends on the others."""
        struck = [fault for fault in faults if self._next(fault)]
        return struck[0] if struck else None

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
