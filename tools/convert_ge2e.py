#!/usr/bin/env python3
"""Convert the published GE2E weights to espnet_pse_kd/speaker/ge2e.onnx.

pip download --no-deps Resemblyzer==0.1.4
python tools/convert_ge2e.py Resemblyzer-0.1.4-py3-none-any.whl \
    espnet_pse_kd/speaker/ge2e.onnx
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from safetensors.torch import save_file

from espnet_pse_kd.export.teachers import export_speaker_encoder
from espnet_pse_kd.speaker.ge2e import GE2E

MEMBER = "resemblyzer/pretrained.pt"
SHA256 = "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e"


def convert(wheel: Path, out: Path) -> None:
    """Write the encoder's tensors, without optimizer state and loss parameters."""
    content = zipfile.ZipFile(wheel).read(MEMBER)
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        sys.exit(f"error: {wheel}:{MEMBER}: sha256 {found}, expected {SHA256}")
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    tensors = {
        name: tensor.float().contiguous()
        for name, tensor in state["model_state"].items()
        if name.startswith(("lstm.", "linear."))
    }
    with tempfile.TemporaryDirectory() as folder:
        published = Path(folder) / "ge2e.safetensors"
        save_file(tensors, published)
        export_speaker_encoder(out, "ge2e", published)
    print(f"{out}: weights digest {GE2E('ge2e', out).digest}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    convert(arguments.wheel, arguments.out)
