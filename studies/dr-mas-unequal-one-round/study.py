"""Is Dr. MAS put to a fairer test where each agent acts at most once, so that success is less rare? To be run with ten.

Run: python studies/dr-mas-unequal-one-round/study.py --seeds 10 [--preset smoke|cpu|gpu] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.lab.experiment import load_reproduction
from cairn.lab.follow_up import on_other_knobs

STUDY = on_other_knobs(
    "dr-mas-unequal-one-round",
    load_reproduction("dr-mas"),
    "relay-alarm=1-rounds=1",
    "Where each agent acts at most once, the initial team wins more often and the outcome of a batch says "
    "more: an open verdict may have been for want of anything to learn from.",
    "fewer-spikes",
    "smaller-largest-gradient",
    "over-grpo",
    "over-grpo-at-equal-compute",
    "own-deviation-helps",
    "agents-carry-it",
    "places-carry-it",
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
