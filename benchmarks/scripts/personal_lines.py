"""The thirty lines with a text for each customer. usage: personal_lines.py LIST URL TEMPLATE IN_FLIGHT"""

import asyncio
import csv
import re
import sys
from xml.etree import ElementTree

import aiohttp

path, url, template, in_flight = *sys.argv[1:4], int(sys.argv[4])


def customers():
    with open(path, encoding="gb18030", newline="") as file:
        for row in csv.DictReader(file):
            mobile = re.sub(r"\D", "", row["手机号"])[-11:]
            if re.fullmatch(r"1[3-9]\d{9}", mobile):
                yield mobile, template.format(**row)


async def send(session, limit, mobile, text):
    form = {"action": "send", "userid": "12", "account": "demo", "password": "demo", "sendTime": ""}
    async with limit, session.post(url, data={**form, "mobile": mobile, "content": text}) as response:
        answer = ElementTree.fromstring(await response.text())
    if answer.findtext("returnstatus") != "Success":
        raise SystemExit(answer.findtext("message"))
    return int(answer.findtext("successCounts"))


async def main():
    texts = dict(customers())
    limit = asyncio.Semaphore(in_flight)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight)) as session:
        print(sum(await asyncio.gather(*(send(session, limit, *item) for item in texts.items()))))


asyncio.run(main())
