"""`gsm8k`: grade-school word problems in the format of GSM8K (arXiv 2110.14168), read through `datasets`.

A row is a question and a worked answer that ends with `#### N`. Instances to train on are rows of the split train,
those to evaluate on rows of the split test, counted from 0 and round and round. The response is free text; it pays 1 if
the number that it states is N, and 0 if not, or if it does not end within the limit.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from cairn.errors import UserError
from cairn.evidence.base import SLUG
from cairn.lab.question import Question
from cairn.lab.segmenting import MEANING, check_steps
from cairn.lab.task import FREE_ESTIMATED, FREE_EXACT, Recipe, Task, knob, paragraphs, require

DATASETS = "datasets"
HUB, HUB_SUBSET = "openai/gsm8k", "main"
SAMPLE = "sample"
LONGEST = 8192  # tokens of a response
MARK = "####"
INSTRUCTION = "\nReason step by step, a line for each step. End with a line that holds #### and the number."
# A number with or without groups of thousands and decimals. A sign counts where it is not between two things, as in
# 12-5; a dollar sign may stand behind it.
NUMBER = re.compile(
    r"(?:(?<![\w)\]])[-\u2212])?\$?((?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
)
READERS = {".parquet": "parquet", ".jsonl": "json"}


@dataclass(frozen=True)
class Knobs:
    """What is asked. Each field's metadata has its meaning."""

    data: str = knob(
        HUB,
        "this data set of the hub; or the name of a folder in the working directory, with files train* and test* "
        "(parquet or jsonl) that have the columns `question` and `answer`; or sample, a few questions that come along",
    )
    limit: int = knob(320, f"tokens of a response at most, its end among them, 2 to {LONGEST}")
    steps: str = knob("lines", MEANING)

    def __post_init__(self) -> None:
        if not 2 <= self.limit <= LONGEST:
            raise UserError("knob `limit` is out of range", value=self.limit, repair=f"Give 2 to {LONGEST} tokens.")
        if self.data != HUB and not re.fullmatch(SLUG, self.data):
            repair = (
                f"Give {HUB}, {SAMPLE}, or a folder in the working directory (link it there) named in small letters."
            )
            raise UserError("knob `data` is no name that a record can hold", value=self.data, repair=repair)
        check_steps(self.steps)


@dataclass(frozen=True)
class Row:
    """A row of the data set. number: as it stands behind the mark."""

    question: str
    solution: str
    number: str


@lru_cache(maxsize=8)
def read_rows(data: str, split: str) -> tuple[Row, ...]:
    """Read a split. A folder is read from the disk alone.

    Raises UserError for what cannot be found or read, and for rows in another format.
    """
    require(DATASETS)
    folder = Path(__file__).parent.parent / "samples" / "gsm8k" if data == SAMPLE else Path(data)
    arguments = {"path": HUB, "name": HUB_SUBSET, "split": split} if data == HUB else _files(folder, split)
    module = importlib.import_module(DATASETS)
    module.disable_progress_bars()
    try:
        rows = module.load_dataset(**arguments)
    except Exception as error:  # every reader and the hub have errors of their own
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(
            f"the data set could not be loaded: {reason}",
            value=data,
            repair="Check the connection, or name a folder with train.jsonl and test.jsonl: gsm8k-data=FOLDER.",
        ) from error
    return tuple(_read(row, data, split, number) for number, row in enumerate(rows))


def _files(folder: Path, split: str) -> dict[str, Any]:
    """Return what `load_dataset` needs to read the files of a split from a folder."""
    found = sorted(path for path in folder.rglob(f"{split}*") if path.suffix in READERS)
    if not found:
        raise UserError(
            f"the folder has no file {split}*.parquet or {split}*.jsonl" if folder.is_dir() else "no such folder",
            value=folder.name,
            repair="Name a folder in the working directory that has the files train* and test*.",
        )
    chosen = [str(path) for path in found if path.suffix == found[0].suffix]
    return {"path": READERS[found[0].suffix], "data_files": chosen, "split": "train"}


def _read(row: dict[str, Any], data: str, split: str, number: int) -> Row:
    place = f"{data}, split {split}, row {number}"
    if not all(isinstance(row.get(column), str) for column in ("question", "answer")):
        raise UserError("a row lacks the text `question` or `answer`", value=place, repair="Mend the data set.")
    stated = row["answer"].rpartition(MARK)[2].strip()
    if MARK not in row["answer"] or number_in(row["answer"]) is None:
        raise UserError(f"an answer states no number behind {MARK}", value=place, repair="Mend the data set.")
    return Row(row["question"].strip(), re.sub(r"<<.*?>>", "", row["answer"]).strip(), stated)


def build(knobs: Knobs, seed: int) -> Question:
    """Return the row of the split train that `seed` counts to."""
    return _ask(knobs, "train", seed)


def build_evaluation(knobs: Knobs, seed: int) -> Question:
    """Return the row of the split test that `seed` counts to."""
    return _ask(knobs, "test", seed)


def count_rows(knobs: Knobs) -> tuple[int, int]:
    """Return how many rows there are to train and to evaluate on."""
    return len(read_rows(knobs.data, "train")), len(read_rows(knobs.data, "test"))


def _ask(knobs: Knobs, split: str, seed: int) -> Question:
    rows = read_rows(knobs.data, split)
    row = rows[seed % len(rows)]
    return Question(
        name=f"gsm8k-{split}-{seed % len(rows)}",
        prompt=row.question + INSTRUCTION,
        answer=row.solution,
        verifier=f"{__name__}:verify",
        key=row.number,
        limit=knobs.limit,
        steps=knobs.steps,
    )


def verify(response: str, key: str) -> float:
    """Pay 1 where the response states the number of `key`, else 0."""
    stated = number_in(response)
    return float(stated is not None and stated == number_in(key))


def number_in(text: str) -> Decimal | None:
    """Return the number that a text states.

    It is the first one behind the last `####`; without that mark, the last one of the text. Commas between groups of
    three digits belong to a number, so do a sign in front and decimals; dollar signs, percent signs and units around it
    are passed over. Numbers are compared exactly, so that 18, 18.00 and $18 are the same and 3.3 and 3.33 are not.
    Fractions, powers and numbers in words are not understood: 1/2 is two numbers.
    """
    _, mark, behind = text.rpartition(MARK)
    found = [*NUMBER.finditer(behind if mark else text)]
    if not found:
        return None
    chosen = found[0 if mark else -1]
    value = Decimal(chosen[1].replace(",", ""))
    return -value if chosen[0][0] in "-\u2212" else value


def vocabulary() -> list[str]:
    """Return what the small model knows: printable ASCII, the line break, and the instruction."""
    return ["\n", *map(chr, range(32, 127)), INSTRUCTION]


@dataclass(frozen=True)
class Solver:
    """Writes the worked answer of the data set, at a stated rate with the right number behind the mark, else one more.

    right: that rate.
    """

    right: float

    def answer(self, question: Question, rng: np.random.Generator) -> str:
        """See `cairn.lab.task.Demonstrator`."""
        work, mark, _ = question.answer.rpartition(MARK)
        number = number_in(question.key)
        if number is None or rng.random() < self.right:
            return question.answer
        return f"{work}{mark} {number + 1}"


TASK = Task(
    about=paragraphs(__doc__, 2),
    horizon="a response is as many turns as the knob `steps` makes of it; it has at most `limit` tokens",
    knobs=Knobs,
    tiny=Knobs(data=SAMPLE, limit=16),
    build=build,
    vocabulary=vocabulary,
    clean=Solver(right=1.0),
    noisy=Solver(right=0.5),
    # A toy that knows the format and a few questions by heart: to try things out where no model is at hand.
    recipe=Recipe(clean_steps=30, noisy_steps=10, text_rows=4, instances=12),
    taught_on=lambda knobs: replace(knobs, data=SAMPLE),
    exact=FREE_EXACT,
    estimated=FREE_ESTIMATED,
    packages=(DATASETS,),
    prompts=("free",),
    evaluate_on=build_evaluation,
    rows=count_rows,
)
