"""The best CTC path among the words of a lexicon.

A small ASR that saw two hours of speech spells words that do not exist ("yello").
Where the vocabulary is closed, as in a grammar's sentences, its best path through known
words is the fairer transcript, for every row alike. There is no language model: each
word may follow each other, and no word at all is a path like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

_NEVER = -np.inf


class Lexicon:
    """Viterbi search over words that are sequences of CTC units.

    Args:
        words: unit ids of each word, at least one each.
        blank: id of CTC's blank.
    """

    def __init__(self, words: Mapping[str, Sequence[int]], blank: int = 0) -> None:
        self.blank = blank
        self.words = list(words)
        units = [list(words[word]) for word in self.words]
        lengths = np.array([len(ids) for ids in units])
        self.unit = np.concatenate([np.array(ids) for ids in units])  # [M]
        self.word = np.repeat(np.arange(len(units)), lengths)  # [M]
        ends = np.cumsum(lengths)
        self.last = ends - 1  # [W]
        self.first = np.zeros(len(self.unit), bool)
        self.first[ends - lengths] = True
        self.repeats = np.append(False, self.unit[1:] == self.unit[:-1])

    def decode(self, log_probs: np.ndarray) -> list[str]:
        """Words of the best path through log posteriors (T, units)."""
        count = len(self.unit)
        inside, gap, outside = np.full(count, _NEVER), np.full(count, _NEVER), 0.0
        origins = []
        for frame in log_probs:
            inside, gap, outside, origin = self._step(inside, gap, outside, frame)
            origins.append(origin)
        return self._trace(origins, inside, outside)

    def _step(
        self, inside: np.ndarray, gap: np.ndarray, outside: float, frame: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
        """Advance by one frame.

        States: M units ("inside"), the blanks after each ("gap"), and the blank between
        words ("outside"), numbered in this order for the origins, (2 M + 1,).
        """
        count = len(inside)
        states = np.arange(count)
        start, start_from = self._word_start(inside, outside)
        # A unit is reached from the unit before it, from the blank between, or, if it
        # is the first of a word, from the end of another word or from outside.
        before = np.roll(inside, 1)
        before[self.repeats] = _NEVER
        through = np.roll(gap, 1)
        move = np.where(self.first, start, np.maximum(before, through))
        move_from = np.where(
            self.first,
            start_from,
            np.where(before >= through, states - 1, count + states - 1),
        )
        new_inside = np.maximum(inside, move) + frame[self.unit]
        new_gap = np.maximum(gap, inside) + frame[self.blank]
        best_end = self.last[np.argmax(inside[self.last])]
        new_outside = max(outside, inside[best_end]) + frame[self.blank]
        origin = np.concatenate(
            [
                np.where(inside >= move, states, move_from),
                np.where(gap >= inside, count + states, states),
                [2 * count if outside >= inside[best_end] else best_end],
            ]
        )
        return new_inside, new_gap, float(new_outside), origin

    def _word_start(
        self, inside: np.ndarray, outside: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Best score from which a word may start with each unit, and its state."""
        order = self.last[np.argsort(inside[self.last])[::-1]]
        best = order[0]
        # CTC needs a blank between equal units, so they take the best other end.
        others = order[self.unit[order] != self.unit[best]]
        other = others[0] if len(others) else best
        clash = self.unit == self.unit[best]
        score = np.where(clash, inside[other] if len(others) else _NEVER, inside[best])
        state = np.where(clash, other, best)
        free = outside >= score
        return np.where(free, outside, score), np.where(free, 2 * len(inside), state)

    def _trace(
        self, origins: list[np.ndarray], inside: np.ndarray, outside: float
    ) -> list[str]:
        count = len(inside)
        best_end = int(self.last[np.argmax(inside[self.last])])
        state = 2 * count if outside >= inside[best_end] else best_end
        words = []
        for origin in reversed(origins):
            before = int(origin[state])
            if state < count and self.first[state] and before != state:
                words.append(self.words[self.word[state]])
            state = before
        return words[::-1]
