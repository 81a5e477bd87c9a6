"""From trained networks to files that `espnet_pse_kd.runtime` runs without torch."""

from espnet_pse_kd.export.bundle import export_bundle, write_student
from espnet_pse_kd.export.checkpoints import StudentInfo, load_pvad, load_student
from espnet_pse_kd.export.networks import export_student
from espnet_pse_kd.export.quantization import quantize
from espnet_pse_kd.export.teachers import export_pvad, export_speaker_encoder

__all__ = [
    "StudentInfo",
    "export_bundle",
    "export_pvad",
    "export_speaker_encoder",
    "export_student",
    "load_pvad",
    "load_student",
    "quantize",
    "write_student",
]
