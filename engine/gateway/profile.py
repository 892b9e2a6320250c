"""One vendor's dialect of the protocol, as data.

The built-in profiles are `config/profiles/*.toml`. A file of one's own says `extends = "standard"` and states what differs.
Source of every default: gateway/protocol.md §20.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from enum import StrEnum
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeVar

from engine.errors import SettingsError
from engine.language import _

BUILT_IN = ("standard", "gbk", "signed", "json")

_Choice = TypeVar("_Choice", bound=StrEnum)


class AuthMode(StrEnum):
    """How a request proves who sends it. Source: gateway/protocol.md §3."""

    PLAIN = "plain"  # userid, account and the password as it is
    MD5_UPPER = "md5_upper"  # the same, with the password as upper-case hexadecimal MD5
    V2 = "v2"  # userid, timestamp and a signature; neither account nor password on the wire


class Charset(StrEnum):
    """How the characters of a request become bytes. Source: gateway/protocol.md §3, §13."""

    UTF_8 = "utf-8"
    GBK = "gbk"  # strictly: a character that it lacks is refused, never replaced


class SignaturePosition(StrEnum):
    """Where we write the brand in 【】. Source: gateway/protocol.md §4.2."""

    FRONT = "front"
    END = "end"
    NONE = "none"  # we add none: the channel does, or wants none


class OverageMeaning(StrEnum):
    """What the number called `overage` counts. Source: gateway/protocol.md §6."""

    REMAINING = "remaining"  # the points that are left: so say the samples
    SENT = "sent"  # the points already used: so say the documents


RISKY_WORDS = (
    "select", "update", "delete", "insert", "drop", "exec", "execute", "declare", "truncate", "union", "script",
    "'", "--", ";",
)  # fmt: skip
"""What crude filters take for SQL. Words count alone, in any case. Source: gateway/protocol.md §4.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The path of every call below the account's url. Source: gateway/protocol.md §2."""

    send: str = "/sms.aspx"
    overage: str = "/sms.aspx"
    checkkeyword: str = "/sms.aspx"
    reports: str = "/statusApi.aspx"
    replies: str = "/callApi.aspx"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureTexts:
    """This vendor's failure texts by what they mean, beside the known ones. A part of the text is enough.

    Source: gateway/protocol.md §5.4. `too_frequent` sends the batch again after a pause, so it must be certain that the
    vendor took nothing. `in_doubt` holds the batch until it is settled.
    """

    account: tuple[str, ...] = ()
    balance: tuple[str, ...] = ()
    content: tuple[str, ...] = ()
    request: tuple[str, ...] = ()
    too_frequent: tuple[str, ...] = ("过于频繁", "提交过快", "频率")
    in_doubt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Everything in which the vendors differ. The TOML files explain each field; the defaults are those of `standard`."""

    name: str
    auth: AuthMode = AuthMode.PLAIN
    request_charset: Charset = Charset.UTF_8  # send, overage, checkkeyword
    poll_charset: Charset = Charset.UTF_8  # reports, replies
    rt_json: bool = False
    checkcontent: bool = False
    extno: str = ""
    send_time_format: str = "%Y-%m-%d %H:%M:%S"  # of sendTime, in China time
    status_num: int = 1000  # reports a poll
    max_recipients: int = 100  # numbers a request
    max_content_units: int = 500  # UTF-16 units
    signature_position: SignaturePosition = SignaturePosition.FRONT
    signature_required: bool = True
    opt_out_by_channel: bool = False
    keyword_check: bool = False
    risky_words: tuple[str, ...] = RISKY_WORDS
    extra_units: int = 0  # UTF-16 units that the channel appends
    price_per_segment: Decimal = Decimal(1)  # points
    overage_means: OverageMeaning = OverageMeaning.REMAINING
    remainpoint_meaningful: bool = True
    short_counts: bool = False
    window_s: float = 1.0  # how long the vendor's window for counting requests is
    dead_number_codes: tuple[str, ...] = ("MK:0001",)  # error codes of reports that say: this number is not in use
    paths: Paths = Paths()
    failure_texts: FailureTexts = FailureTexts()


def load_profile(name_or_path: str | Path) -> Profile:
    """A built-in profile by its name, or one of your own by the path of its TOML file.

    Raises SettingsError: no such profile or file, no TOML, or one line for every wrong key and value.
    """
    if isinstance(name_or_path, str) and name_or_path in BUILT_IN:
        return _read(built_in_file(name_or_path), name_or_path, ())
    path = Path(name_or_path)
    if path.suffix != ".toml" and path.name == str(name_or_path):
        raise SettingsError(
            _("profile: no built-in profile is called '{path}'{hint}").format(
                path=path, hint=_nearest(str(path), BUILT_IN)
            )
        )
    return _read(path, path.stem, ())


def built_in_file(name: str) -> Traversable:
    """Where a built-in profile is: inside the package in a wheel, beside the package in a checkout."""
    package = resources.files("engine")
    installed = package.joinpath("config", "profiles", f"{name}.toml")
    return installed if installed.is_file() else Path(str(package)).parent / "config" / "profiles" / f"{name}.toml"


def _read(file: Traversable, name: str, seen: tuple[str, ...]) -> Profile:
    """One file on top of the profile it extends. `seen` are the files on the way here."""
    if str(file) in seen:
        raise SettingsError(_("{file}: extends: the profiles extend each other in a circle").format(file=file))
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, ValueError) as exc:  # no file, no UTF-8, no TOML
        raise SettingsError(_("{file}: cannot be read as a profile: {exc}").format(file=file, exc=exc)) from exc
    base = _base(file, table.pop("extends", None), (*seen, str(file)))
    problems = list(_problems(file, table))
    if problems:
        raise SettingsError("\n".join(problems))
    return _on_top(replace(base, name=name), table)


def _base(file: Traversable, extends: object, seen: tuple[str, ...]) -> Profile:
    """The profile that `file` says it extends: a built-in name, or a path relative to the file. None: the defaults."""
    if extends is None:
        return Profile(name="defaults")
    if not isinstance(extends, str) or not extends:
        raise SettingsError(
            _("{file}: extends: {extends!r} is not allowed; allowed: {names}, or a path").format(
                file=file, extends=extends, names=", ".join(BUILT_IN)
            )
        )
    if extends in BUILT_IN:
        return _read(built_in_file(extends), extends, seen)
    if not extends.endswith(".toml"):
        raise SettingsError(
            _("{file}: extends: no profile is called '{extends}'{hint}").format(
                file=file, extends=extends, hint=_nearest(extends, BUILT_IN)
            )
        )
    return _read(Path(str(file)).parent / extends, Path(extends).stem, seen)


def _on_top(base: Profile, table: Mapping[str, object]) -> Profile:
    """`base` with the checked values of `table`."""
    values = {key: _CHECKS[key](value) for key, value in table.items() if key in _CHECKS}
    paths = {key: _path(value) for key, value in _table(table, "paths").items()}
    texts = {key: _texts(value) for key, value in _table(table, "failure_texts").items()}
    return replace(
        base,
        **values,  # type: ignore[arg-type]  # the table of checks gives each field its type
        paths=replace(base.paths, **paths),
        failure_texts=replace(base.failure_texts, **texts),
    )


def _problems(file: Traversable, table: Mapping[str, object]) -> Iterator[str]:
    """Every wrong key and value of a file, one line each."""
    checks: dict[str, Check] = dict(_CHECKS)
    for section, (keys, check) in _SECTIONS.items():
        inner = table.get(section, {})
        if not isinstance(inner, dict):
            yield _("{file}: {section}: {inner!r} is not allowed; allowed: a table with {names}").format(
                file=file, section=section, inner=inner, names=", ".join(keys)
            )
            continue
        yield from _wrong(file, inner, dict.fromkeys(keys, check), prefix=f"{section}.")
    top = {key: value for key, value in table.items() if key not in _SECTIONS}
    yield from _wrong(file, top, checks, also=("extends", *_SECTIONS))


def _wrong(
    file: Traversable,
    table: Mapping[str, object],
    checks: Mapping[str, Check],
    *,
    prefix: str = "",
    also: tuple[str, ...] = (),
) -> Iterator[str]:
    for key, value in table.items():
        if key not in checks:
            yield _("{file}: {prefix}{key}: unknown key{hint}").format(
                file=file, prefix=prefix, key=key, hint=_nearest(key, (*checks, *also))
            )
            continue
        try:
            checks[key](value)
        except _NotAllowedError as exc:
            shown = str(value) if isinstance(value, Decimal) else repr(value)
            yield _("{file}: {prefix}{key}: {shown} is not allowed; allowed: {exc}").format(
                file=file, prefix=prefix, key=key, shown=shown, exc=exc
            )


def _nearest(word: str, known: tuple[str, ...]) -> str:
    near = get_close_matches(word, known, n=1, cutoff=0.5)
    return (
        _("; did you mean '{name}'?").format(name=near[0])
        if near
        else _("; known are {names}").format(names=", ".join(known))
    )


def _table(table: Mapping[str, object], key: str) -> Mapping[str, object]:
    inner = table.get(key, {})
    assert isinstance(inner, dict)  # _problems has looked
    return inner


class _NotAllowedError(Exception):
    """A value does not fit its key. The text says what would."""


Check = Callable[[object], object]


def _one_of(kind: type[_Choice]) -> Callable[[object], _Choice]:
    def check(value: object) -> _Choice:
        if isinstance(value, str) and value in set(kind):
            return kind(value)
        raise _NotAllowedError(", ".join(f'"{member}"' for member in kind))

    return check


def _whole(low: int, high: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise _NotAllowedError(_("a whole number from {low} to {high}").format(low=low, high=high))

    return check


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise _NotAllowedError(_("true or false"))


def _positive(value: object) -> Decimal:
    """Points, and what becomes seconds. A quoted number is fine too: nobody shall have to trust a float."""
    if isinstance(value, (int, Decimal, str)) and not isinstance(value, bool):
        try:
            number = Decimal(value)
        except InvalidOperation:
            number = Decimal(0)
        if number.is_finite() and number > 0:
            return number
    raise _NotAllowedError(_('a number above 0, such as 1 or "0.045"'))


def _seconds(value: object) -> float:
    return float(_positive(value))


def _digits(value: object) -> str:
    if isinstance(value, str) and (value == "" or (value.isascii() and value.isdigit() and len(value) <= 10)):
        return value
    raise _NotAllowedError(_('up to 10 digits in quotes, or ""'))


_DIRECTIVE = re.compile("%(.?)")
_IN_A_MOMENT = ["H", "M", "S", "Y", "d", "m"]  # sorted


def _moment_format(value: object) -> str:
    """Each part of a moment once. Neither a 12-hour clock nor a short year: they name two moments. Source: protocol.md §4.3."""
    if isinstance(value, str) and sorted(_DIRECTIVE.findall(value)) == _IN_A_MOMENT:
        between = _DIRECTIVE.sub("", value)
        if between.isascii() and between.isprintable() and not any(sign.isdigit() for sign in between):
            return value
    raise _NotAllowedError(_('%Y, %m, %d, %H, %M and %S, each once, such as "%Y-%m-%d %H:%M:%S"'))


def _path(value: object) -> str:
    if isinstance(value, str) and value.startswith("/") and value.isascii() and not set(value) & set(" ?#%\\\t\r\n"):
        return value
    raise _NotAllowedError(_('a path such as "/sms.aspx", without "?"'))


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(text, str) and text.strip() for text in value):
        return tuple(value)
    raise _NotAllowedError(_('a list of texts, such as ["余额不足"]'))


_CHECKS: Mapping[str, Check] = {
    "auth": _one_of(AuthMode),
    "request_charset": _one_of(Charset),
    "poll_charset": _one_of(Charset),
    "rt_json": _boolean,
    "checkcontent": _boolean,
    "extno": _digits,
    "send_time_format": _moment_format,
    "status_num": _whole(1, 4000),
    "max_recipients": _whole(1, 50_000),
    "max_content_units": _whole(1, 10_000),
    "signature_position": _one_of(SignaturePosition),
    "signature_required": _boolean,
    "opt_out_by_channel": _boolean,
    "keyword_check": _boolean,
    "risky_words": _texts,
    "extra_units": _whole(0, 500),
    "price_per_segment": _positive,
    "overage_means": _one_of(OverageMeaning),
    "remainpoint_meaningful": _boolean,
    "short_counts": _boolean,
    "window_s": _seconds,
    "dead_number_codes": _texts,
}

_SECTIONS: Mapping[str, tuple[tuple[str, ...], Check]] = {
    "paths": (tuple(each.name for each in fields(Paths)), _path),
    "failure_texts": (tuple(each.name for each in fields(FailureTexts)), _texts),
}
