"""Tests of `capo` that stayed open, once more, with seeds that none of them has seen. To be run with ten.

Run: python studies/capo-judge-once-more/study.py --seeds 10 [--preset smoke|cpu|gpu] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.lab.experiment import load_reproduction
from cairn.lab.follow_up import once_more

STUDY = once_more(
    load_reproduction("capo"),
    "quality-of-the-judge",
    "more-critiques-help",
    about="judge",
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
