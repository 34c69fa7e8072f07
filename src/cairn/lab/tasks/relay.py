"""`relay`: a team of role agents speaks in turns, and one reward is paid to all of them at the end.

In each round every agent has its post. A *guard* alone sees to its lever: left alone or moved wrongly, the mission is
lost (a pivotal agent). The two *twins* of a pair see to the same lever, and one of them is enough (redundant agents).
An *idler* moves a lever that is tied to nothing (a free-rider). A *scout* moves none: it looks at a code that only it
can see, drawn anew in each episode, and tells a guard, who cannot see it, what it was (a message-only agent).

Which way a lever must go follows from a fixed rule for each kind of code (a skill), and each kind has its own. All
agents share one policy, to which the prompt says whose turn it is; separate models for each agent are not offered. An
agent that is absent, or is not understood, lets its turn pass. The mission's reward, 1 or 0, is paid at the end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cairn.errors import UserError
from cairn.lab.task import Task, knob, paragraphs
from cairn.lab.world import FloatArray, IntArray, World

# What a code of each kind may be. A skill is to know which of the two asks for the near position.
CODES = {
    "flag": ("red", "blue"),
    "horn": ("short", "long"),
    "lantern": ("green", "white"),
    "drum": ("slow", "fast"),
    "smoke": ("thin", "thick"),
    "mast": ("high", "low"),
}
KINDS = tuple(CODES)
# Arbitrary and fixed, so that nothing follows from the order of the words.
NEAR_VALUE = {"flag": 1, "horn": 0, "lantern": 0, "drum": 1, "smoke": 0, "mast": 1}
POSITIONS = ("near", "far")
LEVERS = tuple(f"pull {position} ." for position in POSITIONS)
LOOK = "look out ."
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SITES = ["bay", "bluff", "cape", "cliff", "cove", "delta", "dune", "fjord", "gulf", "isle", "lagoon", "reef", "shoal"]
FUNCTION_WORDS = [
    "site", "agent", "guard", "twin", "idler", "scout", "heard", "nothing", "round", "sees", "hidden", "act", "pull",
    "look", "out", "tell", "ahead", "over", ".",
]  # fmt: skip
LARGEST_TEAM = 6
UNKNOWN = -1  # a value that was not seen or not told


@dataclass(frozen=True)
class Knobs:
    """Who is in the team, and how hard it has it. Each field's metadata has its meaning."""

    guards: int = knob(2, "pivotal agents: without one of them nothing is won")
    pairs: int = knob(1, "pairs of redundant agents (twins): one of the two is enough")
    idlers: int = knob(1, "free-riders: what they do does not matter")
    scouts: int = knob(1, "message-only agents, each of whom tells another guard what that one cannot see")
    rounds: int = knob(2, "how often each agent has its post, 1 to 10: length of the trajectory")
    noise: float = knob(0.0, "chance that a message arrives as the other value")
    alarm: float = knob(0.0, "chance that a lost mission ends at once when it is lost: agents then act unequally often")

    def __post_init__(self) -> None:
        for name in ("noise", "alarm"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"knob `{name}` is a chance", value=getattr(self, name), repair="Give 0 to 1.")
        for name in ("guards", "pairs", "idlers", "scouts"):
            if getattr(self, name) < 0:
                raise UserError(f"knob `{name}` is a number of agents", value=getattr(self, name), repair="Give 0 up.")
        if not 1 <= self.rounds <= len(NUMBERS):
            raise UserError("knob `rounds` is out of range", value=self.rounds, repair=f"Give 1 to {len(NUMBERS)}.")
        if not 2 <= self.agents <= LARGEST_TEAM:
            message, repair = "the knobs give a team of the wrong size", f"Give 2 to {LARGEST_TEAM} agents in all."
            raise UserError(message, value=f"{self.agents} agents", repair=repair)
        if not self.guards + self.pairs:
            raise UserError(
                "nobody in the team can win", value="guards 0, pairs 0", repair="Raise `guards` or `pairs`."
            )
        if self.scouts > self.guards:
            message, repair = "each scout has a guard of its own", "Lower `scouts` or raise `guards`."
            raise UserError(message, value=f"scouts {self.scouts}, guards {self.guards}", repair=repair)

    @property
    def agents(self) -> int:
        """Size of the team."""
        return self.guards + 2 * self.pairs + self.idlers + self.scouts

    @property
    def horizon(self) -> int:
        """Turns: in each round one for every agent, and one more for every scout, who looks before it tells."""
        return self.rounds * (self.agents + self.scouts)


class Post(NamedTuple):
    """What an agent is there for. `partner` is the other twin, or a scout's guard and a guard's scout; else -1."""

    role: str  # "guard", "twin", "idler" or "scout"
    partner: int = -1


class Turn(NamedTuple):
    """One turn of the plan. `value` is the code's, which a scout's dice replace; `look`: the scout's first turn."""

    agent: int
    round: int
    kind: str
    value: int
    look: bool = False


class State(NamedTuple):
    """Everything that the future depends on. `codes` and `knows` have one entry for each agent.

    codes: what a scout's dice drew for the lever of its guard, until that one has acted. knows: the value that a scout
    saw or a guard was told, and 1 for a second twin whose lever has been seen to (which it is not shown).
    """

    turn: int
    codes: tuple[int, ...]
    knows: tuple[int, ...]
    lost: bool = False


class Plan(NamedTuple):
    """An instance before it is unrolled into states."""

    site: str
    posts: tuple[Post, ...]  # by agent, in the order in which they speak
    turns: tuple[Turn, ...]
    noise: float
    alarm: float


Outcomes = list[tuple[float, State]]  # chance and successor


def vocabulary() -> list[str]:
    """Return every word that `relay` can print or understand, without repeats."""
    values = [value for pair in CODES.values() for value in pair]
    return list(dict.fromkeys([*FUNCTION_WORDS, *POSITIONS, *NUMBERS, *KINDS, *values, *SITES]))


def draw_plan(knobs: Knobs, rng: np.random.Generator) -> Plan:
    """Draw an instance: who speaks when, and which codes there are."""
    posts = _draw_posts(knobs, rng)
    turns: list[Turn] = []
    for number in range(knobs.rounds):
        kinds = [KINDS[i] for i in rng.permutation(len(KINDS))]
        codes: dict[int, tuple[str, int]] = {}
        for agent, post in enumerate(posts):
            # Twins have one lever, and a scout looks at the code of its guard, who speaks after it.
            kind, value = codes.get(post.partner, (kinds[agent], int(rng.integers(2))))
            codes[agent] = kind, value
            turns += [Turn(agent, number, kind, value, look=True)] if post.role == "scout" else []
            turns.append(Turn(agent, number, kind, value))
    return Plan(SITES[rng.integers(len(SITES))], posts, tuple(turns), knobs.noise, knobs.alarm)


def _draw_posts(knobs: Knobs, rng: np.random.Generator) -> tuple[Post, ...]:
    """Draw the order in which the team speaks; a scout comes before its guard."""
    labels = [("scout", i) for i in range(knobs.scouts)] + [("guard", i) for i in range(knobs.guards)]
    labels += [("twin", i) for i in range(knobs.pairs)] * 2 + [("idler", i) for i in range(knobs.idlers)]
    order = [labels[i] for i in rng.permutation(len(labels))]
    for i in range(knobs.scouts):
        first, second = sorted((order.index(("scout", i)), order.index(("guard", i))))
        order[first], order[second] = ("scout", i), ("guard", i)
    return tuple(Post(role, _partner(order, agent)) for agent, (role, _) in enumerate(order))


def _partner(order: list[tuple[str, int]], agent: int) -> int:
    role, number = order[agent]
    wanted = ({"scout": "guard", "guard": "scout"}.get(role, role), number)
    return next((i for i, label in enumerate(order) if label == wanted and i != agent and role != "idler"), -1)


def build(knobs: Knobs, seed: int) -> World:
    """Draw the instance of `seed` and unroll it into states."""
    plan = draw_plan(knobs, np.random.default_rng(seed))
    states, moves = _unroll(plan)
    ends = [_over(plan, state) for state in states]
    observations, state_observation = _number([_observation(plan, s) for s in states])
    header = f"site {plan.site} ."
    options: list[tuple[str, ...]] = [()] * len(observations)
    for state, seen in zip(states, state_observation, strict=True):
        options[seen] = _phrases(plan, state)
    successors, probabilities = _tables(states, moves)
    return World(
        name=f"relay-{seed}",
        header=header,
        # What an agent was told stands in what it sees, so that the prompt is that and the header.
        prompts=tuple(f"{header} {seen} . act" for seen in observations),
        options=tuple(options),
        observations=tuple(observations),
        state_prompt=state_observation,
        state_observation=state_observation,
        successors=successors,
        probabilities=probabilities,
        terminal=np.array(ends),
        payoffs=np.array([float(end and not s.lost) for end, s in zip(ends, states, strict=True)]),
        bifurcations=np.array([_matters(plan, state) for state in states]),
        start=0,
        horizon=knobs.horizon,
        recurrence=1.0,
        agents=np.array([-1 if end else plan.turns[s.turn].agent for end, s in zip(ends, states, strict=True)]),
        absences=np.full(len(states), -1),
    )


def _unroll(plan: Plan) -> tuple[list[State], dict[State, list[Outcomes]]]:
    """Return all reachable states, the start first, and what follows each phrase and, last, silence."""
    moves: dict[State, list[Outcomes]] = {}
    frontier = [State(0, (0,) * len(plan.posts), (UNKNOWN,) * len(plan.posts))]
    while frontier:
        for state in frontier:
            moves[state] = _moves(plan, state)
        reached = dict.fromkeys(s for state in frontier for outcomes in moves[state] for _, s in outcomes)
        frontier = [s for s in reached if s not in moves]
    return list(moves), moves


def _over(plan: Plan, state: State) -> bool:
    return state.turn == len(plan.turns)


def _moves(plan: Plan, state: State) -> list[Outcomes]:
    """Return what follows each phrase and, last, silence."""
    if _over(plan, state):
        return [[(1.0, state)]]
    answers = [*range(len(_phrases(plan, state))), None]
    return [_sound_alarm(plan, state, _answer(plan, state, said)) for said in answers]


def _answer(plan: Plan, state: State, said: int | None) -> Outcomes:
    """Return what follows a phrase, by its number, or silence."""
    turn, post = _now(plan, state)
    onward = state._replace(turn=state.turn + 1)
    if turn.look:  # the code is drawn whether or not anybody looks
        seen = [(0.5, _put(onward, post.partner, code=value), value) for value in (0, 1)]
        return [(chance, _put(s, turn.agent, knows=UNKNOWN if said is None else value)) for chance, s, value in seen]
    onward = _put(onward, turn.agent, code=0, knows=UNKNOWN)
    if post.role == "idler" or (post.role == "scout" and said is None):
        return [(1.0, onward)]
    if post.role == "scout":
        arrives = ((1 - plan.noise, said), (plan.noise, 1 - (said or 0)))
        return [(chance, _put(onward, post.partner, knows=value)) for chance, value in arrives if chance]
    right = said == right_lever(turn.kind, _code(plan, state))
    if post.role == "twin" and turn.agent < post.partner:
        return [(1.0, _put(onward, post.partner, knows=1 if right else UNKNOWN))]
    done = right or (post.role == "twin" and state.knows[turn.agent] == 1)
    return [(1.0, onward._replace(lost=state.lost or not done))]


def _now(plan: Plan, state: State) -> tuple[Turn, Post]:
    turn = plan.turns[state.turn]
    return turn, plan.posts[turn.agent]


def _put(state: State, agent: int, code: int | None = None, knows: int | None = None) -> State:
    """Exchange what is kept of an agent."""
    codes, known = list(state.codes), list(state.knows)
    codes[agent], known[agent] = (
        old if new is None else new for old, new in ((codes[agent], code), (known[agent], knows))
    )
    return state._replace(codes=tuple(codes), knows=tuple(known))


def _code(plan: Plan, state: State) -> int:
    """Return the code of the agent's lever, which somebody else may have to tell it."""
    turn, post = _now(plan, state)
    return state.codes[turn.agent] if post.role == "guard" and post.partner >= 0 else turn.value


def right_lever(kind: str, value: int) -> int:
    """Return the position, as an index, that a code asks for."""
    return int(value != NEAR_VALUE[kind])


def _sound_alarm(plan: Plan, before: State, outcomes: Outcomes) -> Outcomes:
    """Where the mission has just been lost, end it with the chance of the alarm."""
    result: Outcomes = []
    for chance, state in outcomes:
        rung = plan.alarm if state.lost and not before.lost else 0.0
        ended = state._replace(turn=len(plan.turns))
        result += [(chance * (1 - rung), state)] * (rung < 1) + [(chance * rung, ended)] * (rung > 0)
    return result


def _phrases(plan: Plan, state: State) -> tuple[str, ...]:
    """Return what is understood of the agent whose turn it is."""
    if _over(plan, state):
        return ()
    turn, post = _now(plan, state)
    if turn.look:
        return (LOOK,)
    return tuple(f"tell {value} ." for value in CODES[turn.kind]) if post.role == "scout" else LEVERS


def _observation(plan: Plan, state: State) -> str:
    """Tell who is to act, what was told to it and what it sees. Whether the mission is lost is never told."""
    if _over(plan, state):
        return f"site {plan.site} round over"
    turn, post = _now(plan, state)
    scouted = post.role == "guard" and post.partner >= 0
    known = state.knows[turn.agent] if scouted or post.role == "scout" else turn.value
    word = "hidden" if known == UNKNOWN or scouted else CODES[turn.kind][known]
    told = f"{turn.kind} {CODES[turn.kind][known]}" if scouted and known != UNKNOWN else "nothing"
    who = f"agent {NUMBERS[turn.agent]} {post.role} heard {told}"
    return f"{who} round {NUMBERS[turn.round]} sees {turn.kind} {'ahead' if turn.look else word}"


def _matters(plan: Plan, state: State) -> bool:
    """Say whether the agent's words may decide the mission."""
    if _over(plan, state) or state.lost:
        return False
    turn, post = _now(plan, state)
    return post.role != "idler" and not turn.look and not (post.role == "twin" and state.knows[turn.agent] == 1)


def _number(texts: list[str]) -> tuple[list[str], IntArray]:
    unique = list(dict.fromkeys(texts))
    position = {text: i for i, text in enumerate(unique)}
    return unique, np.array([position[text] for text in texts])


def _tables(states: list[State], moves: dict[State, list[Outcomes]]) -> tuple[IntArray, FloatArray]:
    """Tables (S, C + 1, J); unused options are to stay silent, as is the last one."""
    index = {state: i for i, state in enumerate(states)}
    width = max(map(len, moves.values()))
    branches = max(len(outcomes) for answers in moves.values() for outcomes in answers)
    successors = np.zeros((len(states), width, branches), dtype=np.int64)
    probabilities = np.zeros(successors.shape)
    for i, state in enumerate(states):
        answers = moves[state]
        for option in range(width):
            outcomes = answers[option] if option < len(answers) - 1 else answers[-1]
            for branch, (chance, reached) in enumerate(outcomes):
                successors[i, option, branch], probabilities[i, option, branch] = index[reached], chance
    return successors, probabilities


@dataclass(frozen=True)
class Guide:
    """A teacher. For each of `KINDS`: the chance of the right position (pulling) and of the true message (telling).

    Who was told something believes it; who knows nothing guesses.
    """

    pulling: tuple[float, ...]
    telling: tuple[float, ...]

    def chances(self, world: World, prompt: int) -> list[float]:
        """See `cairn.lab.task.Teacher`. There are one or two phrases."""
        options = world.options[prompt]
        if len(options) == 1:
            return [1.0]
        words = world.prompts[prompt].split()
        kind = words[words.index("sees") + 1]
        value = known_value(words, kind)
        if value is None:
            return [0.5, 0.5]
        telling = options != LEVERS
        skill = (self.telling if telling else self.pulling)[KINDS.index(kind)]
        right = value if telling else right_lever(kind, value)
        return [skill, 1 - skill] if right == 0 else [1 - skill, skill]


def known_value(words: list[str], kind: str) -> int | None:
    """Return the value of the code if the prompt shows it or the agent was told it."""
    shown = words[words.index("sees") + 2], words[words.index("heard") + 2]
    return next((CODES[kind].index(word) for word in shown if word in CODES[kind]), None)


TASK = Task(
    about=paragraphs(__doc__, 2),
    horizon="each agent has one turn in each of `rounds` rounds, a scout two; then the mission is over",
    knobs=Knobs,
    tiny=Knobs(guards=1, pairs=0, idlers=1, scouts=1, rounds=1, noise=0.1, alarm=0.3),
    build=build,
    vocabulary=vocabulary,
    clean=Guide(pulling=(1.0,) * len(KINDS), telling=(1.0,) * len(KINDS)),
    noisy=Guide(pulling=(0.75, 0.68, 0.60, 0.40, 0.32, 0.25), telling=(0.85,) * len(KINDS)),
)
