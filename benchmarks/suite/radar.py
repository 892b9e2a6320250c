"""What it costs to see whom a list would reach again, and who got enough."""

from __future__ import annotations

import random
from statistics import median
from time import process_time

from pyroaring import BitMap64

from benchmarks.shape import Figures, Given, Table, Target, note
from engine.intake import Lately, ReachedSet

SAYS = "The repeat radar: a list against ten campaigns of as many recipients each, half of them people of the list. CPU time."
_CAMPAIGNS = 10
_FIRST, _MANY = 13_000_000_000, 7_000_000_000
_CAPS = {"without a cap": None, "two messages a number": 2, "three messages a number": 3}


def measure(given: Given) -> Figures:
    """In turns. Opening the sets, counting the recipients among them, and who has had enough."""
    rows, rounds = given.rows_or(1_000_000, 20_000), given.rounds_or(5)
    chance = random.Random(given.seed)
    people = _drawn(chance, rows)
    recipients = BitMap64(people)
    note(f"reaching {_CAMPAIGNS} times {rows:,} people")
    sets = [
        ReachedSet(number, True, number % 2 == 0, True, True, _half_of(people, chance))
        for number in range(2, _CAMPAIGNS + 2)
    ]
    took: dict[str, list[float]] = {name: [] for name in _CAPS}
    for _ in range(rounds):
        for name, most in _CAPS.items():
            begin = process_time()
            Lately(sets, most=most).counted(recipients)
            took[name].append(process_time() - begin)
    return {
        "rows": rows,
        "sent": _CAMPAIGNS * rows,
        "rounds": rounds,
        "cpu_s": {name: {"median": median(each), "min": min(each), "max": max(each)} for name, each in took.items()},
    }


def _drawn(chance: random.Random, count: int) -> list[int]:
    return [_FIRST + chance.randrange(_MANY) for _ in range(count)]


def _half_of(people: list[int], chance: random.Random) -> bytes:
    half = len(people) // 2
    return bytes(BitMap64([*chance.sample(people, half), *_drawn(chance, len(people) - half)]).serialize())


def tables(figures: Figures) -> list[Table]:
    lines = [["radar", "CPU s", "(min … max)"]]
    for name, each in figures["cpu_s"].items():
        lines.append([name, f"{each['median']:.2f}", f"({each['min']:.2f} … {each['max']:.2f})"])
    about = f"{figures['rows']:,} recipients against {figures['sent']:,} sent. Medians of {figures['rounds']} rounds, in turns."
    return [Table(caption=about, lines=lines)]


def targets(figures: Figures) -> list[Target]:
    limits = {"without a cap": 0.6, "two messages a number": 1.0}
    return [
        Target(
            says=f"radar: {figures['rows']:,} recipients against {figures['sent']:,} sent, {name}",
            limit=limit,
            came=figures["cpu_s"][name]["median"],
            at_least=False,
            unit="s",
        )
        for name, limit in limits.items()
    ]


def plots(figures: Figures) -> dict[str, str]:
    return {}
