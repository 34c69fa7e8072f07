"""The closed word lists of `inventory/vocab/`, each word with a definition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, StringConstraints

from cairn.inventory.models import Block, Text

WordName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([-_][a-z0-9]+)*$")]


class Word(Block):
    """One word: its definition, and the labels of the survey that it stands for."""

    definition: Text
    survey: tuple[Text, ...] = Field(default=(), description="free labels of the survey that fall under this word")
    family: str = Field(default="", description="word of methodology-family, in the list of methodologies")
    needs: tuple[str, ...] = Field(default=(), description="words of needs without which a methodology cannot be")


class Vocabulary(Block):
    """One list. `about` says which question its words answer."""

    title: Text
    about: Text
    words: Mapping[WordName, Word] = Field(min_length=1)

    def covers(self, word: str, survey_label: str) -> bool:
        """Say whether the survey's free label falls under `word`."""
        return word in self.words and survey_label in self.words[word].survey


Vocabularies = Mapping[str, Vocabulary]
