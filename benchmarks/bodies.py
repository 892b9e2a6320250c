"""Writes request bodies, one a line: `python -m benchmarks.bodies LIST OUT TEXT SIZE`. A text with {姓名} is filled row by row.

In a process of its own, so that what measures stays small.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

_FORM = "action=send&userid=12&account=demo&password=demo&sendTime=&mobile={mobiles}&content={content}\n"


def main() -> None:
    source, target, text, size = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    customers = dict(_customers(source, text))
    mobiles = list(customers)
    with target.open("w", encoding="ascii") as file:
        for start in range(0, len(mobiles), size):
            chunk = mobiles[start : start + size]
            file.write(
                _FORM.format(mobiles=quote(",".join(chunk), safe=""), content=quote(customers[chunk[0]], safe=""))
            )


def _customers(source: Path, text: str) -> Iterator[tuple[str, str]]:
    with source.open(encoding="gb18030", newline="") as file:
        for row in csv.DictReader(file):
            mobile = re.sub(r"\D", "", row["手机号"])[-11:]
            if re.fullmatch(r"1[3-9]\d{9}", mobile):
                yield mobile, text.format(**row)


if __name__ == "__main__":
    main()
