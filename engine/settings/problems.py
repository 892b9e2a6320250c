"""What is wrong with settings, in words: which key of which source, what was found, and what would do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from engine.language import _
from engine.settings.keys import DEFAULT_ACCOUNT, UNSHOWN, Key, dotted_key
from engine.settings.known import allowed, nearest_key, trimmed
from engine.settings.layers import Layer, place_of
from engine.settings.sections import Account, Document, PaceSettings
from engine.settings.values import journal_path


def validate(joined: dict[str, Any], layers: tuple[Layer, ...], problems: list[str]) -> Document | None:
    try:
        return Document(**joined)
    except ValidationError as exc:
        # A union reports once for each of its members; the operator wrote one value.
        found = exc.errors(include_url=False, include_context=False)
        problems += dict.fromkeys(_problem(error, joined, layers) for error in found)
        return None


def _problem(error: ErrorDetails, joined: Mapping[str, Any], layers: tuple[Layer, ...]) -> str:
    key = tuple(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return _("{place}: unknown key{hint}").format(place=place_of(key, layers), hint=nearest_key(key))
    if error["type"] == "missing":
        return _("{place}: {name} is missing; it must be {allowed}").format(
            place=place_of(key[:-1], layers), name=key[-1], allowed=allowed(key)
        )
    if key[-1] == "[key]":
        key = key[:-1]
        return _("{place}: must be {allowed}").format(place=place_of(key, layers), allowed=allowed(key[:1]))
    key = trimmed(key)
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return _("{place}: must be a table, [{key}]").format(place=place_of(key, layers), key=dotted_key(key))
    return _("{place}{shown}: must be {allowed}").format(
        place=place_of(key, layers), shown=_shown(key, joined), allowed=allowed(key)
    )


def _shown(key: Key, joined: Mapping[str, Any]) -> str:
    """The value as it was given, unless it is or may hold a secret."""
    value: Any = joined
    for part in key:
        value = value[part]
    if key[-1] in UNSHOWN or (key[-1] in ("url", "proxy") and "@" in str(value)):
        return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f" = {text if len(text) <= 80 else text[:79] + '…'}"


def contradictions(document: Document) -> Iterator[tuple[Key, str]]:
    """What no single key shows: the key and the rest of the sentence."""
    if DEFAULT_ACCOUNT in document.accounts:
        yield ("accounts", DEFAULT_ACCOUNT), _(": this name is taken by [account]; choose another")
    accounts: dict[Key, Account] = {("account",): document.account}
    accounts |= {("accounts", name): section for name, section in document.accounts.items()}
    for place, account in accounts.items():
        yield from _contradictions_of(place, account)
    if document.wait.poll_max_s < document.wait.poll_s:
        given = f"{document.wait.poll_max_s:g}"
        yield (
            ("wait", "poll_max_s"),
            _(" = {given}: must be at least wait.poll_s = {least:g}").format(given=given, least=document.wait.poll_s),
        )
    retry = document.retry
    if retry.wait_max_s < retry.wait_s:
        yield (
            ("retry", "wait_max_s"),
            _(" = {given:g}: must be at least retry.wait_s = {least:g}").format(
                given=retry.wait_max_s, least=retry.wait_s
            ),
        )
    consume = document.consume
    if consume.linger_ms / 1000 > consume.idle_s / 2:
        most = consume.idle_s * 500
        yield (
            ("consume", "linger_ms"),
            _(
                " = {given:g}: must be at most half of consume.idle_s, {most:g}; the broker would give it to another"
            ).format(given=consume.linger_ms, most=most),
        )
    limit = document.batch.max_recipients
    paces: dict[Key, PaceSettings] = {("pace",): document.pace}
    paces |= {("accounts", name, "pace"): section.pace for name, section in document.accounts.items()}
    for key, pace in paces.items():
        if 0 < pace.numbers_per_second < limit:
            given = f"{pace.numbers_per_second:g}"
            mend = _("lower batch.max_recipients, or set 0 for no limit")
            yield (
                (*key, "numbers_per_second"),
                _(" = {given}: a batch of batch.max_recipients = {limit} would never be within it; {mend}").format(
                    given=given, limit=limit, mend=mend
                ),
            )
    try:
        journal_path(document.journal.url, Path("/"))
    except ValueError:
        key = ("journal", "url")
        yield key, _(' = "{url}": must be {allowed}').format(url=document.journal.url, allowed=allowed(key))


def _contradictions_of(place: Key, account: Account) -> Iterator[tuple[Key, str]]:
    if account.url.startswith("http:"):
        for name in ("tls_ca", "tls_cert"):
            if getattr(account, name):
                yield (
                    (*place, name),
                    _(": {place}.url is http, and only an https gateway has a certificate").format(
                        place=dotted_key(place)
                    ),
                )
    if account.tls_key and not account.tls_cert:
        yield (*place, "tls_key"), _(": says nothing without tls_cert")
    if account.proxy_user and not account.proxy:
        yield (*place, "proxy_user"), _(": says nothing without proxy")
