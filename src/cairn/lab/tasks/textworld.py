"""`textworld`: small games that TextWorld generates, with TextWorld's own rules and commands.

Rooms, doors, containers and things, and one quest of a few commands. TextWorld draws map, things and quest from the
seed of the instance, says which commands are admissible where and what they do, and when the quest is done, which pays
1; all that can be reached is found by trying every command in every state, breadth first. A game that can no longer be
won ends unpaid. Every turn tells all the facts that may change; a phrase that is no admissible command costs a turn.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from cairn.errors import UserError
from cairn.lab.hints import Hints
from cairn.lab.task import EXACT, Recipe, Task, knob, paragraphs, require
from cairn.lab.world import BoolArray, FloatArray, IntArray, World

TEXTWORLD = "textworld"
EXTRA = "textworld"
MOST_STATES = 1000  # of a game: each is a prompt that the exact policy reads
# Names by TextWorld's types of entities, so that a small model meets a fixed vocabulary; an instance shuffles them.
NAMES = {
    "r": ("kitchen", "pantry", "attic", "cellar"),
    "d": ("door", "gate", "hatch", "grille", "portal", "screen"),
    "c": ("box", "chest", "trunk", "drawer", "safe", "case", "bin", "crate"),
    "s": ("table", "shelf", "bench", "stand", "rack", "desk", "bed", "stool"),
    "o": ("lamp", "book", "coin", "rope", "cup", "hat", "pen", "bell"),
    "f": ("apple", "bread", "cheese", "plum", "carrot", "egg", "pear", "nut"),
    "k": ("key", "latchkey", "passkey", "keycard", "token", "badge", "fob", "cipher"),
}
BEINGS = {"P": "you", "I": "hand"}
# What facts read like. Of two that say the same from both sides one is told; free ways follow from doors and the map.
CHANGING = {
    "at": "{} in {}",
    "in": "{} in {}",
    "on": "{} on {}",
    "open": "{} open",
    "closed": "{} closed",
    "locked": "{} locked",
    "eaten": "{} eaten",
}
LASTING = {
    "north_of": "{} north of {}",
    "west_of": "{} west of {}",
    "link": "{1} joins {0} {2}",
    "match": "{} fits {}",
    "edible": "{} edible",
}
SIDES = ("north", "south", "east", "west")
VERBS = ("go", "open", "close", "lock", "unlock", "with", "take", "from", "drop", "insert", "into", "put", "eat")
IDLE = "(examine|look|inventory).*"  # commands that change nothing, and tell only what every turn tells


@dataclass(frozen=True)
class Knobs:
    """What makes an instance hard. Each field's metadata has its meaning."""

    rooms: int = knob(2, "rooms of the map, 1 to 4")
    objects: int = knob(3, "things, containers and supporters at least, 1 to 6; a quest may need more")
    quest: int = knob(3, "commands of the quest as TextWorld lays it out, 2 to 4; there may be a shorter way")
    horizon: int = knob(8, "turns, from `quest` to 100")

    def __post_init__(self) -> None:
        for name, least, most in (("rooms", 1, 4), ("objects", 1, 6), ("quest", 2, 4), ("horizon", self.quest, 100)):
            if not least <= getattr(self, name) <= most:
                value, repair = getattr(self, name), f"Give {least} to {most}."
                raise UserError(f"knob `{name}` is out of range", value=value, repair=repair)


def make_game(knobs: Knobs, seed: int) -> Any:
    """Return TextWorld's game of `seed`, its entities named in our words; nothing is compiled.

    Raises UserError where TextWorld is not installed, or finds no quest of this length.
    """
    require(TEXTWORLD, EXTRA)
    generator = importlib.import_module("textworld.generator")
    options = importlib.import_module(TEXTWORLD).GameOptions()
    options.kb = generator.KnowledgeBase.default()  # read once; each set of options would read it anew
    options.seeds = seed
    options.nb_rooms, options.nb_objects, options.quest_length = knobs.rooms, knobs.objects, knobs.quest
    world = generator.make_world(knobs.rooms, rngs=options.rngs)
    game = generator.Game(world, None, _quests(generator, world, options, knobs))
    _name(game, np.random.default_rng(seed))
    return game


def _quests(generator: Any, world: Any, options: Any, knobs: Knobs) -> Any:
    """Put a quest into a world, and things beside it, as TextWorld's own `make_game` does."""
    rules = options.kb.rules.get_matching(".*", exclude=["go.*", "examine.*", "look.*", "inventory.*"])
    options.chaining.rules_per_depth = [rules]  # what a quest may end with
    options.chaining.backward = options.chaining.create_variables = True
    options.chaining.rng, options.chaining.restricted_types = options.rngs["quest"], {"r", "d"}
    try:
        quests = generator.make_quest(world, options)
    except generator.QuestGenerationError as error:
        raise UserError(
            "TextWorld finds no such quest", value=knobs.quest, repair="Give a smaller `quest` or more `rooms`."
        ) from error
    missing = knobs.objects - sum(entity.type not in {"r", "d", "I", "P"} for entity in world.entities)
    if missing > 0:
        world.populate(missing, rng=options.rngs["objects"])
    return quests


def _name(game: Any, rng: np.random.Generator) -> None:
    """Name the entities of a game, of each type in an order of its own."""
    words = {kind: iter(rng.permutation(names).tolist()) for kind, names in NAMES.items()}
    for identity, info in sorted(game.infos.items()):
        info.name = BEINGS[identity] if identity in BEINGS else next(words[info.type])


@dataclass(frozen=True)
class _Unrolled:
    """A game as states numbered from 0, the start. facts: of each state, as read; moves: command -> state."""

    facts: list[tuple[str, ...]]
    moves: list[dict[str, int]]
    won: list[bool]


def _unroll(game: Any) -> _Unrolled:
    """Try every command in every state, breadth first. Raises UserError for a game of more than MOST_STATES states."""
    names = {identity: info.name for identity, info in game.infos.items()} | BEINGS
    rules = game.kb.rules.get_matching(".*", exclude=[IDLE])
    found, numbers = [game.world.state.copy()], {frozenset(game.world.state.facts): 0}
    moves: list[dict[str, int]] = []
    won: list[bool] = []
    for state in found:  # which grows meanwhile
        won.append(all(quest.is_winning(state) for quest in game.quests))
        moves.append({})
        actions = [] if won[-1] else state.all_applicable_actions(rules, game.kb.types.constants_mapping)
        commands = {action.format_command(names): action for action in actions}
        for command in sorted(commands):
            after = state.copy()
            after.apply(commands[command])
            moves[-1][f"{command} ."] = numbers.setdefault(frozenset(after.facts), len(found))
            if len(numbers) > len(found):
                found.append(after)
        if len(found) > MOST_STATES:
            repair = "Give fewer `rooms` or `objects`, or a shorter `quest`."
            raise UserError(f"this game has more than {MOST_STATES} states", repair=repair)
    return _Unrolled([_read(state.facts, CHANGING, names) for state in found], moves, won)


def _read(facts: Iterable[Any], forms: Mapping[str, str], names: Mapping[str, str]) -> tuple[str, ...]:
    """Write those facts of which `forms` has a form, in an order that does not depend on how they are kept."""
    told = []
    for fact in facts:
        words = [names[variable.name] for variable in fact.arguments]
        if fact.name in forms and (fact.name != "link" or words[0] < words[2]):
            told.append(forms[fact.name].format(*words))
    return tuple(sorted(told))


def build(knobs: Knobs, seed: int) -> World:
    """Draw the instance of `seed`. Raises UserError as `make_game` does, and for a game of too many states."""
    game = make_game(knobs, seed)
    unrolled, header = _unroll(game), _header(game)
    successors, probabilities = _table(unrolled.moves)
    left = _commands_left(successors, np.array(unrolled.won))
    terminal = (left == 0) | np.isinf(left)
    successors[terminal] = np.flatnonzero(terminal)[:, None, None]
    observations = tuple(_observation(game, facts) for facts in unrolled.facts)
    states = np.arange(len(observations))
    return World(
        name=f"textworld-{seed}",
        header=header,
        prompts=tuple(f"{header} memory empty . {seen} . act" for seen in observations),
        options=tuple(() if end else tuple(moves) for end, moves in zip(terminal, unrolled.moves, strict=True)),
        observations=observations,
        state_prompt=states,
        state_observation=states,
        successors=successors,
        probabilities=probabilities,
        terminal=terminal,
        payoffs=(left == 0).astype(float),
        bifurcations=_handled(unrolled.moves, left) & ~terminal,
        start=0,
        horizon=knobs.horizon,
        recurrence=1.0,
        hints=Hints(success="quest done .", failure="quest failed ."),
    )


def _header(game: Any) -> str:
    """Tell what never changes, and the facts that the quest is about."""
    names = {identity: info.name for identity, info in game.infos.items()} | BEINGS
    lasting = _read(game.world.state.facts, LASTING, names)
    (goal,) = (event.condition.preconditions for quest in game.quests for event in quest.win_events)
    return f"map {' , '.join(lasting)} . quest {' , '.join(_read(goal, CHANGING, names))} ."


def _observation(game: Any, facts: tuple[str, ...]) -> str:
    """Tell where one is, what lies on each side of the room, and every other fact that may change."""
    (here,) = (fact for fact in facts if fact.startswith(f"{BEINGS['P']} "))
    room = here.split()[-1]
    exits = []
    for fact in game.world.state.facts:
        side, of, _ = fact.name.partition("_of")
        if of and game.infos[fact.arguments[1].name].name == room:
            exits.append(f"{side} {game.infos[fact.arguments[0].name].name}")
    return " , ".join([here, *sorted(exits), *(fact for fact in facts if fact != here)])


def _table(moves: list[dict[str, int]]) -> tuple[IntArray, FloatArray]:
    """Write moves as arrays (S, C + 1, 1); the last option is to stay."""
    most = max(map(len, moves))
    successors = np.repeat(np.arange(len(moves))[:, None, None], most + 1, 1)
    for state, after in enumerate(moves):
        successors[state, : len(after), 0] = list(after.values())
    return successors, np.ones(successors.shape)


def _commands_left(successors: IntArray, won: BoolArray) -> FloatArray:
    """(S,) the fewest commands to a state that wins, infinite where there is no way."""
    left = np.where(won, 0.0, np.inf)
    while ((nearer := np.minimum(left, 1 + left[successors].min((1, 2)))) != left).any():
        left = nearer
    return left


def _handled(moves: list[dict[str, int]], left: FloatArray) -> BoolArray:
    """(S,) some command other than to walk brings the end of the quest nearer."""
    return np.array(
        [
            any(left[to] < left[state] and not command.startswith("go ") for command, to in after.items())
            for state, after in enumerate(moves)
        ]
    )


def vocabulary() -> list[str]:
    """Return every word that `textworld` can print or understand, without repeats."""
    forms = [word for form in (*CHANGING.values(), *LASTING.values()) for word in form.split() if "{" not in word]
    names = [name for kind in NAMES.values() for name in kind]
    words = ["map", "quest", "done", "failed", "memory", "empty", "act", ".", ","]
    return list(dict.fromkeys([*words, *forms, *VERBS, *SIDES, *BEINGS.values(), *names]))


@dataclass(frozen=True)
class Guide:
    """A teacher who knows how many commands are left to do, and gives one that leaves fewer at a stated rate.

    skills: that rate, by the number of commands left, from one on; the last one holds for more. What remains is shared
    by the other commands.
    """

    skills: tuple[float, ...]

    def chances(self, world: World, prompt: int) -> list[float]:
        """See `cairn.lab.task.Teacher`. Prompts are states here."""
        left = commands_left(world)
        best = left[world.successors[prompt, : len(world.options[prompt]), 0]] < left[prompt]
        if best.all():
            return [1 / len(best)] * len(best)
        skill = self.skills[min(int(left[prompt]), len(self.skills)) - 1]
        return [float(one) for one in np.where(best, skill / best.sum(), (1 - skill) / (~best).sum())]


@lru_cache(maxsize=1024)
def commands_left(world: World) -> FloatArray:
    """(S,) the fewest commands to the end of the quest, infinite where it can no longer be reached."""
    return _commands_left(world.successors, world.payoffs > 0)


TASK = Task(
    about=paragraphs(__doc__, 2),
    horizon="the knob `horizon`: a game that has not been won by then is not paid (TextWorld itself sets no limit)",
    knobs=Knobs,
    tiny=Knobs(rooms=1, objects=2, quest=2, horizon=4),
    build=build,
    vocabulary=vocabulary,
    clean=Guide(skills=(1.0,)),
    noisy=Guide(skills=(0.2, 0.3, 0.4, 0.5, 0.6)),
    # No model is shipped: it is made where it is asked for, in minutes.
    recipe=Recipe(instances=120, clean_steps=200, noisy_steps=200, window_rows=96, history_rows=4),
    exact=f"{EXACT} (the transition table is found by trying every command in every state)",
    packages=(TEXTWORLD,),
    extra=EXTRA,
)
