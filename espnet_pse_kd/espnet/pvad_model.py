"""The personal VAD, the teacher of the gate, as an ESPnet model."""

from __future__ import annotations

from typing import Any

import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor

from espnet_pse_kd.activity import CLASSES, NTSS, TSS, resample_frames, vad_classes
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.batches import equal_lengths, lengths_or_all
from espnet_pse_kd.nets.personal_vad import (
    IGNORE,
    PersonalVAD,
    weighted_pairwise_loss,
)
from espnet_pse_kd.stft import HOP, num_frames


class ESPnetPVADModel(AbsESPnetModel):
    """Three classes per frame: no speech, non-target speech, target speech.

    Args:
        pvad: the network.
        ns_ntss_weight: weight of the pair (ns, ntss) in the loss; taking one for the
            other matters little (arXiv 1908.04284 has 0.1).
        extract_feats_in_collect_stats: part of ESPnet's interface; nothing is
            extracted.
    """

    def __init__(
        self,
        pvad: PersonalVAD,
        ns_ntss_weight: float = 0.1,
        extract_feats_in_collect_stats: bool = False,
    ) -> None:
        super().__init__()
        self.pvad = pvad
        self.ns_ntss_weight = ns_ntss_weight
        self.extract_feats_in_collect_stats = extract_feats_in_collect_stats

    @property
    def hop(self) -> int:
        """Samples between the centres of two frames."""
        return self.pvad.hop

    @property
    def uses_window_vectors(self) -> bool:
        """Whether it compares window vectors with the enrolment (ST and SET)."""
        return self.pvad.uses_scores

    def forward(
        self,
        speech_mix: Tensor,
        speech_ref1: Tensor,
        enroll_ref1: Tensor,
        speech_mix_lengths: Tensor | None = None,
        interf_ref1: Tensor | None = None,
        window_vectors: Tensor | None = None,
        **unused: Any,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Classify the frames of a batch and compute the loss.

        Args:
            speech_mix: (B, N) mixtures.
            speech_ref1: (B, N) target images, from which the labels follow.
            enroll_ref1: (B, 1, D) speaker vectors.
            speech_mix_lengths: (B,), default all N.
            interf_ref1: (B, N) interferer images; the labels need them.
            window_vectors: (B, K, D) cached window vectors of the mixtures.
            **unused: other entries of ESPnet's batch, such as ``utt_id``.

        Returns:
            loss, statistics, batch size.

        Raises:
            UserError: no interferer images.
        """
        if interf_ref1 is None:
            raise UserError(
                "interf_ref1: missing; without it no frame would be labelled as speech "
                "of others, give interf1.scp under this name"
            )
        lengths = lengths_or_all(speech_mix, speech_mix_lengths)
        enrolment = enroll_ref1[:, 0]  # [B, D]
        logits = self.logits(speech_mix, enrolment, window_vectors, lengths)
        logits = logits.float()  # [B, T, 3]
        labels = self.labels(speech_ref1, interf_ref1, lengths)  # [B, T]
        loss = weighted_pairwise_loss(logits, labels, self.ns_ntss_weight)
        inside = labels != IGNORE
        stats = {"loss": loss.detach(), **self._stats(logits[inside], labels[inside])}
        return force_gatherable((loss, stats, len(speech_mix)), loss.device)

    def labels(self, target: Tensor, interferer: Tensor, lengths: Tensor) -> Tensor:
        """Classes (B, T) at the network's frames, `IGNORE` behind each sample's end.

        Args:
            target: (B, N) target images.
            interferer: (B, N) interferer images.
            lengths: (B,)
        """
        classes = vad_classes(target, interferer)  # [B, T']
        frames = num_frames(target.shape[1], self.hop)
        labels = resample_frames(classes, HOP, self.hop, frames)  # [B, T]
        count = (lengths + self.hop - 1).div(self.hop, rounding_mode="floor") + 1
        inside = torch.arange(labels.shape[1], device=labels.device) < count[:, None]
        return labels.masked_fill(~inside, IGNORE)

    def logits(
        self,
        mixture: Tensor,
        enrolment: Tensor,
        window_vectors: Tensor | None,
        lengths: Tensor,
    ) -> Tensor:
        """Logits of a padded batch; each sample is computed without its padding.

        A bidirectional network would read the padding of a shorter sample.

        Args:
            mixture: (B, N)
            enrolment: (B, D)
            window_vectors: (B, K, D); see `uses_window_vectors`.
            lengths: (B,)

        Returns:
            (B, T, 3), zero behind each sample's end.
        """
        frames = num_frames(mixture.shape[1], self.hop)
        result = mixture.new_zeros(len(mixture), frames, len(CLASSES))  # [B, T, 3]
        for length, rows in equal_lengths(lengths):
            vectors = None
            if window_vectors is not None:
                count = num_frames(length, self.pvad.window_hop)
                vectors = window_vectors[rows, :count]
            part = self.pvad(mixture[rows, :length], enrolment[rows], vectors)
            result[rows, : part.shape[1]] = part.to(result)
        return result

    @torch.no_grad()
    def posterior(
        self,
        mixture: Tensor,
        enrolment: Tensor,
        window_vectors: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Posteriors of ns, ntss and tss at the network's frames, (B, T, 3).

        Args:
            mixture: (B, N)
            enrolment: (B, D)
            window_vectors: (B, K, D); see `uses_window_vectors`.
            lengths: (B,) of a padded batch.
        """
        lengths = lengths_or_all(mixture, lengths)
        logits = self.logits(mixture, enrolment, window_vectors, lengths)
        return logits.float().softmax(-1)

    @torch.no_grad()
    def _stats(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Accuracies of a batch and, in evaluation mode, the AUC of tss against ntss.

        A class that does not occur gives nan, which ESPnet leaves out of its averages.
        """
        right = (logits.argmax(-1) == labels).float()  # [M]
        stats = {"acc": right.mean()}
        for index, name in enumerate(CLASSES):
            stats[f"acc_{name}"] = right[labels == index].mean()
        if not self.training:
            score = logits.softmax(-1)[:, TSS]
            stats["auc"] = _auc(score[labels == TSS], score[labels == NTSS])
        return stats

    def collect_feats(self, **batch: Tensor) -> dict[str, Tensor]:
        """Nothing: the network normalises its own features."""
        return {}


def _auc(positive: Tensor, negative: Tensor) -> Tensor:
    """Probability that a positive score exceeds a negative one; nan without either."""
    order = negative.sort().values
    below = torch.searchsorted(order, positive)
    not_above = torch.searchsorted(order, positive, right=True)
    wins = (below + not_above).double().mean() / 2
    return (wins / len(negative)).float() if len(negative) else wins * torch.nan
