"""What was signed off, in parts, so that a refused sign-off can say which part differs. Hashes and figures, no number, no text."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from engine.language import N_, _, _n
from engine.orders.pipeline import Listing
from engine.planning.order import PlanValue
from engine.planning.wording import Wording

_KEPT_S = 30 * 86_400.0
_TEXT, _ACCOUNT, _LISTS = "text", "account", "lists"
_THE = {_TEXT: N_("the text"), _ACCOUNT: N_("the account")}
_IN_WORDS = {
    "requests_per_second": N_("pace (requests a second)"),
    "numbers_per_second": N_("pace (numbers a second)"),
    "in_flight": N_("requests in flight"),
    "max_recipients": N_("batch size"),
    "limit": N_("limit"),
    "screening": N_("the lists given with --exclude or --only"),
    "max_per_number": N_("messages a number may get"),
    "gateway_schedule": N_("when the gateway sends it (--gateway-schedule)"),
}
_HASHED = frozenset({"screening"})

Parts = dict[str, Any]


def parts_of(account: str, wording: Wording, listing: Listing, signed: Mapping[str, PlanValue]) -> Parts:
    """What a plan hash is made of. `account`: its key."""
    return {
        _ACCOUNT: account,
        _TEXT: hashlib.sha256(wording.key.encode("utf-8", "replace")).hexdigest()[:16],
        _LISTS: [_list_key(each.sha256, each.column, each.inside) for each in listing.list_files],
        **{name: str(value) if value is not None else None for name, value in signed.items()},
    }


def _list_key(sha256: str, column: int, inside: str) -> str:
    return hashlib.sha256(f"{sha256} {column} {inside}".encode()).hexdigest()[:16]


def keep_parts(journal: Path, plan_hash: str, parts: Parts) -> None:
    """Keep them beside the journal for a month, readable by their owner only. Where that fails, a refusal only says less."""
    folder = _folder(journal)
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in folder.glob("*.json"):
            if time.time() - old.stat().st_mtime > _KEPT_S:
                old.unlink()
        # Nobody else may open it at any moment: created as 0600.
        handle = os.open(folder / f"{plan_hash}.json", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(parts, file)


def differences(journal: Path, plan_hash: str, now: Parts, listing: Listing) -> list[str]:
    """What differs from the plan that was signed off, in words; empty where that plan is not known here."""
    if not plan_hash.isalnum():
        return []
    try:
        then = json.loads((_folder(journal) / f"{plan_hash}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    words = [_(_THE[name]) for name in (_TEXT, _ACCOUNT) if then.get(name) != now[name]]
    words += _list_differences(then.get(_LISTS, []), now[_LISTS], listing)
    for name in sorted({*then, *now} - {_TEXT, _ACCOUNT, _LISTS}):
        if (before := then.get(name)) != (after := now.get(name)):
            shown = (
                ""
                if name in _HASHED
                else _(" ({before} signed off, {after} now)").format(before=_shown(before), after=_shown(after))
            )
            words.append(_(_IN_WORDS.get(name, name.replace("_", " "))) + shown)
    return words


def _list_differences(then: Sequence[str], now: Sequence[str], listing: Listing) -> list[str]:
    if sorted(then) == sorted(now):
        return []
    changed = [each.label for each, key in zip(listing.list_files, now, strict=True) if key not in then]
    missing = len([key for key in then if key not in now]) - len(changed)
    words = [_("the list {label}").format(label=label) for label in changed]
    if missing > 0:
        words.append(
            _n("{count} list that is not given now", "{count} lists that are not given now", missing).format(
                count=missing
            )
        )
    return words


def _shown(value: str | None) -> str:
    return value or _("none")


def _folder(journal: Path) -> Path:
    return journal.with_name(f"{journal.name}.plans")
