"""Who speaks in a split: recorded persons, their voices, and how one of them is drawn.

A voice (another speed, other formants) makes a further speaker of every person. They
are named when asked for and never listed: there are persons times voices of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TypeVar, overload

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.corpora.index import Index, Texts
from espnet_pse_kd.corpora.inventory import MIN_HALF_SECONDS
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.simulation.voices import OWN, Voice, person_of

T = TypeVar("T")
Find = Callable[[str], tuple[int, Voice]]


def played(voice: Voice, samples: int) -> int:
    """Length at which ``samples`` recorded samples are played in a voice."""
    return int(samples / voice.speed)


class Names(Sequence[str]):
    """Names of persons or utterances in their voices.

    Args:
        own: their names.
        voices: V voices.
        codes: ascending, ``number * V + voice`` of those that count.
        find: number and voice of a name.
    """

    def __init__(
        self,
        own: Texts,
        voices: Sequence[Voice],
        codes: Sequence[int] | np.ndarray,
        find: Find,
    ) -> None:
        self._own, self._voices, self._codes, self._find = own, voices, codes, find

    def __len__(self) -> int:
        return len(self._codes)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> list[str]: ...
    def __getitem__(self, at: int | slice) -> str | list[str]:
        if isinstance(at, slice):
            return [self[k] for k in range(*at.indices(len(self)))]
        number, voice = divmod(int(self._codes[at]), len(self._voices))
        return self._voices[voice].named(self._own[number])

    def __contains__(self, name: object) -> bool:
        try:
            number, voice = self._find(str(name))
        except KeyError:
            return False
        code = number * len(self._voices) + self._voices.index(voice)
        at = int(np.searchsorted(self._codes, code))
        return at < len(self) and self._codes[at] == code


class View(Mapping[str, T]):
    """What a function knows of persons or utterances, by name.

    Args:
        names: all of them.
        find: number and voice of a name.
        value: what is known, given number and voice; None for nothing.
    """

    def __init__(
        self, names: Names, find: Find, value: Callable[[int, Voice], T | None]
    ) -> None:
        self._names, self._find, self._value = names, find, value

    def __getitem__(self, name: str) -> T:
        value = self._value(*self._find(name))
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._names if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Cast:
    """The persons of a split and their voices.

    Args:
        index: of the split's utterances.
        voices: in which every person speaks.
    """

    def __init__(self, index: Index, voices: Sequence[Voice]) -> None:
        self.index, self.voices = index, tuple(voices)
        self._by_prefix = {voice.named(""): voice for voice in self.voices}
        self._can_be_target = self._long_enough()  # (P, V)
        codes = np.flatnonzero(self._can_be_target.ravel())
        self.speakers = self._names(index.speakers, self.find_speaker)
        self.targets = self._names(index.speakers, self.find_speaker, codes)
        self._utterances = self._names(index.utts, self.find_utterance)

    def _long_enough(self) -> np.ndarray:
        """(P, V): whether speech suffices for two sources, see `make_sources`.

        It does from twice `MIN_HALF_SECONDS` on, however it is divided.
        """
        enough = 2 * round(MIN_HALF_SECONDS * SAMPLE_RATE)
        columns = []
        for voice in self.voices:
            lengths = np.floor(self.index.samples / voice.speed).astype(np.int64)
            total = np.add.reduceat(lengths, self.index.first[:-1])  # (P,)
            columns.append(total >= enough)
        return np.stack(columns, axis=1)

    def _names(
        self, own: Texts, find: Find, codes: Sequence[int] | np.ndarray | None = None
    ) -> Names:
        everyone = range(len(own) * len(self.voices))
        return Names(own, self.voices, everyone if codes is None else codes, find)

    @property
    def target_persons(self) -> int:
        """Number of persons who can be a target."""
        return int(self._can_be_target.any(1).sum())

    def find_speaker(self, name: str) -> tuple[int, Voice]:
        """Person and voice of a speaker; KeyError where there is none."""
        return self._find(name, self.index.speaker)

    def find_utterance(self, name: str) -> tuple[int, Voice]:
        """Row and voice of an utterance; KeyError where there is none."""
        return self._find(name, self.index.row)

    def _find(self, name: str, number: Callable[[str], int]) -> tuple[int, Voice]:
        own = person_of(name)
        voice = self._by_prefix.get(name[: len(name) - len(own)])
        if voice is None:
            own, voice = name, self._by_prefix.get("")
        if voice is None:
            raise KeyError(name)
        return number(own), voice

    def by_speaker(self, value: Callable[[int, Voice], T | None]) -> View[T]:
        """What ``value`` knows of every speaker."""
        return View(self.speakers, self.find_speaker, value)

    def by_utterance(self, value: Callable[[int, Voice], T | None]) -> View[T]:
        """What ``value`` knows of every utterance in every voice."""
        return View(self._utterances, self.find_utterance, value)

    def gender(self, person: int) -> str | None:
        """``f``, ``m``, or None where it is not known."""
        return chr(self.index.gender[person]) if self.index.gender[person] else None

    def utts(self, person: int, voice: Voice = OWN) -> list[str]:
        """Utterances of a person, as named in a voice."""
        return [voice.named(self.index.utts[row]) for row in self.index.rows(person)]

    @functools.cache  # noqa: B019 - a cast lives as long as the process
    def _group(self, gender: str, target: bool) -> tuple[np.ndarray, np.ndarray]:
        """Weights (P,), 0 for who is not meant, and their cumulative sum (P + 1,)."""
        meant = np.ones(len(self.index.speakers), bool)
        if gender:
            meant &= self.index.gender == ord(gender)
        if target:
            meant &= self._can_be_target.any(1)
        # Without a common divisor, equal weights draw as from a list of the names.
        weights = np.where(meant, self.index.weight, 0) // np.gcd.reduce(
            self.index.weight
        )
        return weights, np.concatenate([[0], np.cumsum(weights)])

    def draw(
        self,
        rng: np.random.Generator,
        apart_from: Collection[str],
        gender: str,
        target: bool,
    ) -> str:
        """See `Inventory.draw_speaker`."""
        others = sorted({self.index.speaker(person_of(name)) for name in apart_from})
        for sex in dict.fromkeys((gender, "")):
            weights, below = self._group(sex, target)
            left = int(below[-1] - weights[others].sum())
            if left > 0:
                break
        else:
            raise UserError(
                f"no speaker apart from {', '.join(apart_from)}; add speakers to the "
                "corpus"
            )
        at = int(rng.integers(left))
        for person in others:  # step over them
            at += int(weights[person]) if at >= below[person] else 0
        person = int(np.searchsorted(below, at, side="right")) - 1
        allowed = np.flatnonzero(self._can_be_target[person] | (not target))
        voice = self.voices[int(allowed[int(rng.integers(len(allowed)))])]
        return voice.named(self.index.speakers[person])
