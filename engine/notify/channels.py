"""Where notices go, as the operator set it up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

_SHORTEST_SECRET = 8  # what is shorter is a version or a switch, and hiding it would blacken every log


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Who is told, of which kinds; addresses may be secrets. "" and (): not that way. `timeout_s` bounds one attempt."""

    on: frozenset[str] = frozenset()
    command: tuple[str, ...] = ()
    webhook: str = field(default="", repr=False)
    wecom: str = field(default="", repr=False)
    dingtalk: str = field(default="", repr=False)
    dingtalk_secret: str = field(default="", repr=False)
    timeout_s: float = 10.0

    @property
    def names(self) -> list[str]:
        """The ways there are, by their keys."""
        ways = {"command": self.command, "webhook": self.webhook, "wecom": self.wecom, "dingtalk": self.dingtalk}
        return [name for name, way in ways.items() if way]

    def secrets(self) -> Iterator[str]:
        """What must never be shown: whoever has it can write to the group."""
        yield self.dingtalk_secret
        for url in (self.webhook, self.wecom, self.dingtalk):
            yield url
            parts = urlsplit(url)
            yield from (value for _, value in parse_qsl(parts.query) if len(value) >= _SHORTEST_SECRET)
            if parts.password:
                yield parts.password
