"""A text for each customer with requests and threads. usage: personal_threads.py LIST URL TEMPLATE THREADS"""

import csv
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import requests

path, url, template, threads = *sys.argv[1:4], int(sys.argv[4])
local = threading.local()


def customers():
    with open(path, encoding="gb18030", newline="") as file:
        for row in csv.DictReader(file):
            mobile = re.sub(r"\D", "", row["手机号"])[-11:]
            if re.fullmatch(r"1[3-9]\d{9}", mobile):
                yield mobile, template.format(**row)


def send(item):
    if not hasattr(local, "session"):
        local.session = requests.Session()
    form = {"action": "send", "userid": "12", "account": "demo", "password": "demo", "sendTime": ""}
    response = local.session.post(url, data={**form, "mobile": item[0], "content": item[1]}, timeout=30)
    answer = ElementTree.fromstring(response.text)
    if answer.findtext("returnstatus") != "Success":
        raise SystemExit(answer.findtext("message"))
    return int(answer.findtext("successCounts"))


with ThreadPoolExecutor(threads) as pool:
    print(sum(pool.map(send, dict(customers()).items())))
