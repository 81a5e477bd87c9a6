"""Word errors of a transcript."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

_NOT_WORDS = re.compile(r"[^\w' ]+|_")


@dataclass(frozen=True)
class WordErrors:
    """Counts of one utterance, or of many added up.

    Attributes:
        words: words of the reference.
        substitutions: reference words replaced.
        deletions: reference words missing.
        insertions: words that are in no reference.
    """

    words: int
    substitutions: int
    deletions: int
    insertions: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def counted(self) -> int:
        """Errors, at most 100 % of the words, if there are any.

        An ASR may repeat itself without end on what it does not understand; one such
        utterance would outweigh a hundred others.
        """
        return min(self.errors, self.words) if self.words else self.errors


def normalize(text: str) -> str:
    """Lower case, no punctuation but apostrophes, single spaces."""
    return " ".join(_NOT_WORDS.sub(" ", text.casefold()).split())


def word_errors(
    reference: str, hypothesis: str, normalizer: Callable[[str], str] = normalize
) -> WordErrors:
    """Count errors of ``hypothesis``; either text may be empty.

    Args:
        reference: what is said.
        hypothesis: what is heard.
        normalizer: of both.
    """
    import jiwer

    spoken, heard = normalizer(reference), normalizer(hypothesis)
    if not spoken:  # jiwer has no alignment for an empty reference
        return WordErrors(0, 0, 0, len(heard.split()))
    result = jiwer.process_words(spoken, heard)
    return WordErrors(
        len(spoken.split()), result.substitutions, result.deletions, result.insertions
    )
