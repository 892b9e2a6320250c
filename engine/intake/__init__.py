"""Row -> Recipient: list files, their numbers, and what was left out of them and why."""

from __future__ import annotations

from engine.intake.archives import Skipped
from engine.intake.columns import placed
from engine.intake.files import ListFile
from engine.intake.reached import Hours, Lately, ReachedSet
from engine.intake.reader import Texts, read, read_all
from engine.intake.rejects import RejectsFile
from engine.intake.screening import Screen, ScreeningList, gathered, screening_list
from engine.intake.seen import Seen
from engine.intake.sources import Inspected, inspect, inspect_all
from engine.numbers import Refusal, examine, normalise

__all__ = [
    "Hours",
    "Inspected",
    "Lately",
    "ListFile",
    "ReachedSet",
    "Refusal",
    "RejectsFile",
    "Screen",
    "ScreeningList",
    "Seen",
    "Skipped",
    "Texts",
    "examine",
    "gathered",
    "inspect",
    "inspect_all",
    "normalise",
    "placed",
    "read",
    "read_all",
    "screening_list",
]
