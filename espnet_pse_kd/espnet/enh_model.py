"""Personalized enhancement with the pVAD gate, as an ESPnet model."""

from __future__ import annotations

from typing import Any

import torch
from espnet2.enh.decoder.abs_decoder import AbsDecoder
from espnet2.enh.encoder.abs_encoder import AbsEncoder
from espnet2.enh.espnet_model_tse import ESPnetExtractionModel
from espnet2.enh.extractor.abs_extractor import AbsExtractor
from espnet2.enh.loss.wrappers.abs_wrapper import AbsLossWrapper
from espnet2.torch_utils.device_funcs import force_gatherable
from torch import Tensor

from espnet_pse_kd.activity import activity, resample_frames, widen
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.batches import lengths_or_all
from espnet_pse_kd.espnet.criterions import CONTEXT, LossContext
from espnet_pse_kd.espnet.pvad_model import ESPnetPVADModel
from espnet_pse_kd.gate import Gate, GateOutput
from espnet_pse_kd.losses import LossSignals, frame_mask
from espnet_pse_kd.stft import HOP, num_frames


class ESPnetPSEModel(ESPnetExtractionModel):
    """ESPnet's extraction model that weighs loss frames by a teacher's posteriors.

    The gate works in training only: the validation loss counts every frame, so that it
    means the same for every method.

    The teacher is no submodule. It follows ``.to()``, but it is neither trained nor
    saved nor counted, and ``train()`` does not switch it.

    Attributes:
        progress: share of the training that is done; the trainer sets it.

    Args:
        encoder: ESPnet encoder.
        extractor: ESPnet extractor.
        decoder: ESPnet decoder.
        loss_wrappers: criterions in their wrappers.
        gate: what weighs the loss frames.
        cpu_bfloat16: train on a CPU that has bfloat16 instructions with the
            network's matrix products in it, about a quarter faster. On a GPU,
            ESPnet's ``use_amp`` does that.
        share_encoder: see `ESPnetExtractionModel`; False for our extractors.
        extract_feats_in_collect_stats: part of ESPnet's interface; nothing is
            extracted.
    """

    def __init__(
        self,
        encoder: AbsEncoder,
        extractor: AbsExtractor,
        decoder: AbsDecoder,
        loss_wrappers: list[AbsLossWrapper],
        gate: Gate | None = None,
        cpu_bfloat16: bool = False,
        share_encoder: bool = False,
        extract_feats_in_collect_stats: bool = False,
    ) -> None:
        super().__init__(
            encoder,
            extractor,
            decoder,
            loss_wrappers,
            num_spk=1,
            share_encoder=share_encoder,
            extract_feats_in_collect_stats=extract_feats_in_collect_stats,
        )
        self.gate = gate or Gate()
        self.cpu_bfloat16 = cpu_bfloat16 and _cpu_has_bfloat16()
        self.progress = 0.0
        self.set_teacher(None)

    @property
    def teacher(self) -> ESPnetPVADModel | None:
        """The personal VAD that the gate asks, if there is one."""
        return self._teacher

    def set_teacher(self, teacher: ESPnetPVADModel | None) -> None:
        """Give the model a (different) teacher, frozen and in evaluation mode."""
        if teacher is not None:
            teacher.eval().requires_grad_(False)
        object.__setattr__(self, "_teacher", teacher)

    def _apply(self, fn, recurse: bool = True) -> ESPnetPSEModel:
        if self._teacher is not None:
            self._teacher._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def _replicate_for_data_parallel(self) -> Any:
        raise UserError(
            "--ngpu: DataParallel would leave the teacher behind; add "
            "'--multiprocessing_distributed true' or use one GPU"
        )

    def forward(
        self,
        speech_mix: Tensor,
        speech_ref1: Tensor,
        enroll_ref1: Tensor,
        speech_mix_lengths: Tensor | None = None,
        enroll_ref1_lengths: Tensor | None = None,
        interf_ref1: Tensor | None = None,
        window_vectors: Tensor | None = None,
        **unused: Any,
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """Enhance a batch and compute its loss.

        Args:
            speech_mix: (B, N) mixtures.
            speech_ref1: (B, N) target images.
            enroll_ref1: (B, 1, D) speaker vectors, or (B, M) enrolment waveforms.
            speech_mix_lengths: (B,), default all N.
            enroll_ref1_lengths: (B,), default all of it.
            interf_ref1: (B, N) interferer images; a gate needs them in training.
            window_vectors: (B, K, D) cached window vectors of the mixtures.
            **unused: other entries of ESPnet's batch, such as ``utt_id``.

        Returns:
            loss, statistics, batch size.

        Raises:
            UserError: the gate needs a teacher or interferer images, and has none.
        """
        lengths = lengths_or_all(speech_mix, speech_mix_lengths)  # [B]
        enroll_lengths = lengths_or_all(enroll_ref1, enroll_ref1_lengths)  # [B]
        faster = self.cpu_bfloat16 and self.training and not speech_mix.is_cuda
        with torch.autocast("cpu", torch.bfloat16, enabled=faster):
            estimates, features, masked, others = self.forward_enhance(
                speech_mix, lengths, [enroll_ref1], [enroll_lengths]
            )
        # Autocast may have left half precision, in which a compressed spectrum fails.
        estimate = _ended(estimates[0].to(speech_ref1), lengths)  # [B, N]
        monitors = {"si_sdri": si_sdr_improvement(speech_ref1, estimate, speech_mix)}
        signals = LossSignals(speech_ref1, estimate, speech_mix, lengths)
        weights = None
        if self.training and self.gate.mode != "none":
            heard = (enroll_ref1, enroll_lengths)
            gating = self._gating(
                speech_mix, signals, interf_ref1, heard, window_vectors
            )
            weights = gating.weights.to(speech_mix)  # [B, T]
            monitors |= _gate_stats(gating, lengths)
        progress = self.progress if self.training else 1.0
        context = LossContext(signals, weights, self.gate.normalizer, progress)
        loss, stats, batch, _ = self.forward_loss(
            [estimate],
            lengths,
            features,
            masked,
            {**others, CONTEXT: context},
            [speech_ref1],
        )
        stats.update(force_gatherable(monitors, loss.device))
        return loss, stats, batch

    def _gating(
        self,
        mixture: Tensor,
        signals: LossSignals,
        interferer: Tensor | None,
        enrolment: tuple[Tensor, Tensor],
        window_vectors: Tensor | None,
    ) -> GateOutput:
        """`frame_weights` of a batch; enrolments are vectors or waves, and lengths."""
        if interferer is None:
            raise UserError(
                f"interf_ref1: missing; gate_conf mode {self.gate.mode!r} asks where "
                "the interferer speaks, give interf1.scp under this name"
            )
        speaker = self._vector(*enrolment) if self.gate.needs_teacher else None
        return self.frame_weights(
            mixture,
            signals.active,
            interferer,
            signals.lengths,
            speaker,  # [B, D]
            window_vectors,
        )

    @torch.no_grad()
    def frame_weights(
        self,
        mixture: Tensor,
        active: Tensor,
        interferer: Tensor,
        lengths: Tensor,
        speaker: Tensor | None,
        window_vectors: Tensor | None,
    ) -> GateOutput:
        """Ask the gate, and for it the teacher, for the weights of the loss frames.

        Which frames *can* be gated follows from the clean signals; their weights come
        from the teacher's own run on the mixture.

        Args:
            mixture: (B, N)
            active: bool (B, T), `activity` of the target.
            interferer: (B, N)
            lengths: (B,)
            speaker: (B, D) enrolment vectors; only hard and soft gates need them.
            window_vectors: (B, K, D) or None.

        Returns:
            weights and gated frames, (B, T) each.

        Raises:
            UserError: the gate needs a teacher and the model has none.
        """
        posterior = None
        if self.gate.needs_teacher:
            if self._teacher is None:
                raise UserError(
                    f"gate_conf: mode {self.gate.mode!r} needs a teacher; give "
                    "--teacher_train_config and --teacher_model_file"
                )
            posterior = self._teacher.posterior(
                mixture, speaker, window_vectors, lengths
            )  # [B, T', 3]
            frames = num_frames(mixture.shape[1])
            posterior = resample_frames(posterior, self._teacher.hop, HOP, frames)
        speaks = widen(active)  # [B, T]
        disturbs = widen(activity(interferer))  # [B, T]
        return self.gate(speaks, disturbs, posterior)

    def _vector(self, enrolment: Tensor, lengths: Tensor) -> Tensor:
        """The enrolment vectors (B, D) that the student gets."""
        if enrolment.dim() == 3:
            return enrolment[:, 0]
        if not hasattr(self.extractor, "speaker_vector"):
            raise UserError(
                "enroll_ref1: the teacher needs speaker vectors (batch, 1, dim), found "
                f"shape {tuple(enrolment.shape)}"
            )
        return self.extractor.speaker_vector(enrolment, lengths).to(enrolment)


def _cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16; elsewhere it would be emulated."""
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _ended(signals: Tensor, lengths: Tensor) -> Tensor:
    """Signals (B, N) that are silent from their lengths (B,) on."""
    inside = torch.arange(signals.shape[1], device=lengths.device) < lengths[:, None]
    return signals.masked_fill(~inside, 0.0)


def _gate_stats(gating: GateOutput, lengths: Tensor) -> dict[str, Tensor]:
    """What the gate did to a batch; ESPnet leaves nan out of its averages.

    Returns:
        ``gated``: share of the frames to which the gate applies; ``gate_closed``:
        share of those with a weight below 0.5; ``gate_weight``: their mean weight.
    """
    inside = frame_mask(lengths, gating.gated.shape[1])
    gated = gating.gated & inside
    count = gated.sum()
    closed = (gated & (gating.weights < 0.5)).sum()
    total = (gating.weights * gated).sum()
    return {
        "gated": count / inside.sum(),
        "gate_closed": closed / count,
        "gate_weight": total / count,
    }


@torch.no_grad()
def si_sdr_improvement(target: Tensor, estimate: Tensor, mixture: Tensor) -> Tensor:
    """Mean improvement of SI-SDR over the disturbed samples with target speech, in dB.

    A monitor of training. The scores of the recipe come from `espnet_pse_kd.metrics`.

    Args:
        target: (B, N)
        estimate: (B, N)
        mixture: (B, N)

    Returns:
        scalar; nan if there is no such sample.
    """
    before = _si_sdr(target, mixture)  # [B]
    # A clean mixture cannot be improved; its loss would drown the others' gain.
    counted = activity(target).any(-1) & (before < 30.0)
    return (_si_sdr(target, estimate) - before)[counted].mean()


def _si_sdr(target: Tensor, estimate: Tensor, floor: float = 1e-8) -> Tensor:
    energy = target.square().sum(-1, keepdim=True)
    scale = (target * estimate).sum(-1, keepdim=True) / (energy + floor)
    projection = (scale * target).square().sum(-1)
    error = (estimate - scale * target).square().sum(-1)
    return 10 * torch.log10((projection + floor) / (error + floor))
