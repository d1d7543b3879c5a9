"""Enums of the API and the words by which their values are stored: the values' names without what they share."""

from collections.abc import Mapping
from typing import Any


class Words:
    """The words of one enum."""

    def __init__(self, enum: Any) -> None:
        shared = enum.Name(0).removesuffix("UNSPECIFIED")
        self._words: Mapping[int, str] = {number: name.removeprefix(shared) for name, number in enum.items()}
        self.numbers: Mapping[str, Any] = {word: number for number, word in self._words.items()}

    def of(self, number: int) -> str:
        """Return the word of a value; UNSPECIFIED has one, too."""
        return self._words[number]

    def given(self, number: int) -> str:
        """Return the word of a value that need not be given, '' when it is not; as a filter that keeps everything."""
        return self._words[number] if number else ""

    def number(self, word: str) -> Any:
        """Return the value that is stored by a word."""
        return self.numbers[word]
