"""CARL: fork where the policy is least sure, value the tree of rollouts, train on the actions that were forked.

At most states the outcome hardly depends on the action; where it may, several actions are tried from the same state and
compared by what came of them. The rest of the tree is not trained on.

    next fork:  the visited state with the lowest n(s) / H(s);  n(s) actions tried there, H(s) their mean surprise,
                which is - mean over an action's tokens of log pi
    V(leaf) = return,   V(u) = mean of V over the children of u,   A(u -> v) = V(v) - V(u)
    trained:    the actions u -> v whose state u has more than one child; all others are dropped, not credited with 0

Shapes: owner, own, surprise, advantages (R, K); leaves (R,). Source: arXiv 2512.04949, version 3, through a
transcription by a third party (RainyFields/Agentic-RL-CA:docs/methods_carl.md), for there is no official code: N0 8,
N 16, no division by a std, no whitening, no KL. What differs: N0 is the number of rollouts that the harness samples
for a task. Each sampled action is a child of its own, whatever it says (our reading of "distinct", and of a state as a
prefix): in a small world two of them may be the same words. Leaves number N0 + N. Ablations of the paper: forks at
random (`fork_at`), the outcome instead of values (`credit_by`). Training on every action is left out: without siblings
an action has the value of its state, so that it would add 0. `kept_share` is what the survey has instead: no tree,
GRPO's credit, and only that share of the turns, those of the highest surprise, trained on. Limits: credits of the
children of a state sum to 0; those on the way from the root to a leaf sum to the leaf's return less the root's value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from cairn.method import Method, Services
from cairn.ops.batches import concatenate, parent_places
from cairn.ops.groups import group_extremes
from cairn.ops.losses import clipped_surrogate, masked_mean
from cairn.ops.returns import last_steps
from cairn.rollouts import Credit, Rollouts


@dataclass(frozen=True)
class Tree:
    """Rollouts as a tree. A state is named by the rollout that owns it and the turn that it stands before.

    owner: (R, K) long, who owns the state before turn k of rollout r: r itself behind its fork; at the fork the rollout
    that it left, at the root one rollout of the task. own: (R, K) bool, the actions that r did not take over.
    """

    owner: Tensor
    own: Tensor

    @classmethod
    def of(cls, rollouts: Rollouts) -> Tree:
        """Read a batch in which forks left the owner of the state that they were forked at."""
        forks, groups = rollouts.require("fork_turns"), rollouts.group_ids
        index, turns = torch.arange(len(groups)), torch.arange(rollouts.turn_mask.shape[1])
        whole = rollouts.require("parent_ids") < 0
        # Which rollout stands for the root does not matter; that it does not hang on their order does.
        likelihood = rollouts.sum_over_rollouts(rollouts.logprobs_behaviour).masked_fill(~whole, math.inf)
        least, _ = group_extremes(likelihood, groups)
        _, of = torch.unique(groups, return_inverse=True)
        standing = torch.full_like(of, len(of)).scatter_reduce(
            0, of, index.masked_fill(likelihood != least, len(of)), "amin"
        )
        root = standing[of]
        left = torch.where(whole, root, parent_places(rollouts))
        owner = torch.where(turns == forks[:, None], left[:, None], index[:, None])
        return cls(owner, rollouts.turn_mask & (turns >= forks[:, None]))

    def sums(self, per_action: Tensor) -> Tensor:
        """Add up what the actions taken in each state give: (R, K), at the state's owner."""
        return torch.zeros_like(per_action).scatter_add(0, self.owner, per_action * self.own)

    def at(self, per_state: Tensor) -> Tensor:
        """Return what belongs to the state in which each own action was taken: (R, K), 0 elsewhere."""
        return per_state.gather(0, self.owner) * self.own


def tree_advantages(tree: Tree, leaves: Tensor, turn_mask: Tensor) -> Tensor:
    """Return A(u -> v) of each own action, (R, K), 0 elsewhere. leaves: (R,) return of each rollout."""
    counts = tree.sums(torch.ones_like(tree.owner, dtype=leaves.dtype)).clamp_min(1)
    after, states = torch.zeros_like(counts), torch.zeros_like(counts)
    ends, beyond = last_steps(turn_mask), leaves
    for k in reversed(range(turn_mask.shape[1])):
        after[:, k] = torch.where(ends[:, k], leaves, beyond) * tree.own[:, k]
        beyond = torch.zeros_like(leaves).index_add(0, tree.owner[:, k], after[:, k]) / counts[:, k]
        states[:, k] = beyond
    return after - tree.at(states)


@dataclass(frozen=True)
class CARL(Method):
    """Forks by surprise, values on the tree, training on forked actions; see the module for the formula."""

    forks: int = 16  # N, arXiv 2512.04949v3 as transcribed; N0 is the harness's group size
    fork_at: Literal["surprise", "random"] = "surprise"  # random: the paper's ablation
    credit_by: Literal["values", "outcome"] = "values"  # outcome: the paper's ablation
    kept_share: float | None = None  # the survey's reading; 32.0 / 115.2 = 0.28 trained actions in the paper

    needs: ClassVar[frozenset[str]] = frozenset({"tree_rollouts", "env_fork", "turn_boundaries"})

    def collect(self, services: Services) -> Rollouts:
        """Sample whole rollouts, then fork each task's tree `forks` times, one after the other."""
        tree = services.rollouts()
        for number in range(self.forks if self.kept_share is None else 0):
            tree = concatenate([tree, services.fork(tree, *self._next_forks(tree, number))])
        return tree

    def credit(self, rollouts: Rollouts) -> Credit:
        """Credit actions with their value differences, and drop those that have no sibling."""
        tree = Tree.of(rollouts)
        outcome = super().credit(rollouts).advantages
        if self.kept_share is not None:
            return Credit(outcome, rollouts.spread_turns(self._most_surprising(rollouts)))
        forked = tree.at(tree.sums(torch.ones_like(rollouts.turn_rewards))) > 1
        values = rollouts.spread_turns(tree_advantages(tree, rollouts.returns, rollouts.turn_mask))
        return Credit(values if self.credit_by == "values" else outcome, rollouts.spread_turns(forked))

    def loss(self, logprobs: Tensor, rollouts: Rollouts, credit: Credit) -> Tensor:
        """Clipped surrogate over the tokens that are kept, without a KL term."""
        per_token = clipped_surrogate(logprobs, rollouts.logprobs_behaviour, credit.advantages, self.clip_ratio)
        return masked_mean(per_token, credit.trained(rollouts.action_mask))

    def _next_forks(self, rollouts: Rollouts, number: int) -> tuple[Tensor, Tensor]:
        """Return, for each task, the owner and the turn of the state that is forked next."""
        tree, surprise = Tree.of(rollouts), -rollouts.mean_over_turns(rollouts.logprobs_behaviour)
        counts = tree.sums(torch.ones_like(surprise))
        score = tree.sums(surprise) / counts.clamp_min(1).square()
        if self.fork_at == "random":
            generator = torch.Generator().manual_seed(rollouts.draw_seed * 64 + number)
            score = torch.rand(score.shape, generator=generator)
        score = score.masked_fill(counts == 0, -math.inf)
        tasks = rollouts.group_ids.unique()[:, None, None] == rollouts.group_ids[:, None]
        best = torch.where(tasks, score, -math.inf).flatten(1).argmax(1)
        return best // score.shape[1], best % score.shape[1]

    def _most_surprising(self, rollouts: Rollouts) -> Tensor:
        """(R, K) bool: that share of the turns in which something was said."""
        spoken = rollouts.turn_tokens() > 0
        surprise = -rollouts.mean_over_turns(rollouts.logprobs_behaviour)
        count = math.ceil((self.kept_share or 0.0) * int(spoken.sum()))
        chosen = surprise.masked_fill(~spoken, -math.inf).flatten().topk(count).indices
        return torch.zeros_like(spoken).flatten().index_fill(0, chosen, True).reshape(spoken.shape)
