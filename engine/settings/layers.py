"""Where settings come from: the file, the environment, flags, password files; laid over each other."""

from __future__ import annotations

import copy
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_settings import EnvSettingsSource

from engine.errors import SettingsError
from engine.language import VARIABLE, _
from engine.settings.keys import CONFIG_VARIABLE, PATHS, PREFIX, SECRETS, Key, dotted_key, flag_of, key_of, variable_of
from engine.settings.known import hint_at, is_key, keys_of
from engine.settings.sections import NAMED, Document
from engine.terms import system_words


@dataclass(frozen=True, slots=True)
class Layer:
    """One source: nested values, and how a key of it is called where the operator wrote it."""

    values: dict[str, Any]
    name: Callable[[Key], str]

    def holds(self, key: Key) -> bool:
        value: object = self.values
        for part in key:
            if not isinstance(value, dict) or part not in value:
                return False
            value = value[part]
        return True


def settings_file(config: Path | None, environ: Mapping[str, str]) -> Path | None:
    if config is None and environ.get(CONFIG_VARIABLE):
        config = Path(environ[CONFIG_VARIABLE])
    if config is not None:
        return config.expanduser().absolute()
    usual = user_folder(environ, "XDG_CONFIG_HOME", ".config") / "xinshi.toml"
    return usual if os.path.exists(usual) else None  # Path.exists raises where the folder is closed to us


def user_folder(environ: Mapping[str, str], variable: str, usual: str) -> Path:
    """The user's xinshi folder. The XDG rules say that a relative value is to be ignored. Raises SettingsError: no folder is named."""
    given = Path(environ.get(variable, ""))
    home = Path(environ.get("HOME") or os.path.expanduser("~"))
    folder = given if given.is_absolute() else home / usual
    if not folder.is_absolute():
        raise SettingsError(
            _("{variable}: neither it nor HOME names a folder; set one of them").format(variable=variable)
        )
    return folder / "xinshi"


def read_file(path: Path, problems: list[str]) -> Layer:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # Windows editors put a byte order mark in front
        values = tomllib.loads(text)
    except OSError as exc:
        raise SettingsError(
            _("{path}: cannot be read: {strerror}").format(path=path, strerror=system_words(exc))
        ) from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(_("{path}: is not UTF-8 (byte {byte})").format(path=path, byte=exc.start + 1)) from exc
    except tomllib.TOMLDecodeError as exc:
        raise SettingsError(_("{path}: is not valid TOML: {exc}").format(path=path, exc=exc)) from exc
    for key, table in _secret_tables(values):
        for secret in SECRETS:
            if table.pop(secret, None) is not None:
                problems.append(
                    _(
                        "{path}: {key}: a password does not belong in this file, which gets copied and committed; set "
                        "{variable}, or {secret}_file to a file that only you may read"
                    ).format(
                        path=path, key=dotted_key((*key, secret)), variable=variable_of((*key, secret)), secret=secret
                    )
                )
    for name in [name for name in values if name.startswith("_")]:  # BaseSettings would take them for its own options
        del values[name]
        problems.append(_("{path}: {name}: unknown key").format(path=path, name=name))
    _anchor(values, path.parent)
    return Layer(values, lambda key: f"{path}: {dotted_key(key)}")


def read_environment(environ: Mapping[str, str], problems: list[str]) -> Layer:
    others = (CONFIG_VARIABLE, VARIABLE)
    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX) and name not in others}
    known = {name: value for name, value in ours.items() if is_key(key_of(name))}
    variables = [variable_of(key) for key in keys_of(Document)]
    for name in sorted(ours.keys() - known.keys()):
        key = key_of(name)
        same_account = [variable_of((*key[:2], *leaf)) for leaf in keys_of(NAMED[key[0]])] if key[0] in NAMED else []
        problems.append(
            _("{name}: unknown variable{hint}").format(name=name, hint=hint_at(name, same_account + variables))
        )
    source = EnvSettingsSource(Document)
    source.env_vars = {name.lower(): value for name, value in known.items()}
    values = source()
    _anchor(values, Path.cwd())
    return Layer(values, variable_of)


def read_flags(overrides: Mapping[str, object]) -> Layer:
    values: dict[str, Any] = {}
    for dotted, value in overrides.items():
        *parents, last = dotted.split(".")
        table = values
        for parent in parents if value is not None else ():
            table = table.setdefault(parent, {})
        if value is not None:
            table[last] = str(value) if isinstance(value, Path) else value
    _anchor(values, Path.cwd())
    return Layer(values, flag_of)


def _anchor(values: dict[str, Any], base: Path) -> None:
    """Make the paths in one source absolute, while it is known what they are relative to."""
    for __, table in _secret_tables(values):
        for name in PATHS:
            if isinstance(file := table.get(name), str) and file:
                table[name] = _absolute(file, base)
        if isinstance(profile := table.get("profile"), str) and ("/" in profile or profile.endswith(".toml")):
            table["profile"] = _absolute(profile, base)
    log = values.get("log")
    if isinstance(log, dict) and isinstance(file := log.get("file"), str) and file:
        log["file"] = _absolute(file, base)
    journal = values.get("journal")
    if isinstance(journal, dict) and isinstance(url := journal.get("url"), str) and url and ":/" not in url:
        journal["url"] = _absolute(url, base)


def _absolute(path: str, base: Path) -> str:
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:  # ~somebody who does not exist: the file will be reported as missing
        expanded = Path(path)
    return os.path.normpath(base / expanded)


def _secret_tables(values: Mapping[str, Any]) -> Iterator[tuple[Key, dict[str, Any]]]:
    """The tables in which secrets are: accounts, queues, notifications."""
    for single in ("account", "notify"):
        if isinstance(values.get(single), dict):
            yield (single,), values[single]
    for kind in NAMED:
        named = values.get(kind)
        for name, table in named.items() if isinstance(named, dict) else ():
            if isinstance(table, dict):
                yield (kind, name), table


def lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for name, value in above.items():
        if isinstance(value, dict) and isinstance(below.get(name), dict):
            lay_over(below[name], value)
        else:
            below[name] = copy.deepcopy(value)  # a source must stay what it was, to tell where a value came from


def fetch_passwords(joined: dict[str, Any], layers: tuple[Layer, ...], problems: list[str]) -> None:
    """Read the files of the secrets that did not come from a variable."""
    for key, table in _secret_tables(joined):
        for secret in SECRETS:
            file = table.get(f"{secret}_file")
            if isinstance(file, str) and file and secret not in table:
                try:
                    table[secret] = _read_password(Path(file))
                except ValueError as exc:
                    problems.append(f"{place_of((*key, f'{secret}_file'), layers)}: {file}: {exc}")


def _read_password(path: Path) -> str:
    """Read one line that nobody else may read. Raises ValueError, whose text never holds any of the content."""
    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            raise ValueError(_("others may read it; run: chmod 600 '{path}'").format(path=path))
        password = path.read_bytes().decode("utf-8-sig").rstrip("\r\n")
    except OSError as exc:
        raise ValueError(_("cannot be read: {strerror}").format(strerror=system_words(exc))) from exc
    except UnicodeDecodeError:
        raise ValueError(_("is not UTF-8")) from None  # the cause would carry the bytes
    if not password:
        raise ValueError(_("is empty"))
    if "\n" in password:
        raise ValueError(_("has more than one line"))
    return password


def place_of(key: Key, layers: tuple[Layer, ...]) -> str:
    """How the operator wrote this key, in the highest source that has it."""
    return next((layer.name(key) for layer in layers if layer.holds(key)), dotted_key(key))
