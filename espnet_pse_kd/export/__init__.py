"""From trained networks to files that `espnet_pse_kd.runtime` runs without torch."""

from espnet_pse_kd.export.checkpoints import StudentInfo, load_student
from espnet_pse_kd.export.networks import export_student

__all__ = ["StudentInfo", "export_student", "load_student"]
