"""A test of `ppo-gae` that was contradicted, once more, with seeds that it has not seen. To be run with ten.

Run: python studies/ppo-gae-compute-once-more/study.py --seeds 10 [--preset smoke|cpu|gpu] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.lab.experiment import load_reproduction
from cairn.lab.follow_up import once_more

STUDY = once_more(
    load_reproduction("ppo-gae"),
    "over-grpo-at-equal-compute",
    about="compute",
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
