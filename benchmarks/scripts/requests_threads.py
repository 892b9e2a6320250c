"""The same with requests and 32 threads. usage: requests_threads.py LIST URL TEXT SIZE"""

import csv
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import requests

path, url, text, size = *sys.argv[1:4], int(sys.argv[4])
local = threading.local()


def numbers():
    with open(path, encoding="gb18030", newline="") as file:
        for row in csv.DictReader(file):
            mobile = re.sub(r"\D", "", row["手机号"])[-11:]
            if re.fullmatch(r"1[3-9]\d{9}", mobile):
                yield mobile


def send(chunk):
    if not hasattr(local, "session"):
        local.session = requests.Session()
    form = {"action": "send", "userid": "12", "account": "demo", "password": "demo", "sendTime": ""}
    response = local.session.post(url, data={**form, "mobile": ",".join(chunk), "content": text}, timeout=30)
    answer = ElementTree.fromstring(response.text)
    if answer.findtext("returnstatus") != "Success":
        raise SystemExit(answer.findtext("message"))
    return int(answer.findtext("successCounts"))


mobiles = list(set(numbers()))
chunks = [mobiles[start : start + size] for start in range(0, len(mobiles), size)]
with ThreadPoolExecutor(32) as pool:
    print(sum(pool.map(send, chunks)))
