"""Can `relay` tell exact credit from misplaced credit?

Run: python studies/calibration-relay/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.lab.standard import calibration_study
from cairn.methods.grpo import GRPO

STUDY = calibration_study("calibration-relay", "relay", "grpo", "GRPO", GRPO())

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
