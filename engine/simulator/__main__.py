"""Runs the simulated gateway as a process of its own: `xinshi simulator --port 0 --fault drop_answer=0.02`.

Prints one line of JSON with its address and process id when it listens; ends on SIGTERM or SIGINT.
With `--state FILE` it goes on where it was, even after a SIGKILL.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import fields
from enum import StrEnum

from engine.simulator.server import serve
from engine.simulator.settings import Fault, SimulatorSettings, said_of

Say = Callable[[str], str]


def main(arguments: Sequence[str] | None = None, *, program: str = "python -m engine.simulator", say: Say = str) -> int:
    """Serve until told to stop. `program`: as it was called; `say`: a text of the help in the reader's language.

    Returns the exit code: 0, 1 when nobody waits for its address any more, or 2 for settings or a port that cannot be used.
    """
    parser = _parser(program, say)
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


def texts() -> set[str]:
    """Every text of the help, as `say` is given it."""
    said = {*said_of(SimulatorSettings).values(), *said_of(Fault).values()}
    return said - {_NO_OPTION} | {_ABOUT, _ONE_FAULT, _USAGE, _OPTIONS, _HELP, _FAULTS, _DEFAULT}


def _parser(program: str, say: Say) -> argparse.ArgumentParser:
    """One option per setting, in the order of the settings: `--hang-s 3`, `--no-prepaid`, `--fault NAME=SHARE`."""

    class Formatter(_Formatter):
        usage = say(_USAGE)

    whole = argparse.ArgumentParser(
        prog=program,
        description=say(_ABOUT).format(program=program),
        epilog=_faults(say),
        allow_abbrev=False,
        add_help=False,
        formatter_class=Formatter,
    )
    parser = whole.add_argument_group(say(_OPTIONS))
    parser.add_argument("-h", "--help", action="help", help=say(_HELP))
    defaults, said = SimulatorSettings(), {name: say(text) for name, text in said_of(SimulatorSettings).items()}
    default_words = say(_DEFAULT)
    for setting in fields(defaults):
        name, default = setting.name, getattr(defaults, setting.name)
        flag = "--" + name.replace("_", "-")
        if name == "faults":
            parser.add_argument("--fault", dest=name, action=_AddFault, metavar="NAME=SHARE", help=say(_ONE_FAULT))
        elif isinstance(default, bool):
            parser.add_argument(
                flag,
                action=argparse.BooleanOptionalAction,
                default=None,
                help=_help(said[name], default, default_words),
            )
        elif isinstance(default, tuple):
            parser.add_argument(
                flag, nargs="+", type=str, default=None, metavar="TEXT", help=_help(said[name], "", default_words)
            )
        elif isinstance(default, StrEnum):
            kinds = list(type(default))
            parser.add_argument(
                flag,
                type=type(default),
                choices=kinds,
                default=None,
                help=_help(said[name], default.value, default_words),
            )
        else:
            parser.add_argument(
                flag,
                type=type(default),
                default=None,
                metavar=_METAVARS[type(default)],
                help=_help(said[name], "" if name == "password" else default, default_words),
            )
    return whole


_METAVARS = {int: "N", float: "X", str: "TEXT"}
_ONE_FAULT = "a fault from the list below and its share, 0 to 1; may be given several times"
_NO_OPTION = "Fault -> probability"  # of `faults`, which is told in other words
_USAGE, _OPTIONS, _FAULTS = "usage: ", "options", "faults:"
_HELP, _DEFAULT = "show this help message and exit", " [default: {default}]"


def _help(said: str, default: object, words: str) -> str:
    """What a setting means, and, in `words`, what it is unless it is given. argparse fills in per cent signs, so they stand twice."""
    known = "" if default == "" else words.format(default=default)
    return f"{said}{known}".strip().replace("%", "%%")


def _faults(say: Say) -> str:
    said = said_of(Fault)
    width = max(len(each.value) for each in Fault)
    return f"{say(_FAULTS)}\n" + "".join(
        f"  {each.value:<{width}}  {say(said[each.name]) if each.name in said else ''}\n" for each in Fault
    )


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Begins with the reader's word for usage, and counts Chinese signs as the two cells they take."""

    usage = _USAGE

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[argparse._MutuallyExclusiveGroup],
        prefix: str | None = None,
    ) -> None:
        super().add_usage(usage, actions, groups, self.usage if prefix is None else prefix)

    def _split_lines(self, text: str, width: int) -> list[str]:
        if text.isascii():
            return super()._split_lines(text, width)
        lines, line = [], ""
        for piece in _PIECE.findall(text):
            if line and _cells(line) + _cells(piece) > width and piece not in _NEVER_FIRST:
                lines.append(line.rstrip())
                line = ""
            line += piece if line else piece.lstrip()
        return [*lines, line]


_PIECE = re.compile(r"\[.+\]|[\u0021-\u2fff]+|.")  # a default, a word, or a sign after which a line may end
_NEVER_FIRST = "，。；：、）”"


def _cells(text: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)


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
