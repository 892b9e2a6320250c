"""The checked settings: file < environment < flag.

Nobody else reads the settings file or the environment, and nobody else knows pydantic. What comes out is frozen.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.errors import SettingsError
from engine.settings.keys import DEFAULT_ACCOUNT
from engine.settings.layers import (
    Layer,
    fetch_passwords,
    lay_over,
    place_of,
    read_environment,
    read_file,
    read_flags,
    settings_file,
    user_folder,
)
from engine.settings.problems import contradictions, validate
from engine.settings.sections import NotifySettings, PaceSettings, WaitSettings
from engine.settings.values import AccountSettings, QueueSettings, Settings, frozen

__all__ = [
    "DEFAULT_ACCOUNT",
    "AccountSettings",
    "NotifySettings",
    "PaceSettings",
    "QueueSettings",
    "Settings",
    "WaitSettings",
    "load_settings",
]


def load_settings(
    config: Path | None = None, *, overrides: Mapping[str, object], environ: Mapping[str, str] | None = None
) -> Settings:
    """Read and check everything. Raises SettingsError that lists all problems, one a line, each with its source.

    `overrides` are the flags by dotted key (`{"batch.max_recipients": 50}`); None means the flag was not given.
    The file is `config`, else the one XINSHI_CONFIG names, else xinshi.toml in the user's configuration folder if it
    exists. Relative paths in it are relative to it; in variables and flags, to the working directory.
    """
    environ = os.environ if environ is None else environ
    path = settings_file(config, environ)
    problems: list[str] = []
    layers = (
        read_flags(overrides),
        read_environment(environ, problems),
        Layer({}, str) if path is None else read_file(path, problems),
    )
    joined: dict[str, Any] = {}
    for layer in reversed(layers):
        lay_over(joined, layer.values)
    fetch_passwords(joined, layers, problems)
    document = validate(joined, layers, problems)
    if document is not None:
        problems += [f"{place_of(key, layers)}{problem}" for key, problem in contradictions(document)]
    if problems or document is None:
        raise SettingsError("\n".join(problems))
    return frozen(document, path, user_folder(environ, "XDG_STATE_HOME", ".local/state"))
