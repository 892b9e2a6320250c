"""Logs: a fixed sentence plus fields, on one stream. No number and no secret passes.

The masking sits in the handler, at the only place where a record becomes text, so that it does not depend on whoever
writes the log line: messages, arguments, fields, tracebacks and the logs of libraries all go through it.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote, quote_plus

logger = logging.getLogger("xinshi")

_OURS = "xinshi"  # the name of the handlers that are set up here
_HIDDEN = "***"
_secrets: set[str] = set()

# A mobile as people and spreadsheets write it. Longer runs of digits (a task id, a time) are left alone; \d is also 全角.
_MOBILE = re.compile(r"(?<!\d)((?:(?:\+|00)?86[ -]?|0)?)([1１][3-9３-９]\d)([ -]?)(\d{4})([ -]?)(\d{4})(?!\d)")

_ESCAPE = re.compile("%[0-9A-F]{2}")
_LEVELS = {-1: logging.ERROR, 0: logging.WARNING, 1: logging.INFO}
_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFile:
    """A log file of JSON lines, 0600. After `max_bytes` a new one is begun; `keep` older ones stay. `level` as logging names it."""

    path: Path
    level: int
    max_bytes: int
    keep: int


def configure_logging(
    verbosity: int = 0, *, json_lines: bool = False, stream: TextIO, file: LogFile | None = None
) -> None:
    """Send all logs of the program, masked, to `stream` and a file; called again, it replaces what it set up before.

    Verbosity -1 shows errors, 0 warnings, 1 what happens, 2 details. Libraries show their warnings and errors, from 3
    on everything. Raises OSError when the file cannot be opened.
    """
    level = _LEVELS.get(max(verbosity, -1), logging.DEBUG)
    handlers: list[logging.Handler] = [_MaskingHandler(stream)]
    handlers[0].setFormatter(JsonFormatter() if json_lines else HumanFormatter())
    handlers[0].addFilter(_Threshold(level))
    if file is not None:
        handlers.append(_RotatingFile(file))
        handlers[1].setFormatter(JsonFormatter())
        handlers[1].addFilter(_Threshold(file.level))
        level = min(level, file.level)
    root = logging.getLogger()
    for old in [old for old in root.handlers if old.name == _OURS]:
        root.removeHandler(old)
        if isinstance(old, _RotatingFile):
            old.close()
    for handler in handlers:
        handler.name = _OURS
        root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbosity > 2 else logging.WARNING)
    logger.setLevel(level)


def hide(secret: str) -> None:
    """Never show this text again, as it is or as it stands in a form, a JSON text or a repr."""
    if not secret:
        return
    escaped = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    bodies = [secret.encode(charset) for charset in ("utf-8", "gb18030")]  # the two request charsets
    quoted = {way(body, safe=safe) for body in bodies for way in (quote, quote_plus) for safe in ("", "/")}
    _secrets.update(
        {secret} | escaped | quoted | {_ESCAPE.sub(lambda found: found[0].lower(), text) for text in quoted}
    )


def mask(text: str) -> str:
    """Cover hidden secrets, and the middle of every mainland mobile: 138****1234."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    return _MOBILE.sub(r"\1\2****\6", text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, then the fields, then the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {f"{name}_" if name in line else name: value for name, value in _fields(record).items()}
        for name, text in (("exception", record.exc_text), ("stack", record.stack_info)):
            if text:
                line[name] = text
        return json.dumps(line, ensure_ascii=False)


class HumanFormatter(logging.Formatter):
    """A line for people: local time, level, sentence, fields. Control characters from outside cannot forge a line."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).astimezone()
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        sentence = f"{record.getMessage()}{fields}".translate(_CONTROL)
        line = f"{time:%Y-%m-%d %H:%M:%S} {record.levelname.lower():<7} {sentence}"
        return "\n".join(text for text in (line, record.exc_text, record.stack_info) if text)


class _Threshold(logging.Filter):
    """Lets our records through from a level on; those of libraries are the root logger's business."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= self._level or record.name != logger.name


class _RotatingFile(RotatingFileHandler):
    """Writes a masked copy of each record. Several commands may write to one file at once, and any of them may begin a new one."""

    def __init__(self, file: LogFile) -> None:
        file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._failed = False
        super().__init__(file.path, maxBytes=file.max_bytes, backupCount=file.keep, encoding="utf-8")

    def _open(self) -> Any:
        return os.fdopen(
            os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "a", encoding="utf-8"
        )

    def emit(self, record: logging.LogRecord) -> None:
        self._follow()
        super().emit(_masked(record))

    def _follow(self) -> None:
        """Go on in the new file where another process has begun one."""
        if self.stream is None:
            return
        try:
            there = os.stat(self.baseFilename)
        except OSError:
            there = None
        here = os.fstat(self.stream.fileno())
        if there is None or (there.st_dev, there.st_ino) != (here.st_dev, here.st_ino):
            self.stream.close()
            self.stream = None

    def handleError(self, record: logging.LogRecord) -> None:
        """A log that cannot be written is said once, and stops nothing."""
        if not self._failed:
            self._failed = True
            print(f"xinshi: the log file cannot be written: {sys.exc_info()[1]}", file=sys.stderr)  # noqa: T201


class _MaskingHandler(logging.StreamHandler[TextIO]):
    """Writes a masked copy of each record; other handlers keep the original."""

    def emit(self, record: logging.LogRecord) -> None:
        # What goes wrong in there reaches handleError with the copy, which prints message and arguments to stderr.
        super().emit(_masked(record))


def _masked(record: logging.LogRecord) -> logging.LogRecord:
    """Copy a record as finished, masked text: no arguments and no live exception are left in it."""
    clean = copy.copy(record)
    clean.msg, clean.args = mask(_sentence(record)), None
    if record.exc_info:
        clean.exc_text, clean.exc_info = mask(logging.Formatter().formatException(record.exc_info)), None
    elif record.exc_text:
        clean.exc_text = mask(record.exc_text)
    if record.stack_info:
        clean.stack_info = mask(record.stack_info)
    vars(clean).update({name: _masked_value(value) for name, value in _fields(record).items()})
    return clean


def _sentence(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # the arguments do not fit the sentence: show both
        return f"{record.msg} {record.args}"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller gave as `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}


def _masked_value(value: object) -> object:
    """Bring a field to what JSON holds, masked. Numbers stay numbers unless they are somebody's."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        text = str(value)
        return value if mask(text) == text else mask(text)
    if isinstance(value, Mapping):
        return {mask(str(name)): _masked_value(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked_value(inner) for inner in value]
    return mask(str(value))
