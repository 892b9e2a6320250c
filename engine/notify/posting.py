"""Posts a JSON text to an address. Beside the gateway's client, the only place that imports aiohttp.

No redirects, no cookies; no address in an error, because it may be a secret.
"""

from __future__ import annotations

import asyncio

import aiohttp

from engine.errors import NotTold
from engine.language import _
from engine.terms import system_words

_MOST_BYTES = 65_536  # of an answer


async def post(url: str, body: bytes, *, timeout_s: float) -> bytes:
    """Post once and return the answer. Raises NotTold: no connection, no answer in time, or an HTTP status that is not 2xx."""
    try:
        async with (
            asyncio.timeout(timeout_s),
            aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as session,
            session.post(
                url, data=body, headers={"Content-Type": "application/json; charset=utf-8"}, allow_redirects=False
            ) as response,
        ):
            answer = await response.content.read(_MOST_BYTES)
    except TimeoutError as error:
        raise NotTold(_("no answer within {seconds:g} s").format(seconds=timeout_s), may_help=True) from error
    except aiohttp.InvalidURL as error:
        raise NotTold(_("the address cannot be used")) from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NotTold(_in_words(error), may_help=True) from error
    if not 200 <= response.status < 300:
        raise NotTold(f"HTTP {response.status}", may_help=response.status == 429 or response.status >= 500)
    return answer


def _in_words(error: Exception) -> str:
    match error:
        case aiohttp.ClientConnectorDNSError():
            return _("its name cannot be resolved")
        case aiohttp.ClientConnectorCertificateError():
            return _("its certificate is not trusted")
        case aiohttp.ClientConnectorError() if error.os_error.errno:
            return _("no connection: {problem}").format(problem=system_words(error.os_error))
        case _:
            return _("the connection failed: {problem}").format(problem=type(error).__name__)
