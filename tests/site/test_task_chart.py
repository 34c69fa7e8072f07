"""The figure of arms over tasks: places worked out by hand from the picture's frame."""

from __future__ import annotations

import re

from tests.evidence.samples import sample_experiment, sample_records

from cairn.evidence.report import ArmSummary, Estimate, build_report
from cairn.site.task_chart import MOST_TASKS, over_tasks

TASKS = ("toy-size=2", "toy-size=4")
METRIC = "auc_success_update"


def _arm(task: str, arm: str, estimate: float | None) -> ArmSummary:
    found = next(one for one in build_report(sample_experiment(), sample_records(), 1).arms if one.arm == "paper")
    value = Estimate(estimate=estimate, low=None, high=None, n=5)
    success = {METRIC: found.success[METRIC].model_copy(update={"mean": value})}
    return found.model_copy(update={"task": task, "arm": arm, "success": success})


def test_marks_stand_over_their_task_at_the_height_of_their_value() -> None:
    """Frame of 480 x 320: heights run from 12 (success 1) to 268 (0); a task has 204 of the 408 from 58 to 466."""
    picture = over_tasks([_arm(TASKS[0], "paper", 1.0), _arm(TASKS[1], "paper", 0.5)], TASKS, METRIC, "a figure")
    dots = re.findall(r'<circle class="[^"]*" cx="([\d.]+)" cy="([\d.]+)"', picture)
    assert dots == [("160.0", "12.0"), ("364.0", "140.0")]
    assert ">size=2<" in picture
    assert "toy-size=2: 1.000 [1.000, 1.000], 5 seeds" in picture


def test_an_arm_that_has_no_number_on_a_task_leaves_a_gap() -> None:
    picture = over_tasks([_arm(TASKS[0], "paper", 0.4), _arm(TASKS[1], "paper", None)], TASKS, METRIC, "a figure")
    assert picture.count("<circle") == 1


def test_one_task_or_no_such_number_gives_no_figure() -> None:
    arm = _arm(TASKS[0], "paper", 0.4)
    assert over_tasks([arm], TASKS[:1], METRIC, "a figure") == ""
    assert over_tasks([arm], TASKS, "unknown", "a figure") == ""


def test_no_figure_where_tasks_would_hide_each_others_names() -> None:
    arm = _arm(TASKS[0], "paper", 0.4)
    tasks = [*TASKS, *(f"toy-size={5 + more}" for more in range(MOST_TASKS - 1))]
    assert over_tasks([arm], tasks[:-1], METRIC, "a figure")
    assert over_tasks([arm], tasks, METRIC, "a figure") == ""
