"""A plain client of the protocol: parameters in, status and bytes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

import aiohttp

LOGIN = {"userid": "12", "account": "demo", "password": "demo"}
TEXT = "【某某】您好，退订回T"


class Reachable(Protocol):
    """A simulator, here or in another process."""

    @property
    def url(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Got:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def text(self) -> str:
        return self.body.decode()

    def value(self, name: str) -> str:
        """The text of an element, exactly as spelled. Fails when it is not there once."""
        (found,) = self.values(name)
        return found

    def values(self, name: str) -> list[str]:
        return re.findall(f"<{name}>(.*?)</{name}>", self.text)


class Client:
    def __init__(self, session: aiohttp.ClientSession, sim: Reachable) -> None:
        self.session, self.sim = session, sim

    async def call(self, path: str, charset: str = "utf-8", query: str = "", **parameters: object) -> Got:
        """POST a form. `query` goes into the address."""
        body = urlencode(parameters, encoding=charset).encode()
        return await self.post(path + ("?" + query if query else ""), body, "application/x-www-form-urlencoded")

    async def post(self, path: str, body: bytes, content_type: str = "application/json") -> Got:
        headers = {"Content-Type": content_type}
        url = self.sim.url + path
        async with self.session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
            return Got(status=answer.status, body=await answer.read(), headers=dict(answer.headers))

    async def get(self, path: str) -> Got:
        async with self.session.get(self.sim.url + path, allow_redirects=False) as answer:
            return Got(status=answer.status, body=await answer.read(), headers=dict(answer.headers))

    async def send(self, numbers: Sequence[str], path: str = "/sms.aspx", **more: object) -> Got:
        given: dict[str, object] = {
            "action": "send",
            **LOGIN,
            "mobile": ",".join(numbers),
            "content": TEXT,
            "sendTime": "",
        }
        return await self.call(path, **{**given, **more})

    async def reports(self, **more: object) -> Got:
        return await self.call("/statusApi.aspx", **{"action": "query", **LOGIN, **more})

    async def uplinks(self, **more: object) -> Got:
        return await self.call("/callApi.aspx", **{"action": "query", **LOGIN, **more})

    async def overage(self) -> Got:
        return await self.call("/sms.aspx", action="overage", **LOGIN)
