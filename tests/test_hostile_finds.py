"""What `make hostile` found: each is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import write_target
from espnet_pse_kd.runtime.metadata import check_metadata
from espnet_pse_kd.runtime.onnxfile import read_model_file
from espnet_pse_kd.runtime.profile import Profile
from tools.hostile import models, profiles
from tools.hostile.targets import TARGETS


@pytest.mark.parametrize("field", ["seconds", "level_dbfs", "snr_db"])
def test_a_number_too_long_for_a_float_is_damage(field: str, tmp_path: Path) -> None:
    path = tmp_path / "me.profile"
    path.write_text(json.dumps({**json.loads(profiles.good()), field: 10**400}))
    with pytest.raises(UserError, match=r"me\.profile: damaged profile"):
        Profile.load(path)


@pytest.mark.parametrize("hop", ["161", "4001"])
def test_windows_begin_at_frames(hop: str) -> None:
    path = Path("pvad.onnx")
    metadata = dict(read_model_file(models.FILES["pvad"], "pvad").metadata)
    check_metadata(path, metadata, "pvad")
    with pytest.raises(UserError, match="give a multiple of 160"):
        check_metadata(path, {**metadata, "window_hop": hop}, "pvad")


def test_a_link_to_itself_is_no_file_to_write(tmp_path: Path) -> None:
    path = tmp_path / "loop.json"
    path.symlink_to("loop.json")
    with pytest.raises(UserError, match="leads to itself"):
        write_target(path)


@pytest.mark.parametrize("name", TARGETS)
def test_the_fuzzer_begins_with_whole_inputs(name: str) -> None:
    target = TARGETS[name]
    assert all(len(seed) <= target.longest for seed in target.seeds())
