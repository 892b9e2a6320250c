"""What "the same order" and "the same plan" are, as hashes. Neither holds anything that could be read back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

PlanValue = str | int | float | Decimal | bool | datetime | None


def order_key(account_key: str, template: str, file_hashes: Sequence[str]) -> str:
    """64 hex characters for account, message template and recipients; equal means: the same order, given again.

    `file_hashes` are the sha256 of the list files in any order. Pace, window and limit do not count: they are plan, not order.
    """
    return hashlib.sha256(_canonical(["order/1", account_key, template, sorted(set(file_hashes))])).hexdigest()


def plan_hash(order: str, named: Mapping[str, PlanValue]) -> str:
    """12 hex characters a person signs off: the order key, and everything named that decides how it is sent.

    Neither the sequence of names nor the spelling of a number (10, 10.0) matters. Raises TypeError for other values, ValueError
    for a naive datetime.
    """
    values = [[name, _plain(value)] for name, value in sorted(named.items())]
    return hashlib.sha256(_canonical(["plan/1", order, values])).hexdigest()[:12]


def _plain(value: PlanValue) -> object:
    """One JSON form for one meaning. Numbers carry a tag, so that 10 and "10" stay different."""
    match value:
        case None | bool() | str():
            return value
        case int() | float() | Decimal():
            return ["number", format(Decimal(str(value)).normalize(), "f")]
        case datetime():
            if value.tzinfo is None:
                raise ValueError(f"{value} has no time zone")
            return ["time", value.astimezone(UTC).isoformat()]
        case _:
            raise TypeError(f"{type(value).__name__} cannot be part of a plan hash")


def _canonical(value: object) -> bytes:
    """JSON quotes and brackets keep neighbours apart: ["ab", "c"] is not ["a", "bc"]."""
    return json.dumps(value, separators=(",", ":")).encode()
