"""Statistics inside groups: the comparison that replaces a critic.

Who is compared with whom is a matter of labels, and papers differ in little else: whole trajectories of a task
(`standardise` with the task's groups), trajectories weighted by their step rows (`standardise_by_rows`), or turns
(`standardise_turns`) that share a task and an observation, an agent or an index (`pair_groups`).
"""

from __future__ import annotations

import torch
from torch import Tensor


def group_mean(values: Tensor, groups: Tensor) -> Tensor:
    """Return, for each element, the mean of its group.

    values: (N,) float. groups: (N,) long, any labels. Returns (N,).
    """
    return _Groups(values, groups).mean()


def group_std(values: Tensor, groups: Tensor, correction: int = 1) -> Tensor:
    """Return, for each element, the standard deviation of its group, (N,); 0 in a group of one.

    correction: as in `standardise`; by default it is unbiased.
    """
    members = _Groups(values, groups)
    return members.std(values - members.mean(), correction)


def group_extremes(values: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Return, for each element, the lowest and the highest value of its group, both (N,)."""
    return _Groups(values, groups).extremes()


def standardise(values: Tensor, groups: Tensor, scale_by_std: bool, epsilon: float, correction: int = 1) -> Tensor:
    """Return (value - group mean) / (group std + epsilon), or without the division.

        A_i = (R_i - mean(R)) / (std(R) + epsilon)

    values: (N,) float. groups: (N,) long. correction: what is taken off the number of members in the variance, 0 for
    the deviation of the population. Returns (N,). A group of one and a group of equal values get exactly 0:
    nothing can be learnt from a comparison with itself. (verl keeps the raw score in a group of one.)
    Source: arXiv 2402.03300, section 4.1.2; the unbiased std and epsilon as in volcengine/verl.
    """
    members = _Groups(values, groups)
    differences = values - members.mean()
    centred = differences.masked_fill(members.equal(), 0)
    return centred / (members.std(differences, correction) + epsilon) if scale_by_std else centred


def leave_one_out(values: Tensor, groups: Tensor) -> Tensor:
    """Return each value less the mean of the others in its group: a comparison whose baseline its own draw cannot move.

        A_i = R_i - sum_{j != i} R_j / (n - 1) = n / (n - 1) (R_i - mean(R)),   n the size of the group of i

    values: (N,) float. groups: (N,) long. Returns (N,), in the unit of the values.
    Source: arXiv 2402.14740 (RLOO); verl-project/verl:verl/trainer/ppo/core_algos.py (`rloo`, the second form).
    What differs: a group of one has no others and gets exactly 0, where `rloo` keeps the raw value (verl's own
    `rloo_vectorized` gives 0, too); a group of equal values gets exactly 0. Limits: (n - 1) / n times this is
    `standardise` without the division; as n grows they become the same.
    """
    members = _Groups(values, groups)
    centred = (values - members.mean()).masked_fill_(members.equal(), 0)
    sizes = members.counts.to(values.dtype).index_select(0, members.of)
    return sizes / (sizes - 1).clamp_min(1) * centred


def pair_groups(group_ids: Tensor, keys: Tensor) -> Tensor:
    """Label each turn with its (task group, key) pair. group_ids: (R,) long; keys: (R, K) long. Returns (R, K) long.

    Keys may be raw observations, agents, or the index of the turn, `torch.arange(K).expand(R, K)`. The last one is
    biased where the policy decides when to stop: the baseline that is taken off a trajectory then has as many terms as
    the trajectory has turns, so it depends on the action of going on, and whatever a further turn earns on average is
    taken off again. See verl-project/verl#7244, and the example in tests/ops/test_groups.py.
    """
    _, groups = torch.unique(group_ids, return_inverse=True)
    labels, numbers = torch.unique(keys, return_inverse=True)
    pairs: Tensor = groups[:, None] * len(labels) + numbers
    return pairs


def standardise_turns(values: Tensor, labels: Tensor, turn_mask: Tensor, scale_by_std: bool, epsilon: float) -> Tensor:
    """Return `standardise` over the turns that took place, each counting once in the group of its label.

    values, labels, turn_mask: (R, K). Returns (R, K), 0 for a turn that is alone in its group and off the mask.
    """
    result = torch.zeros_like(values)
    result[turn_mask] = standardise(values[turn_mask], labels[turn_mask], scale_by_std, epsilon)
    return result


def standardise_by_rows(
    values: Tensor, groups: Tensor, turn_mask: Tensor, scale_by_std: bool, epsilon: float
) -> Tensor:
    """Return `standardise` with statistics over step rows: a trajectory of n turns counts n times.

    values, groups: (R,); turn_mask: (R, K). Returns (R,). Where the length goes with the outcome, the baseline leans
    towards the outcome of long trajectories. Source: langfengQ/verl-agent, `compute_mean_std_cross_all_data`, on by
    default (issue #138 there). Limit: without the division, equal numbers of turns give `standardise`.
    """
    rows = turn_mask.nonzero()[:, 0]
    result = torch.zeros_like(values)
    result[rows] = standardise(values[rows], groups[rows], scale_by_std, epsilon)
    return result


class _Groups:
    """Who belongs to which group, found once for all statistics."""

    of: Tensor
    counts: Tensor

    def __init__(self, values: Tensor, groups: Tensor) -> None:
        """Set `of`: (N,) number of each element's group, and `counts`: (groups,) members."""
        _, self.of, self.counts = torch.unique(groups, return_inverse=True, return_counts=True)
        self.values, self._size = values, len(self.counts)

    def mean(self) -> Tensor:
        return (self._sums(self.values) / self.counts).index_select(0, self.of)

    def std(self, differences: Tensor, correction: int = 1) -> Tensor:
        """Return the standard deviation, unbiased by default, from each value's difference to the mean."""
        return (self._sums(differences**2) / (self.counts - correction).clamp_min(1)).sqrt().index_select(0, self.of)

    def equal(self) -> Tensor:
        """Say of each element whether all values of its group are the same.

        The mean of equal floats may differ from them in the last bit, so equality is judged on the values themselves.
        """
        low, high = self._extremes()
        return (high == low).index_select(0, self.of)

    def extremes(self) -> tuple[Tensor, Tensor]:
        """Return the lowest and the highest value of each element's group."""
        low, high = self._extremes()
        return low.index_select(0, self.of), high.index_select(0, self.of)

    def _extremes(self) -> tuple[Tensor, Tensor]:
        high = self.values.new_full((self._size,), -torch.inf).scatter_reduce_(0, self.of, self.values, "amax")
        low = self.values.new_full((self._size,), torch.inf).scatter_reduce_(0, self.of, self.values, "amin")
        return low, high

    def _sums(self, values: Tensor) -> Tensor:
        return values.new_zeros(self._size).index_add_(0, self.of, values)
