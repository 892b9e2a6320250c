"""A Celery task per batch. The worker loads this too. usage: celery_tasks.py LIST URL TEXT SIZE, with BROKER set"""

import csv
import os
import re
import sys
from xml.etree import ElementTree

import requests
from celery import Celery
from celery.signals import worker_ready

app = Celery("celery_tasks", broker=os.environ["BROKER"], backend=os.environ["BROKER"])
session = requests.Session()  # one in each process of the pool: they fork before it is used


@worker_ready.connect
def say_so(**_):
    os.write(1, b"ready\n")  # Celery keeps what is printed for its log


@app.task(name="send")
def send(url, text, chunk):
    form = {"action": "send", "userid": "12", "account": "demo", "password": "demo", "sendTime": ""}
    response = session.post(url, data={**form, "mobile": ",".join(chunk), "content": text}, timeout=30)
    answer = ElementTree.fromstring(response.text)
    if answer.findtext("returnstatus") != "Success":
        raise RuntimeError(answer.findtext("message"))
    return int(answer.findtext("successCounts"))


def numbers(path):
    with open(path, encoding="gb18030", newline="") as file:
        for row in csv.DictReader(file):
            mobile = re.sub(r"\D", "", row["手机号"])[-11:]
            if re.fullmatch(r"1[3-9]\d{9}", mobile):
                yield mobile


def main(path, url, text, size):
    mobiles = list(set(numbers(path)))
    chunks = (mobiles[start : start + size] for start in range(0, len(mobiles), size))
    waiting = [send.delay(url, text, chunk) for chunk in chunks]
    print(sum(result.get(disable_sync_subtasks=False) for result in waiting))


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
