"""The tests read English, whatever this machine speaks."""

from __future__ import annotations

import os

os.environ["XINSHI_LANG"] = "en"
