"""The help of the commands and the complaints of the parser, in the language spoken. English is as cyclopts says it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from inspect import cleandoc
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar

from cyclopts import App

from engine.language import N_, _, spoken

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from cyclopts.help.specs import ColumnSpec
    from rich.console import Console, ConsoleOptions

Command = TypeVar("Command", bound=Callable[..., int])

_PARAMETERS = "\n\nParameters\n----------\n"

# What the parser itself says. A sentence of its that is not here stays in English.
FRAME = (
    N_("Arguments"),
    N_("Commands"),
    N_("Parameters"),
    N_("Display application version."),
    N_("Display this message and exit."),
)
_COMPLAINTS = (
    (r"Unknown option: \"?(?P<option>[^\"\n]*?)\"?\.(?= |$)", N_("Unknown option: {option}.")),
    (r"Unknown command \"(?P<command>[^\"\n]*)\"\.", N_('Unknown command "{command}".')),
    (r"Unused Tokens: (?P<words>\[.*\])\.", N_("Unused Tokens: {words}.")),
    (
        r"Command \"(?P<command>[^\"]*)\" parameter (?P<name>\S+) requires an argument\.",
        N_('Command "{command}" parameter {name} requires an argument.'),
    ),
    (r"Parameter (?P<name>\S+) requires an argument\.", N_("Parameter {name} requires an argument.")),
    (r"Parameter (?P<name>\S+) specified multiple times\.", N_("Parameter {name} specified multiple times.")),
    (
        r"Invalid value for (?P<name>\S+): unable to convert \"(?P<value>[^\"]*)\" into (?P<kind>\w+)\.",
        N_('Invalid value for {name}: unable to convert "{value}" into {kind}.'),
    ),
    (r"Invalid value \"(?P<value>[^\"]*)\" for (?P<name>\S+)\.", N_('Invalid value "{value}" for {name}.')),
    (r"Must be (?P<limit>[<>]=? \S+)\.(?= |$)", N_("Must be {limit}.")),
    (r"Did you mean \"?(?P<words>[^\"?\n]*)\"?\?", N_("Did you mean {words}?")),
    (r"Available commands: (?P<words>[^\n]*?(?:, \.\.\.)?)\.?$", N_("Available commands: {words}.")),
)


def complaint(text: str) -> str:
    """What the parser complains of."""
    if spoken() == "en":
        return text
    for pattern, sentence in _COMPLAINTS:
        text = re.sub(pattern, _filled(_(sentence)), text)
    return text


def _filled(sentence: str) -> Callable[[re.Match[str]], str]:
    return lambda found: sentence.format(**found.groupdict())


@dataclass(frozen=True, slots=True, kw_only=True)
class Commands:
    """The commands in the order in which they were written down; each language gets an App of its own from them."""

    written: list[tuple[Sequence[str], FunctionType, dict[str, Any]]] = field(default_factory=list)

    def add(self, *names: str, **how: Any) -> Callable[[Command], Command]:
        """Write a command down under its name, or under a group's name and its own."""

        def write(function: Command) -> Command:
            assert isinstance(function, FunctionType)
            self.written.append((names or (function.__name__,), function, how))
            return function

        return write

    def put(self, app: App, groups: dict[str, App]) -> App:
        """Give the commands, as they are called in the language spoken, to an app."""
        for name, group in groups.items():
            app.command(group, name=name)
        for (*above, name), function, how in self.written:
            at = groups[above[0]] if above else app
            at.command(retold(function), name=name, **how)
        return app

    def summaries(self) -> dict[str, str]:
        """What the commands that stand in no group are for, in the language spoken."""
        return {
            name: _(_parsed(function.__doc__ or "")[0]) for (*above, name), function, _how in self.written if not above
        }

    def texts(self) -> Iterator[str]:
        """Every text in their help, for the catalogue."""
        for _names, function, _how in self.written:
            summary, parameters = _parsed(function.__doc__ or "")
            yield from (summary, *parameters.values())


def retold(function: FunctionType) -> FunctionType:
    """The same command with its docstring, which is its help, in the language spoken."""
    if spoken() == "en":
        return function
    code, defaults, closure = function.__code__, function.__defaults__, function.__closure__
    other = FunctionType(code, function.__globals__, function.__name__, defaults, closure)
    other.__annotations__, other.__kwdefaults__ = function.__annotations__, function.__kwdefaults__
    summary, parameters = _parsed(function.__doc__ or "")
    told = "".join(f"{name}\n    {_(text)}\n" for name, text in parameters.items())
    other.__doc__ = _(summary) + (f"{_PARAMETERS}{told}" if told else "")
    return other


def _parsed(doc: str) -> tuple[str, dict[str, str]]:
    """The summary of a docstring, and what it says of each parameter."""
    summary, _rule, rest = cleandoc(doc).partition(_PARAMETERS)
    parameters: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        if line.startswith(" "):
            parameters[name] = f"{parameters[name]} {line.strip()}".strip()
        else:
            name = line
            parameters[name] = ""
    return " ".join(summary.split()), parameters


class Formatter:
    """A help page whose frame, too, is in the language spoken."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Draw a panel."""
        from cyclopts.help import DefaultFormatter

        entries = [_entry(entry) for entry in panel.entries]
        draw = DefaultFormatter(column_specs=_columns if panel.format == "parameter" else None)
        draw(console, options, panel.copy(title=_(str(panel.title)), entries=entries))

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Draw the line that says how a command is written."""
        from cyclopts.help.specs import DefaultStyled
        from rich.text import Text

        console.print(DefaultStyled(Text(_("Usage: "), style="cyclopts.usage") + usage))


def _entry(entry: HelpEntry) -> HelpEntry:
    """The entry with what the parser itself adds to it: some descriptions, the default, that it is required."""
    from cyclopts.help import InlineText
    from rich.text import Text

    said = getattr(entry.description, "primary_renderable", None)
    plain = str(getattr(said, "markup", "") or getattr(said, "plain", "")).strip()
    description = InlineText(Text(_(plain))) if plain in FRAME else entry.description
    if entry.default is not None and isinstance(description, InlineText):
        description.append(Text(_("[default: {value}]").format(value=entry.default), "cyclopts.default"))
    return entry.copy(description=description, default=None)


def _columns(console: Console, options: ConsoleOptions, entries: list[HelpEntry]) -> tuple[ColumnSpec, ...]:
    from cyclopts.help.specs import DescriptionRenderer, get_default_parameter_columns

    return tuple(
        column.copy(renderer=_described) if isinstance(column.renderer, DescriptionRenderer) else column
        for column in get_default_parameter_columns(console, options, entries)
    )


def _described(entry: HelpEntry) -> Any:
    from cyclopts.help import InlineText
    from cyclopts.help.specs import DescriptionRenderer
    from rich.text import Text

    shown = DescriptionRenderer()(entry.copy(required=False))
    if entry.required and isinstance(shown, InlineText):
        shown.append(Text(_("[required]"), "cyclopts.required"))
    return shown
