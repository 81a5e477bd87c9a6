"""Personal VAD: who speaks in each frame, nobody, somebody else, or the target?"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from espnet_pse_kd.activity import CLASSES, NS, NTSS, resample_frames
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.nets.level import decay_per_frame, follow_peak
from espnet_pse_kd.speaker.base import WINDOW_HOP
from espnet_pse_kd.speaker.mel import BANDS, HOP, mel_power

Conditioning = Literal["et", "st", "set"]
Injection = Literal["film", "concat"]

IGNORE = -100
"""Label of a frame that does not exist, e.g. in the padding of a batch."""

_LEVEL_FLOOR = math.log(1e-7)  # mel power of noise at about -92 dBFS
_LEVEL_DECAY_DB = 3.0  # per second
_SCORES = 2


class PersonalVAD(nn.Module):
    """Personal VAD of Ding et al. (arXiv 1908.04284), the teacher of the gate.

    Log-mel bands (40 as published), 25/10 ms, relative to a causal peak follower (to
    the loudest frame of the utterance where bidirectional), so that the input's level
    does not matter; then LSTM layers and three classes: `activity.CLASSES`. What tells
    it the target:

    * ``et``: the enrolment vector modulates the input of every layer (``film``), or
      is appended to the features (``concat``).
    * ``st``: the cosine of window vectors and enrolment vector, and that cosine less
      its running maximum, interpolated to the frames. Windows are centred, and a
      frame lies between two of them, so ``st`` and ``set`` see up to half a window
      and a hop of future (0.4 + 0.25 s by default), bidirectional or not.
    * ``set``: both.

    A bidirectional network reads the padding of a batch as silence: give it signals
    of one length at a time.

    Shapes: B samples, N audio samples, T = ceil(N / 160) + 1 frames, frame ``t``
    centred on sample ``160 t``, K = ceil(N / 4000) + 1 window vectors, D size of a
    vector. With ``et``, not bidirectional, a frame sees 200 samples beyond its
    centre. 0.15 M parameters by default.

    Args:
        conditioning: ``et``, ``st`` or ``set``.
        hidden: units of each LSTM layer (each direction).
        layers: number of LSTM layers.
        bidirectional: look at the whole utterance, past and future.
        injection: how the enrolment vector enters, ``film`` or ``concat``.
        dropout: on the input of every layer but the first.
        embedding_dim: D.
        comparisons: C, learned similarities of window vector and enrolment. They are
            what learns the training speakers by heart: 0 where these are few.
        bands: M, mel bands.
        stack: frames that the recurrent layers take at a time. 2 halves their steps,
            and with them the time of training; logits stay one per frame. A frame then
            sees up to ``stack - 1`` frames of future.
        window_hop: samples between the centres of window vectors.

    Raises:
        ValueError: an option has an unknown value.
    """

    hop = HOP

    def __init__(
        self,
        conditioning: Conditioning = "set",
        hidden: int = 64,
        layers: int = 2,
        bidirectional: bool = False,
        injection: Injection = "film",
        dropout: float = 0.0,
        embedding_dim: int = 256,
        comparisons: int = 32,
        bands: int = BANDS,
        stack: int = 1,
        window_hop: int = WINDOW_HOP,
    ) -> None:
        super().__init__()
        _one_of("conditioning", conditioning, get_args(Conditioning))
        _one_of("injection", injection, get_args(Injection))
        self.uses_scores = conditioning in ("st", "set")
        self.uses_vector = conditioning in ("et", "set")
        self.film = self.uses_vector and injection == "film"
        self.bidirectional = bidirectional
        self.window_hop, self.embedding_dim = window_hop, embedding_dim
        self.bands, self.stack = bands, stack
        inputs = bands + (_SCORES + comparisons) * self.uses_scores
        if self.uses_vector and not self.film:
            inputs += embedding_dim
        self.project = nn.Sequential(nn.Linear(inputs * stack, hidden), nn.ReLU())
        width = 2 * hidden if bidirectional else hidden
        sizes = [hidden] + [width] * (layers - 1)
        self.layers = nn.ModuleList(
            nn.LSTM(size, hidden, bidirectional=bidirectional, batch_first=True)
            for size in sizes
        )
        films = [nn.Linear(embedding_dim, 2 * size) for size in sizes if self.film]
        self.films = nn.ModuleList(films)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(width, len(CLASSES) * stack)
        for film in films:
            nn.init.normal_(film.weight, std=0.2 * embedding_dim**-0.5)
            nn.init.zeros_(film.bias)
        if self.uses_scores:
            self.compare = (
                nn.Linear(embedding_dim, comparisons) if comparisons else None
            )
            # GE2E cosines: about 0.55 for another speaker, 0.85 for the same.
            self.score_offset = nn.Parameter(torch.tensor([0.7, -0.1]))
            self.score_scale = nn.Parameter(torch.full((_SCORES,), 8.0))

    def forward(
        self,
        mixture: Tensor,
        enrolment: Tensor,
        window_vectors: Tensor | None = None,
    ) -> Tensor:
        """Logits of the three classes.

        Args:
            mixture: (B, N)
            enrolment: (B, D), unit norm.
            window_vectors: (B, K, D), unit norm; needed by ``st`` and ``set``.

        Returns:
            (B, T, 3) in the order of `activity.CLASSES`.

        Raises:
            ValueError: window vectors are missing.
        """
        x = self._features(mixture)  # [B, T, M]
        frames = x.shape[1]
        if self.uses_scores:
            if window_vectors is None:
                raise ValueError("conditioning st and set need window_vectors")
            scores = self._scores(enrolment, window_vectors, frames)
            x = torch.cat([x, scores], -1)  # [B, T, M + 2 + C]
        # A unit vector has entries of order D^-1/2, too faint to learn from.
        speaker = enrolment[:, None] * enrolment.shape[-1] ** 0.5  # [B, 1, D]
        if self.uses_vector and not self.film:
            x = torch.cat([x, speaker.expand(-1, frames, -1)], -1)
        x = nn.functional.pad(x, (0, 0, 0, -frames % self.stack))
        x = x.unflatten(1, (-1, self.stack)).flatten(2)  # [B, T/S, S (M + 2 + C)]
        x = self.project(x)  # [B, T/S, H]
        for index, layer in enumerate(self.layers):
            if index:
                x = self.dropout(x)
            if self.film:
                gain, shift = self.films[index](speaker).chunk(2, -1)
                x = x * (1 + gain) + shift  # [B, T/S, H]
            x, _ = layer(x)  # [B, T/S, H]
        logits = self.classify(x).unflatten(2, (self.stack, -1))  # [B, T/S, S, 3]
        return logits.flatten(1, 2)[:, :frames]  # [B, T, 3]

    def _features(self, mixture: Tensor) -> Tensor:
        """Log-mel power relative to a level, about zero mean: (B, N) -> (B, T, M)."""
        mel = mel_power(mixture, self.bands)  # [B, T, M]
        power = mel.sum(-1).clamp_min(1e-20).log()  # [B, T]
        if self.bidirectional:
            level = power.amax(1, keepdim=True).clamp_min(_LEVEL_FLOOR)  # [B, 1]
        else:
            decay = decay_per_frame(_LEVEL_DECAY_DB, HOP / SAMPLE_RATE)
            start = power.new_full((len(power),), _LEVEL_FLOOR)
            level = follow_peak(power.t(), start, decay, _LEVEL_FLOOR).t()  # [B, T]
        relative = mel * torch.exp(-level)[..., None]
        return ((relative + 1e-6).log() + 8.0) / 3.0

    def _scores(self, enrolment: Tensor, vectors: Tensor, frames: int) -> Tensor:
        """Similarities at the frames: (B, D), (B, K, D) -> (B, T, 2 + C).

        Beside the scaled cosine and its distance from the best one, C learned
        weighted cosines: mixtures do not change all entries of a vector alike.
        """
        product = vectors * enrolment[:, None]  # [B, K, D]
        cosine = product.sum(-1)  # [B, K]
        if self.bidirectional:
            best = cosine.amax(1, keepdim=True)
        else:
            best = cosine.cummax(1).values
        scores = torch.stack([cosine, cosine - best], -1)  # [B, K, 2]
        scores = (scores - self.score_offset) * self.score_scale
        if self.compare is not None:
            compared = self.compare(product * product.shape[-1])  # [B, K, C]
            scores = torch.cat([scores, compared], -1)  # [B, K, 2 + C]
        return resample_frames(scores, self.window_hop, HOP, frames)


def weighted_pairwise_loss(
    logits: Tensor, labels: Tensor, ns_ntss_weight: float = 0.1
) -> Tensor:
    """Weighted pairwise loss, arXiv 1908.04284 eq. 1.

    Each wrong class competes with the right one by itself. Taking silence for another
    speaker, or the reverse, costs ``ns_ntss_weight``; errors about the target cost 1.

    Args:
        logits: (..., 3)
        labels: int64 (...), `IGNORE` where there is no frame.
        ns_ntss_weight: weight of the pair (ns, ntss).

    Returns:
        Scalar: mean over the frames that exist, 0 if there are none.
    """
    exists = labels != IGNORE
    right = labels.where(exists, NS)[..., None]
    margin = logits.gather(-1, right) - logits  # [..., 3]
    weights = logits.new_ones(len(CLASSES), len(CLASSES))
    weights.fill_diagonal_(0.0)
    weights[NS, NTSS] = weights[NTSS, NS] = ns_ntss_weight
    cost = -nn.functional.logsigmoid(margin) * weights[right[..., 0]]  # [..., 3]
    frames = cost.mean(-1) * len(CLASSES) / (len(CLASSES) - 1) * exists
    return frames.sum() / exists.sum().clamp_min(1)


def _one_of(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{option}: {value!r} is none of {', '.join(choices)}")
