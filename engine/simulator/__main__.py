"""Runs the simulated gateway as a process of its own: `python -m engine.simulator --port 0 --fault drop_answer=0.02`.

Prints one line of JSON with its address and process id when it listens; ends on SIGTERM or SIGINT.
With `--state FILE` it goes on where it was, even after a SIGKILL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from enum import StrEnum

from engine.simulator.server import serve
from engine.simulator.settings import Fault, SimulatorSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop. Returns the exit code: 0, or 2 for settings or a port that cannot be used."""
    parser = _parser()
    given = vars(parser.parse_args(arguments))
    try:
        settings = SimulatorSettings(**{name: value for name, value in given.items() if value is not None})
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve_until_signal(settings))
    except (ValueError, OSError) as problem:
        parser.exit(2, f"{parser.prog}: {problem}\n")
    return 0


async def _serve_until_signal(settings: SimulatorSettings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, announce=_print_address, stop=stop)


def _print_address(url: str) -> None:
    sys.stdout.write(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


def _parser() -> argparse.ArgumentParser:
    """One option per setting, in the order of the settings: `--hang-s 3`, `--no-prepaid`, `--fault NAME=SHARE`."""
    parser = argparse.ArgumentParser(prog="python -m engine.simulator", description=__doc__, allow_abbrev=False)
    defaults = SimulatorSettings()
    for setting in fields(defaults):
        name, default = setting.name, getattr(defaults, setting.name)
        flag = "--" + name.replace("_", "-")
        if name == "faults":
            parser.add_argument("--fault", dest=name, action=_AddFault, metavar="NAME=SHARE")
        elif isinstance(default, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=None)
        elif isinstance(default, tuple):
            parser.add_argument(flag, nargs="+", type=str, default=None, metavar="TEXT")
        elif isinstance(default, StrEnum):
            parser.add_argument(flag, type=type(default), choices=list(type(default)), default=None)
        else:
            parser.add_argument(flag, type=type(default), default=None)
    return parser


class _AddFault(argparse.Action):
    """Collects `--fault drop_answer=0.02` into a mapping."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        name, _, share = str(values).partition("=")
        try:
            faults = {**(getattr(namespace, self.dest) or {}), Fault(name).value: float(share)}
        except ValueError as problem:
            known = ", ".join(Fault)
            raise argparse.ArgumentError(self, f"{problem}; NAME=SHARE is expected with one of: {known}") from problem
        setattr(namespace, self.dest, faults)


if __name__ == "__main__":
    sys.exit(main())
