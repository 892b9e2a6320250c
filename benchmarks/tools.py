"""Who is measured: how each tool is called, and what it says it delivered."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SCRIPTS = Path(__file__).parent / "scripts"
TEXT = "【信使】您好，会员日全场八折，欢迎光临。拒收请回复R"  # one segment

_CONFIG = """\
[account]
url = "http://127.0.0.1:{port}"
userid = "12"
account = "demo"
[pace]
requests_per_second = 0
in_flight = 16
[batch]
max_recipients = 100
distinct_sizes = {distinct}
[journal]
url = "{folder}/journal.db"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run of one tool: its command, what its environment has beside the common, and how to read its last line."""

    command: list[str]
    delivered: Callable[[str], int]
    environ: Mapping[str, str] = field(default_factory=dict)


def engine(path: Path, port: int, folder: Path) -> Call:
    """The engine as it ships, without a pace: journal, balance, distinct batch sizes and all."""
    return _engine(path, port, folder, distinct='"auto"')


def engine_equal(path: Path, port: int, folder: Path) -> Call:
    """The same with batches of one size, as the scripts have them: what the distinct sizes cost is the difference."""
    return _engine(path, port, folder, distinct="false")


def _engine(path: Path, port: int, folder: Path, *, distinct: str) -> Call:
    config = folder / "xinshi.toml"
    config.write_text(_CONFIG.format(port=port, folder=folder, distinct=distinct))
    return Call(
        command=[xinshi(), "send", str(path), "--text", TEXT, "--yes", "--json", "--config", str(config)],
        environ={"XINSHI_ACCOUNT__PASSWORD": "demo"},
        delivered=lambda output: json.loads(output.splitlines()[-1])["recipients"]["accepted"],
    )


def thirty_lines(path: Path, port: int, folder: Path) -> Call:
    return _script("thirty_lines.py", path, port)


def requests_threads(path: Path, port: int, folder: Path) -> Call:
    return _script("requests_threads.py", path, port)


def _script(name: str, path: Path, port: int) -> Call:
    address = f"http://127.0.0.1:{port}/sms.aspx"
    return Call(command=[sys.executable, str(SCRIPTS / name), str(path), address, TEXT], delivered=int)


TOOLS: Mapping[str, Callable[[Path, int, Path], Call]] = {
    "engine": engine,
    "engine_equal": engine_equal,
    "thirty_lines": thirty_lines,
    "requests_threads": requests_threads,
}


def xinshi() -> str:
    """The command beside the Python that runs this."""
    return str(Path(sys.executable).with_name("xinshi"))


def bare_environ(folder: Path) -> dict[str, str]:
    """What every tool gets: nothing of the user's settings, no proxy, homes in the run's own folder."""
    homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")}
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "NO_COLOR": "1"} | homes
