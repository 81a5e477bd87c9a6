"""The files that use one trained student: network, speaker encoder, personal VAD."""

from __future__ import annotations

import tempfile
from pathlib import Path

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.export.checkpoints import StudentInfo, load_pvad, load_student
from espnet_pse_kd.export.networks import export_student
from espnet_pse_kd.export.quantization import quantize
from espnet_pse_kd.export.teachers import (
    check_speaker_encoder,
    export_pvad,
    export_speaker_encoder,
)
from espnet_pse_kd.nets.streaming import StreamingNetwork
from espnet_pse_kd.runtime.identity import EncoderIdentity
from espnet_pse_kd.speaker import OFFLINE_NAMES, identity_of


def export_bundle(
    source: str | Path,
    student: Path,
    speaker_encoder: Path | None = None,
    pvad_source: str | Path | None = None,
    pvad: Path | None = None,
    int8: bool = False,
) -> None:
    """Write a student, and what else is named, as ONNX files.

    Everything is read before anything is written, and the student is written last:
    where it is, the others are.

    Args:
        source: folder or zip of the student, see `load_student`.
        student: file to write.
        speaker_encoder: file to write, None for none.
        pvad_source: folder or zip of a personal VAD.
        pvad: file to write of it.
        int8: quantize the student.

    Raises:
        UserError: a source is no training, the student was trained to ignore the
            enrolled voice, the personal VAD hears by a speaker encoder that is neither
            the student's nor one of the package, or a network cannot be exported.
    """
    network, info = load_student(source)
    _check(info, speaker_encoder is not None)
    if pvad_source is not None and pvad is not None:
        teacher, encoder = load_pvad(pvad_source)
        export_pvad(teacher, pvad, _checked_pvad(pvad_source, encoder, info))
    write_student(network, info, student, speaker_encoder, int8)


def write_student(
    network: StreamingNetwork,
    info: StudentInfo,
    student: Path,
    speaker_encoder: Path | None = None,
    int8: bool = False,
) -> None:
    """Write a loaded student, after its speaker encoder if that is named.

    Args:
        network: see `load_student`.
        info: of it.
        student: file to write.
        speaker_encoder: file to write, None for none.
        int8: quantize the student.

    Raises:
        UserError: it was trained to ignore the enrolled voice, or a network cannot be
            exported.
    """
    _check(info, speaker_encoder is not None)
    if speaker_encoder is not None:
        export_speaker_encoder(speaker_encoder, info.speaker_encoder.name)
    with tempfile.TemporaryDirectory() as folder:
        fp32 = Path(folder) / "student.onnx" if int8 else student
        export_student(network, info.name, fp32, info.speaker_encoder)
        if int8:
            quantize(fp32, student)


def _check(info: StudentInfo, with_encoder: bool) -> None:
    """Refuse a student, with its speaker encoder or without, that has no use."""
    if not info.personalized:
        raise UserError(
            f"{info.source}: it was trained to ignore the enrolled voice (b0); give a "
            "personalized student"
        )
    if with_encoder:
        check_speaker_encoder(info.speaker_encoder.name)


def _checked_pvad(
    source: str | Path, encoder: EncoderIdentity | None, info: StudentInfo
) -> EncoderIdentity:
    """The speaker encoder by which a personal VAD hears, if whoever runs it has it."""
    if encoder is None:
        raise UserError(
            f"{source}: does not say whose speaker vectors it was trained on, and its "
            "data are not here; run this from the recipe's folder, or add the line "
            "'speaker_encoder: NAME' to its config.yaml"
        )
    known = encoder.name in OFFLINE_NAMES and encoder == identity_of(encoder.name)
    if encoder != info.speaker_encoder and not known:
        raise UserError(
            f"{source}: trained on vectors of the speaker encoder {encoder}, which is "
            f"neither the student's ({info.speaker_encoder}) nor one of the package "
            f"({', '.join(OFFLINE_NAMES)}); give a personal VAD that was trained with "
            "one of these"
        )
    return encoder
