"""The words for verdicts, apart from the statistics behind them, so that a query need not import those."""

from __future__ import annotations

from typing import Literal

Label = Literal["supported", "contradicted", "inconclusive", "not_testable_here"]
