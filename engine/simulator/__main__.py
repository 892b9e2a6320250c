"""Runs the simulated gateway as a process of its own: `xinshi simulator --port 0 --fault drop_answer=0.02`.

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
from engine.simulator.settings import Fault, SimulatorSettings, said_of


def main(arguments: Sequence[str] | None = None, *, program: str = "python -m engine.simulator") -> int:
    """Serve until told to stop. `program`: as it was called.

    Returns the exit code: 0, 1 when nobody waits for its address any more, or 2 for settings or a port that cannot be used.
    """
    parser = _parser(program)
    given = vars(parser.parse_args(arguments))
    try:
        settings = SimulatorSettings(**{name: value for name, value in given.items() if value is not None})
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve_until_signal(settings))
    except BrokenPipeError:  # whoever started it is gone, and so is whoever would be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
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


_ABOUT = """\
A gateway on this machine, to try everything without an account and without sending anything. It prints its address when it
listens; with account.url = that address, account.account = "demo" and the password "demo", every command works with it.
What it really took is told at ADDRESS/_simulator/truth (`xinshi audit CAMPAIGN --truth ADDRESS`). Ctrl-C ends it.

  {program} --port 8888                            answers as a gateway does
  {program} --fault drop_answer=0.05 --seed 7      takes every 20th request and drops the answer
  {program} --state FILE                           goes on where it was, even after a SIGKILL
"""


def _parser(program: str) -> argparse.ArgumentParser:
    """One option per setting, in the order of the settings: `--hang-s 3`, `--no-prepaid`, `--fault NAME=SHARE`."""
    parser = argparse.ArgumentParser(
        prog=program,
        description=_ABOUT.format(program=program),
        epilog=_faults(),
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    defaults, said = SimulatorSettings(), said_of(SimulatorSettings)
    for setting in fields(defaults):
        name, default = setting.name, getattr(defaults, setting.name)
        flag = "--" + name.replace("_", "-")
        if name == "faults":
            parser.add_argument("--fault", dest=name, action=_AddFault, metavar="NAME=SHARE", help=_ONE_FAULT)
        elif isinstance(default, bool):
            parser.add_argument(
                flag, action=argparse.BooleanOptionalAction, default=None, help=_help(said.get(name), default)
            )
        elif isinstance(default, tuple):
            parser.add_argument(flag, nargs="+", type=str, default=None, metavar="TEXT", help=_help(said.get(name), ""))
        elif isinstance(default, StrEnum):
            kinds = list(type(default))
            parser.add_argument(
                flag, type=type(default), choices=kinds, default=None, help=_help(said.get(name), default.value)
            )
        else:
            parser.add_argument(
                flag,
                type=type(default),
                default=None,
                metavar=_METAVARS[type(default)],
                help=_help(said.get(name), "" if name == "password" else default),
            )
    return parser


_METAVARS = {int: "N", float: "X", str: "TEXT"}
_ONE_FAULT = "a fault from the list below and its share, 0 to 1; may be given several times"


def _help(said: str | None, default: object) -> str:
    """What a setting means, and what it is unless it is given. argparse fills in per cent signs, so they stand twice."""
    known = "" if default == "" else f" [default: {default}]"
    return f"{said or ''}{known}".strip().replace("%", "%%")


def _faults() -> str:
    said = said_of(Fault)
    width = max(len(each.value) for each in Fault)
    return "faults:\n" + "".join(f"  {each.value:<{width}}  {said.get(each.name, '')}\n" for each in Fault)


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
