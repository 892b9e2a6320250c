"""The way to the gateway: whom its certificate must be from, through which proxy, from which of our addresses."""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import SettingsError
from engine.language import _
from engine.terms import system_words


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How connections to the gateway are made. Empty or None: as the system does it.

    `tls_ca` (PEM) is trusted instead of the system's authorities; `tls_cert` and `tls_key` (PEM) are shown to a gateway that asks.
    `proxy` is http://host:port: with an https gateway it only passes bytes on (CONNECT), with an http one it reads and sends
    every request itself. `source_address` is one of this machine's IP addresses.
    """

    proxy: str = ""
    proxy_user: str = ""
    proxy_password: str = field(default="", repr=False)
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    source_address: str = ""

    @property
    def proxy_login(self) -> str:
        """The value of a Proxy-Authorization header; "" where the proxy wants no login."""
        if not self.proxy_user:
            return ""
        return f"Basic {base64.b64encode(f'{self.proxy_user}:{self.proxy_password}'.encode()).decode('ascii')}"

    def tls(self) -> ssl.SSLContext | None:
        """What TLS is spoken with; None where the usual will do. Raises SettingsError for a file that is not what it should be."""
        if not (self.tls_ca or self.tls_cert):
            return None
        context = ssl.create_default_context()
        if self.tls_ca is not None:
            context = _trusting(self.tls_ca)
        if self.tls_cert is not None:
            _show(context, self.tls_cert, self.tls_key)
        context.set_alpn_protocols(("http/1.1",))
        return context


def _trusting(file: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except ssl.SSLError as error:
        raise SettingsError(
            _("tls_ca: {file} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)").format(file=file)
        ) from error
    except OSError as error:
        raise SettingsError(
            _("tls_ca: {file} cannot be read: {problem}").format(file=file, problem=system_words(error))
        ) from error


def _show(context: ssl.SSLContext, cert: Path, key: Path | None) -> None:
    try:
        # Without a password of its own OpenSSL would ask for one on the terminal.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise SettingsError(
            _("tls_cert: {cert} and {key} are no certificate and its key in PEM form, without a passphrase").format(
                cert=cert, key=key or _("the key in it")
            )
        ) from error
    except OSError as error:
        raise SettingsError(
            _("tls_cert: {cert} or {key} cannot be read: {problem}").format(
                cert=cert, key=key or _("it"), problem=system_words(error)
            )
        ) from error
