"""A small corpus to mix from, and vectors for its enrolment clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from corpus_fixture import make_librispeech

from espnet_pse_kd.corpora.merge import Corpus, SplitOptions
from espnet_pse_kd.corpora.prepare import prepare_corpora
from espnet_pse_kd.enrolment_vectors import EnrolmentVectors
from espnet_pse_kd.simulation.dynamic import DynamicMixing
from espnet_pse_kd.simulation.rooms import write_rooms


def prepare(root: Path) -> Path:
    """What stage 1 writes, of a made-up corpus."""
    make_librispeech(root)
    folder = root / "data"
    prepare_corpora(
        folder,
        [Corpus("librispeech", root / "LibriSpeech")],
        root / "noise",
        root / "rir",
        SplitOptions(dev_speakers=3),
    )
    for split in ("train", "dev", "test"):
        write_rooms(folder / split / "rir", split, 2, seed=0)
    return folder


def vectors_of(conf: DynamicMixing, dim: int = 16) -> EnrolmentVectors:
    """A random vector for every clip."""
    clips = [c for cs in conf.simulator().clips.values() for c in cs]
    vectors = np.random.default_rng(0).standard_normal((len(clips), dim))
    return EnrolmentVectors(
        [c.cid for c in clips],
        [c.speaker for c in clips],
        [c.source for c in clips],
        vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
    )
