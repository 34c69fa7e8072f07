"""Is Dr. MAS put to a fairer test where each agent acts once, so that success is less rare? To be run with ten.

Run: python studies/dr-mas-one-round/study.py --seeds 10 [--preset smoke|cpu|gpu] [--out DIR] [--resume]
"""

from __future__ import annotations

from dataclasses import replace

from cairn.lab.experiment import load_reproduction
from cairn.lab.follow_up import on_other_knobs

AN_OVERSIGHT = (
    "The alarm of the reproduction was left out here, so that every agent acts once in every rollout: statistics by "
    "agent are then those of the task, the rule is GRPO but for the kind of deviation, and its point is not tested. "
    "With the alarm it is `dr-mas-unequal-one-round`."
)
TESTED = load_reproduction("dr-mas")

_ASKED = on_other_knobs(
    "dr-mas-one-round",
    replace(TESTED, deviations=(AN_OVERSIGHT, *TESTED.deviations)),
    "relay-rounds=1",
    "Where each agent acts once, the initial team wins more often and the outcome of a batch says "
    "more: an open verdict may have been for want of anything to learn from.",
    "fewer-spikes",
    "smaller-largest-gradient",
    "over-grpo",
    "over-grpo-at-equal-compute",
    "own-deviation-helps",
    "agents-carry-it",
    "places-carry-it",
)
# It says nothing about agents who act unequally often, which the open verdicts are about.
STUDY = replace(_ASKED, claims=tuple(claim.model_copy(update={"explains": ()}) for claim in _ASKED.claims))

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
