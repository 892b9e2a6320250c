"""Row -> Recipient: list files, their numbers, and what was left out of them and why."""

from __future__ import annotations

from engine.intake.files import ListFile, inspect
from engine.intake.numbers import Refusal, examine, normalise
from engine.intake.reader import read
from engine.intake.rejects import RejectsFile
from engine.intake.screening import Screen
from engine.intake.seen import Seen

__all__ = ["ListFile", "Refusal", "RejectsFile", "Screen", "Seen", "examine", "inspect", "normalise", "read"]
