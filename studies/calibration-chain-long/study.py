"""Can a `chain` of 24 steps tell exact credit from misplaced credit? The protocol asks for a shorter one.

Run: python studies/calibration-chain-long/study.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.lab.standard import calibration_study
from cairn.methods.grpo import GRPO

STUDY = calibration_study("calibration-chain-long", "chain-horizon=24-decisive=0.2", "grpo", "GRPO", GRPO())

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(STUDY)
