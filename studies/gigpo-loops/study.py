"""Do anchor states carry GiGPO where every wrong exit leads back, so that states are met again? To be run with ten.

Run: python studies/gigpo-loops/study.py --seeds 10 [--preset smoke|cpu|gpu] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.lab.experiment import load_reproduction
from cairn.lab.follow_up import on_other_knobs

STUDY = on_other_knobs(
    "gigpo-loops",
    load_reproduction("gigpo"),
    "quest-loops=1",
    "Where every wrong exit leads back, rollouts meet more states again: anchor groups then hold "
    "more steps whose returns differ.",
    "over-grpo",
    "anchors-carry-it",
    "places-carry-it",
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
