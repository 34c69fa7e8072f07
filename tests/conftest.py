"""What holds for all tests: no terminal's width shapes what commands print, unless a test sets one."""

from __future__ import annotations

import os

os.environ.pop("COLUMNS", None)  # a shell may export it, and pytest-xdist sets it in its workers
