"""The loop one writes to clean a list: csv, a regular expression, a set. usage: plain_loop.py LIST"""

import csv
import re
import sys

seen = set()
with open(sys.argv[1], encoding="gb18030", newline="") as file:
    rows = csv.reader(file)
    column = next(rows).index("手机号")
    for row in rows:
        mobile = re.sub(r"\D", "", row[column])[-11:]
        if re.fullmatch(r"1[3-9]\d{9}", mobile):
            seen.add(mobile)
print(len(seen))
