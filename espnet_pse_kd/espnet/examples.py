"""A few validation samples in TensorBoard: what the student makes of them so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from espnet2.enh.espnet_model_tse import ESPnetExtractionModel
from espnet2.torch_utils.device_funcs import to_device
from torch import Tensor

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.espnet.batches import lengths_or_all
from espnet_pse_kd.utils.spectrogram import spectrogram_db

COUNT = 3
"""Samples that are shown: those of the validation set with the lowest ids."""
EVERY = 5
"""Epochs from one time to the next; the last epoch is always shown."""
_PEAK = 0.7
_RANGE_DB = 70.0

Batch = tuple[list[str], dict[str, Tensor]]


class FixedSamples:
    """Passes batches on and keeps the samples with the lowest ids.

    ESPnet's ``shuffle_within_batch`` orders the validation set anew in every epoch, so
    the first batch would be another one each time.

    Attributes:
        kept: data of the samples, a batch of one each, by their ids.
    """

    def __init__(self, batches: Iterable[Batch]) -> None:
        self.batches = batches
        self.kept: dict[str, dict[str, Tensor]] = {}

    def __iter__(self) -> Iterator[Batch]:
        for ids, batch in self.batches:
            for k, uid in enumerate(ids):
                self.kept[uid] = {name: x[k : k + 1] for name, x in batch.items()}
            self.kept = {uid: self.kept[uid] for uid in sorted(self.kept)[:COUNT]}
            yield ids, batch


def is_due(epoch: int, last: int) -> bool:
    """Whether the samples are shown in this epoch."""
    return epoch % EVERY == 0 or epoch == last


@torch.no_grad()
def write_examples(
    model: torch.nn.Module,
    samples: Mapping[str, dict[str, Tensor]],
    folder: Path,
    epoch: int,
) -> None:
    """Write audio and spectrograms of mixture, target and output.

    Args:
        model: nothing is written unless it enhances.
        samples: data of validation samples, a batch of one each, by their ids.
        folder: TensorBoard's.
        epoch: step in TensorBoard.
    """
    if not isinstance(model, ESPnetExtractionModel):
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for uid, sample in samples.items():
            data = to_device(sample, next(model.parameters()).device)
            lengths = lengths_or_all(data["speech_mix"], data.get("speech_mix_lengths"))
            parts = (
                ("mixture", data["speech_mix"]),
                ("target", data["speech_ref1"]),
                ("output", _enhance(model, data)),
            )
            signals = {
                name: signal[0, : int(lengths[0])].float().cpu()
                for name, signal in parts
            }
            _write(writer, uid, signals, epoch)


def _enhance(model: ESPnetExtractionModel, data: dict[str, Tensor]) -> Tensor:
    mixture, enrolment = data["speech_mix"], data["enroll_ref1"]
    estimates, *_ = model.forward_enhance(
        mixture,
        lengths_or_all(mixture, data.get("speech_mix_lengths")),
        [enrolment],
        [lengths_or_all(enrolment, data.get("enroll_ref1_lengths"))],
    )
    return estimates[0]


def _write(writer: Any, uid: str, signals: dict[str, Tensor], epoch: int) -> None:
    """One gain and one scale for all, so that what leaks is as loud as it is."""
    peak = signals["mixture"].abs().max().clamp_min(1e-4)
    for name, signal in signals.items():
        sound = (signal * _PEAK / peak).clamp(-1, 1)[None]  # [1, N]
        writer.add_audio(f"{uid}/{name}", sound, epoch, SAMPLE_RATE)
    pictures = [spectrogram_db(signal) for signal in signals.values()]  # [F, T] each
    top = pictures[0].max()
    stacked = torch.cat([picture.flip(0) for picture in pictures])  # [3 F, T]
    shown = ((stacked - top) / _RANGE_DB + 1).clamp(0, 1)
    title = f"{uid}/{' over '.join(signals)}"
    writer.add_image(title, shown[None], epoch)  # [1, 3 F, T]
