"""A proxy of a few lines over real sockets, and certificates for a gateway on loopback."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """`heads` are the heads of what it was asked. `refusal`: what it answers instead of doing it; b"": it closes."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    refusal: bytes | None = None
    passed_on: int = 0  # requests and tunnels that reached the other side
    drops_answers: bool = False  # closes once a batch was passed on

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _tunnel(proxy: Proxy, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host, _, port = head.split()[1].decode().rpartition(":")
    there, back = await asyncio.open_connection(host, int(port))
    proxy.passed_on += 1
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await asyncio.gather(_pipe(reader, back), _pipe(there, writer))


async def _forward(proxy: Proxy, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Send one request on as its own, and the answer back. False: the answer was kept."""
    lines = head.decode().split("\r\n")
    target = urlsplit(lines[0].split()[1])
    assert target.hostname is not None, "a proxy needs the whole address"
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length"))
    body = await reader.readexactly(length)
    kept = [line for line in lines[1:] if line and not line.lower().startswith(("proxy-", "connection"))]
    there, back = await asyncio.open_connection(target.hostname, target.port or 80)
    back.write("\r\n".join([f"POST {target.path} HTTP/1.1", *kept, "Connection: close", "", ""]).encode() + body)
    proxy.passed_on += 1
    if not proxy.drops_answers or b"action=send" not in body:
        answer = await there.read(-1)
        writer.write(answer.replace(b"Connection: close\r\n", b""))
        await writer.drain()
        back.close()
        return True
    await there.read(1)  # the gateway has taken it
    back.close()
    return False


@asynccontextmanager
async def proxying(proxy: Proxy) -> AsyncIterator[Proxy]:
    """The proxy on loopback, until the block ends."""
    tasks: set[asyncio.Task[None]] = set()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                proxy.heads.append(head)
                if proxy.refusal is not None:
                    writer.write(proxy.refusal)
                    await writer.drain()
                    break
                if head.startswith(b"CONNECT"):
                    await _tunnel(proxy, head, reader, writer)
                    break
                if not await _forward(proxy, head, reader, writer):
                    break
        writer.close()

    listener = await asyncio.start_server(converse, "127.0.0.1", 0)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listener.wait_closed()


@dataclass(frozen=True)
class Certificates:
    """A certificate authority, a gateway's certificate of it (for 127.0.0.1), and a client's."""

    ca: Path
    server: Path
    client: Path
    client_key: Path

    def server_context(self, *, asks_client: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.ca)
        context.load_cert_chain(self.server)
        context.verify_mode = ssl.CERT_REQUIRED if asks_client else ssl.CERT_NONE
        return context


def certified(folder: Path) -> Certificates:
    """Made with the openssl command, valid for a day."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    extensions = (
        "[req]\ndistinguished_name=dn\n[dn]\n[ca]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n"
    )
    extensions += "subjectKeyIdentifier=hash\n"
    extensions += "[leaf]\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n"
    (folder / "openssl.cnf").write_text(extensions)
    config = ("-config", "openssl.cnf")
    openssl(
        "req", "-x509", *curve, "-subj", "/CN=CA", *config, "-extensions", "ca", "-keyout", "ca.key", "-out", "ca.pem"
    )
    for name in ("server", "client"):
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", *config, "-extensions", "leaf")
        openssl(
            "req", "-x509", *curve, "-subj", f"/CN={name}", *signed, "-keyout", f"{name}.key", "-out", f"{name}.crt"
        )
        (folder / f"{name}.pem").write_text((folder / f"{name}.key").read_text() + (folder / f"{name}.crt").read_text())
    return Certificates(
        ca=folder / "ca.pem",
        server=folder / "server.pem",
        client=folder / "client.crt",
        client_key=folder / "client.key",
    )
