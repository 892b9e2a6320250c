"""aiohttp with nothing around it: bodies that are made already, no journal. usage: bare_pool.py BODIES URL IN_FLIGHT [RATE]

With RATE, AsyncLimiter(RATE, 1) in the obvious way. Prints how many numbers were accepted, by the answers' own count.
"""

import asyncio
import sys

import aiohttp
import uvloop
from aiolimiter import AsyncLimiter

path, url, in_flight = *sys.argv[1:3], int(sys.argv[3])
limiter = AsyncLimiter(float(sys.argv[4]), 1) if len(sys.argv) > 4 else None
headers = {"Content-Type": "application/x-www-form-urlencoded"}


async def work(session, bodies):
    accepted = 0
    for body in bodies:
        if limiter:
            await limiter.acquire()
        async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
            answer = await response.read()
        accepted += int(answer.partition(b"<successCounts>")[2].partition(b"<")[0])
    return accepted


async def main():
    with open(path, "rb") as file:
        bodies = iter(file.read().splitlines())
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session:
        print(sum(await asyncio.gather(*(work(session, bodies) for _ in range(in_flight)))))


uvloop.run(main())
