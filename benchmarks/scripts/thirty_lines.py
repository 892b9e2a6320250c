"""The thirty lines one would write with aiohttp. usage: thirty_lines.py LIST URL TEXT SIZE"""

import asyncio
import csv
import re
import sys
from xml.etree import ElementTree

import aiohttp

path, url, text, size = *sys.argv[1:4], int(sys.argv[4])


def numbers():
    with open(path, encoding="gb18030", newline="") as file:
        for row in csv.DictReader(file):
            mobile = re.sub(r"\D", "", row["手机号"])[-11:]
            if re.fullmatch(r"1[3-9]\d{9}", mobile):
                yield mobile


async def send(session, limit, chunk):
    form = {"action": "send", "userid": "12", "account": "demo", "password": "demo", "sendTime": ""}
    async with limit, session.post(url, data={**form, "mobile": ",".join(chunk), "content": text}) as response:
        answer = ElementTree.fromstring(await response.text())
    if answer.findtext("returnstatus") != "Success":
        raise SystemExit(answer.findtext("message"))
    return int(answer.findtext("successCounts"))


async def main():
    mobiles = list(set(numbers()))
    limit = asyncio.Semaphore(16)
    async with aiohttp.ClientSession() as session:
        chunks = (mobiles[start : start + size] for start in range(0, len(mobiles), size))
        print(sum(await asyncio.gather(*(send(session, limit, chunk) for chunk in chunks))))


asyncio.run(main())
