"""DPO: do preferences between rollouts teach as well as their returns, and does the weight of a pair matter?

Run: python reproductions/dpo/reproduce.py [--preset smoke|cpu|gpu] [--seeds N] [--out DIR] [--resume]
"""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import ShuffledPreferences
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.standard import baseline_arms, calibration_checks, ceiling_arms, equal_compute_claim
from cairn.methods.dpo import DPO
from cairn.methods.grpo import GRPO
from cairn.methods.ppo_gae import PPOGAE

REPRODUCTION = Reproduction(
    id="dpo",
    title="DPO on pairs of its own rollouts against PPO with a critic and against GRPO",
    tasks=("quest",),
    arms=(
        Arm(
            "paper", "method", "The paper's loss, beta = 0.1, on the pairs of each batch.", DPO(), granularity="episode"
        ),
        Arm(
            "half-rate",
            "variant",
            "The same at half the protocol's learning rate.",
            DPO(),
            learning_rate_factor=0.5,
            granularity="episode",
        ),
        Arm(
            "double-rate",
            "variant",
            "The same at twice the protocol's learning rate.",
            DPO(),
            learning_rate_factor=2.0,
            granularity="episode",
        ),
        Arm(
            "without-weight",
            "control",
            "Every pair weighs the same, whatever the policy thinks of it by now: after the paper's unlikelihood "
            "control.",
            DPO(weighted=False),
            granularity="episode",
        ),
        *baseline_arms("grpo", "GRPO", GRPO(), "paper"),
        Arm(
            "ppo-gae",
            "control",
            "PPO with a learned critic, gamma = lambda = 1: the paper's own control, with the true reward.",
            PPOGAE(),
            granularity="token",
        ),
        Arm(
            "shuffled-preferences",
            "null",
            "The paper's loss on as many pairs between the wrong rollouts of a task.",
            DPO(),
            ShuffledPreferences(),
            granularity="episode",
        ),
        *ceiling_arms(),
    ),
    claims=(
        Claim(
            id="over-ppo",
            text="DPO learns faster than PPO with a learned critic, update for update.",
            arm="paper",
            control="ppo-gae",
            margin=0.02,
            basis="dpo#sentiment-over-ppo",
            why="One side of the paper's central figure, reward against KL: PPO may use the true reward, DPO sees "
            "preferences only.",
        ),
        Claim(
            id="closer-than-ppo",
            text="DPO stays closer to the initial policy than PPO over the run.",
            arm="paper",
            control="ppo-gae",
            metric="mean_of_kl_nats",
            direction="less",
            margin=1.0,
            basis="dpo#sentiment-over-ppo",
            why="The other side of that figure. Only both together say what it says, that more is earned for the same "
            "KL; one of them alone leaves it open.",
        ),
        Claim(
            id="over-grpo",
            text="DPO learns faster than GRPO from the same number of rollouts.",
            arm="paper",
            control="grpo",
            margin=0.02,
            basis="the protocol: every method is set against GRPO",
            why="On the first update both go the same way but for the division by the standard deviation; what DPO "
            "adds is the weight of a pair. The paper's own control is PPO.",
        ),
        equal_compute_claim(
            "DPO", "grpo", "GRPO", "Rollouts without a pair are not trained on, so that DPO spends less on each update."
        ),
        Claim(
            id="weight-carries-it",
            text="The weight of a pair helps: with equal weights it learns more slowly.",
            arm="paper",
            control="without-weight",
            margin=0.02,
            basis="the paper's section 4 and appendix Table 3: without the weight the model degenerates",
            why="Nothing else is changed between the two arms. With equal weights the gradient is that of GRPO "
            "without the division by the standard deviation and without KL.",
        ),
        Claim(
            id="preferences-carry-it",
            text="It matters who is preferred: preferences between the wrong rollouts teach less.",
            arm="paper",
            control="shuffled-preferences",
            margin=0.02,
            basis="the protocol: what carries a rule is corrupted by itself",
            why="As many pairs of the same tasks with the same loss; if they did as well, the preferences would teach "
            "nothing.",
        ),
        Claim(
            id="rate-not-too-high",
            text="Half the learning rate does not serve DPO better.",
            arm="half-rate",
            control="paper",
            direction="not_greater",
            margin=0.02,
            basis="protocol",
            why="DPO must not be handicapped by a rate that was chosen for GRPO; GRPO's reproduction has the same "
            "three.",
        ),
        Claim(
            id="rate-not-too-low",
            text="Twice the learning rate does not serve DPO better.",
            arm="double-rate",
            control="paper",
            direction="not_greater",
            margin=0.02,
            basis="protocol",
            why="DPO must not be handicapped by a rate that was chosen for GRPO; GRPO's reproduction has the same "
            "three.",
        ),
    ),
    checks=(*calibration_checks("grpo", "GRPO"),),
    deviations=(
        (
            "Pairs are formed anew from the policy's own rollouts at each update; the paper learns from pairs that "
            "were sampled once, before training, so this is our reading of its loss in a loop that samples."
        ),
        (
            "A rollout is preferred if its return is higher, without error; the paper has people, or a classifier. "
            "Every two rollouts of a task with different returns are a pair, as in the paper's experiment on "
            "sentiment."
        ),
        "A small word-level model and a synthetic text world stand for GPT-2-large, GPT-J and Pythia-2.8B.",
        (
            "The learning rate is the protocol's, 3.5e-4, where the paper has 1e-6 and its control a rate of its own. "
            "AdamW divides a constant factor out of a gradient, so that beta and the sum over tokens make no larger "
            "steps of it. What they change is that the gradient, whose norm is above 1 in the first updates where "
            "GRPO's is some hundredths, is clipped to 1: batches then count alike, however many pairs they have. And "
            "steps fade as pairs come to be ranked right, which AdamW, with its long memory of earlier gradients, "
            "lets show. Half and twice the rate are run, the search that GRPO has in its own reproduction; two claims "
            "say whether the protocol's rate is a handicap. Where one of them is not supported, read the others with "
            "that arm beside them."
        ),
        (
            "The two comparisons of rates were declared as checks of the run. They became claims, as they are in the "
            "reproduction of GRPO, after ten seeds had left one of them open; their words, arms and margins stayed."
        ),
        "No warm-up of the learning rate, and AdamW instead of RMSprop.",
        "No KL term beside the loss on pairs; PPO and GRPO have the protocol's in theirs.",
        (
            "KL is the mean log-ratio of a batch's rollouts at the points of the curve, of the batch before the "
            "update. The paper's frontier over many settings is not drawn."
        ),
        (
            "DPO's own credit cannot be shuffled inside a rollout, since all turns get the same; preferences are, "
            "instead, and exact credit."
        ),
        "The released switch that leaves the reference out is not run.",
    ),
)

if __name__ == "__main__":
    from cairn.cli import run_script

    run_script(REPRODUCTION)
