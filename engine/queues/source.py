"""What the engine asks of a broker, and how a source is found by the scheme of its address.

Somebody else's broker comes in through the entry point group `xinshi.sources`: its name is the scheme, its object is called
with an Address and the Terms and returns a Source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from engine.errors import SettingsError
from engine.language import _

GROUP = "xinshi.sources"
DEFAULT_GROUP = "xinshi"

_EXTRAS = {
    "redis": ("redis_streams", "redis"),
    "rediss": ("redis_streams", "redis"),
    "amqp": ("rabbitmq", "rabbitmq"),
    "amqps": ("rabbitmq", "rabbitmq"),
    "kafka": ("kafka", "kafka"),
    "kafkas": ("kafka", "kafka"),
}
"""The module in this package, and the extra of the distribution that brings its library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a queue is: scheme://[user@]host[:port][,host…]/path?options. It holds no password."""

    scheme: str
    hosts: tuple[tuple[str, int | None], ...]
    path: tuple[str, ...]
    user: str = ""
    options: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The queue without user and options: message ids are remembered under it, so it is one spelling for one queue."""
        hosts = ",".join(host if port is None else f"{host}:{port}" for host, port in sorted(self.hosts, key=str))
        return f"{self.scheme}://{hosts}/{'/'.join(self.path)}"

    def option(self, name: str, default: str = "") -> str:
        """One of the options behind the question mark."""
        return dict(self.options).get(name, default)

    def refuse_options_but(self, *known: str) -> None:
        """Raises SettingsError when there is an option that nobody would read."""
        for name, _value in self.options:
            if name not in known:
                raise SettingsError(
                    _("{source}: unknown option {name}; known are {names}").format(
                        source=self.name, name=name, names=", ".join(known)
                    )
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a source is read. `consumer` is our name in its group, the same after a restart.

    `ahead`: messages that may be with us and not acknowledged. `idle_s`: after so long without a sign another consumer counts as
    dead. `connect_s` and `answer_s` bound what is asked of the broker.
    """

    consumer: str
    password: str = field(default="", repr=False)
    ahead: int = 500
    idle_s: float = 60.0
    connect_s: float = 5.0
    answer_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Delivery:
    """One message as the broker handed it over. `handle` is the source's own."""

    body: bytes = field(repr=False)
    handle: object = field(repr=False)


class Source(Protocol):
    """A queue that is being read. Every verb raises QueueError when the broker cannot be reached, refuses or breaks off.

    After that `open` begins anew: what was handed over before and not acknowledged comes again.
    """

    name: str

    async def open(self) -> None:
        """Connect and join the group. May be called again after a QueueError."""
        ...

    async def fetch(self, most: int, wait_s: float) -> Sequence[Delivery]:
        """Up to `most` messages; waits up to `wait_s` seconds for the first one."""
        ...

    async def ack(self, deliveries: Sequence[Delivery]) -> None:
        """These are done with: they never come again. Called when they are durable elsewhere."""
        ...

    async def nack(self, deliveries: Sequence[Delivery]) -> None:
        """Give these back: they come again, here or elsewhere."""
        ...

    async def bury(self, delivery: Delivery, reason: str) -> None:
        """Put a bad message into the dead-letter place with the reason; acknowledge it once it is durable there."""
        ...

    async def publish(self, place: str, payloads: Sequence[bytes]) -> None:
        """Add messages to another stream, queue or topic of the broker. They are durable on return."""
        ...

    async def close(self) -> None:
        """Let go of the broker. Never raises for a broker that is gone."""
        ...


Maker = Callable[[Address, Terms], Source]


def parse_address(url: str) -> Address:
    """Take an address apart. Raises SettingsError; its text never holds a password."""
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc:
        raise SettingsError(_("a queue's address looks like scheme://host:port/queue, or is a name from [queues.NAME]"))
    login, _at, hosts = parts.netloc.rpartition("@")
    user, _colon, password = login.partition(":")
    if password:
        raise SettingsError(
            _(
                "{scheme}://{hosts}: a password does not belong in an address; put the queue into the settings as "
                "[queues.NAME] with password_file, or set XINSHI_QUEUES__NAME__PASSWORD"
            ).format(scheme=parts.scheme, hosts=hosts)
        )
    path = tuple(unquote(part) for part in parts.path.split("/") if part)
    if not path:
        raise SettingsError(
            _("{scheme}://{hosts}: the address names no queue; add /NAME").format(scheme=parts.scheme, hosts=hosts)
        )
    return Address(
        scheme=parts.scheme,
        hosts=tuple(_host(each, parts.scheme) for each in hosts.split(",")),
        path=path,
        user=unquote(user),
        options=tuple(parse_qsl(parts.query, keep_blank_values=True)),
    )


def _host(text: str, scheme: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise SettingsError(_("{scheme}://{text}: that is no host and port").format(scheme=scheme, text=text))
    return (f"[{host}]" if ":" in host else host), port


def open_source(address: Address, terms: Terms) -> Source:
    """The source for an address, not connected yet. Raises SettingsError: unknown scheme or option, library not installed."""
    return _maker(address.scheme)(address, terms)


def _maker(scheme: str) -> Maker:
    if scheme in _EXTRAS:
        module, extra = _EXTRAS[scheme]
        try:
            maker: Maker = import_module(f"engine.queues.{module}").make
        except ImportError as error:
            raise SettingsError(
                _(
                    "{scheme}:// needs a library that is not installed ({name}); run: pip install 'xinshi[{extra}]'"
                ).format(scheme=scheme, name=error.name, extra=extra)
            ) from error
        return maker
    for point in entry_points(group=GROUP, name=scheme):
        found: Maker = point.load()
        return found
    others = sorted({point.name for point in entry_points(group=GROUP)})
    raise SettingsError(
        _("{scheme}:// is no queue known here; known are {names}").format(
            scheme=scheme, names=", ".join([*_EXTRAS, *others])
        )
    )
