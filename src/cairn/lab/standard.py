"""Arms, claims and checks of every experiment: baseline, ceiling, null control, whether the task tells credit apart."""

from __future__ import annotations

from cairn.evidence.claims import Claim
from cairn.lab.controls import ExactCredit, NullControl, ShuffledCredit
from cairn.lab.experiment import Arm, Reproduction
from cairn.lab.scorers import Scorer
from cairn.method import Method

TURNS = ShuffledCredit()  # the unit that is shuffled unless another is named


def baseline_arms(
    name: str, label: str, method: Method, spends_like: str, tasks: tuple[str, ...] = ()
) -> tuple[Arm, Arm]:
    """Return a baseline at equal updates (on `tasks`) and at the metered compute of the arm `spends_like`."""
    return (
        Arm(
            name,
            "control",
            f"{label} for the same number of updates on the same batches.",
            method,
            tasks=tasks,
            granularity="episode",
        ),
        Arm(
            f"{name}-equal-compute",
            "control",
            f"{label} until it has spent what the {spends_like}'s arm spent with the same seed.",
            method,
            spends_like=spends_like,
            granularity="episode",
        ),
    )


def ceiling_arms() -> tuple[Arm, Arm]:
    """Return exact credit, and exact credit in the wrong places."""
    return (
        Arm(
            "exact",
            "ceiling",
            "The exact advantage of each turn under the current policy.",
            ExactCredit(),
            granularity="turn",
        ),
        Arm(
            "exact-shuffled",
            "null",
            "The exact advantages permuted among the turns of each rollout.",
            ExactCredit(),
            ShuffledCredit(),
            granularity="turn",
        ),
    )


def equal_compute_claim(rule: str, name: str, label: str, why: str, basis: str = "") -> Claim:
    """Return the claim that what the text calls `rule` beats the baseline `name` (`label`), which may spend as much."""
    return Claim(
        id=f"over-{name}-at-equal-compute",
        text=f"{rule} learns faster than {label} at equal metered compute.",
        arm="paper",
        control=f"{name}-equal-compute",
        axis="flops",
        margin=0.02,
        basis=basis or f"the protocol: every method is set against {label} at equal metered compute",
        why=why,
    )


def shuffled_credit_arm(
    method: Method,
    granularity: str,
    among: str = "turns of each rollout",
    null: NullControl = TURNS,
    scorer: Scorer | None = None,
) -> Arm:
    """Return the null control of every experiment: a rule's own credits in the wrong places."""
    text = f"The paper's own credits permuted among the {among}."
    return Arm("shuffled-credit", "null", text, method, null, granularity=granularity, scorer=scorer)


def places_claim(place: str = "turn", why: str = "", basis: str = "") -> Claim:
    """Return the claim that a rule's credits teach more in their places than in others of the same kind."""
    return Claim(
        id="places-carry-it",
        text=f"It matters which {place} gets which credit: shuffled credit teaches less.",
        arm="paper",
        control="shuffled-credit",
        margin=0.02,
        basis=basis or "the protocol: shuffled credit is in every experiment",
        why=why or f"The null control of every experiment: the same numbers in the wrong {place}s.",
    )


def calibration_checks(control: str, label: str) -> tuple[Claim, Claim]:
    """Return the two checks of the task itself, against the arm `control`, which the text calls `label`."""
    return (
        Claim(
            id=f"exact-over-{label.lower()}",
            text=f"Exact credit learns faster than {label}.",
            arm="exact",
            control=control,
            margin=0.02,
            basis="protocol",
            why="A task on which exact credit does not help cannot judge credit.",
        ),
        Claim(
            id="shuffled-exact-no-better",
            text=f"Shuffled exact credit learns no faster than {label}.",
            arm="exact-shuffled",
            control=control,
            direction="not_greater",
            margin=0.0,
            basis="protocol",
            why="If misplaced exact credit helped, the numbers and not their places would do the work.",
        ),
    )


def calibration_study(id: str, task: str, control: str, label: str, method: Method) -> Reproduction:
    """Return the study that asks of a task whether it can judge credit at all.

    control, label: what the baseline `method` is called as an arm and in words. It must climb, and leave room above it;
    exact credit must learn faster, and the same credit in the wrong turns must not.
    """
    still = Arm(
        "untrained",
        "control",
        f"{label} with a learning rate of 0: the initial policy.",
        method,
        learning_rate_factor=0.0,
        granularity="episode",
    )
    return Reproduction(
        id=id,
        title=f"Can {task} tell exact credit from misplaced credit?",
        tasks=(task,),
        arms=(baseline_arms(control, label, method, control)[0], *ceiling_arms(), still),
        claims=(),
        checks=(*calibration_checks(control, label), *range_checks(control, label, still.name)),
    )


def range_checks(control: str, label: str, still: str) -> tuple[Claim, Claim]:
    """Return two checks of the range: the baseline leaves the initial policy behind, and does not reach the ceiling."""
    return (
        Claim(
            id=f"{control}-climbs",
            text=f"{label} climbs within its budget.",
            arm=control,
            control=still,
            metric="final_success",
            margin=0.1,
            basis="protocol",
            why="Where nothing is learnt, no credit can be told from another.",
        ),
        Claim(
            id=f"{control}-leaves-room",
            text=f"{label} does not saturate: exact credit ends above it.",
            arm="exact",
            control=control,
            metric="final_success",
            margin=0.02,
            basis="protocol",
            why="Where the baseline ends at the ceiling, better credit can only show in its speed.",
        ),
    )
