"""The model that comes with the package: where its files are, and their names."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parents[1] / "weights"
"""The package's own weights; may be missing in a checkout that has not made them."""
STUDENT = "student.onnx"
SPEAKER_ENCODER = "speaker_encoder.onnx"
PERSONAL_VAD = "pvad.onnx"
CARD = "model_card.md"
ENCODERS = {
    name: Path(__file__).parents[1] / "speaker" / f"{name}.onnx"
    for name in ("ge2e", "ge2e_robust", "campp")
}
"""Speaker encoders of the package by name: one steers a network, one hears voices."""
CAMPP = ENCODERS["campp"]
"""The speaker encoder that tells voices apart; an install may lack it."""
