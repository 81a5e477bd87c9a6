"""Sound files as the commands read and write them, block by block."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cli_fixture import header, write

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.sound.formats import Format
from espnet_pse_kd.sound.reading import open_sound
from espnet_pse_kd.sound.writing import write_sound


@pytest.mark.parametrize(
    ("container", "offset", "size"),
    [
        ("WAV", 40, (0x7FFFF000).to_bytes(4, "little")),
        ("WAV", 40, (0x7FFFFFFF).to_bytes(4, "little")),
        ("WAV", 40, (0x80000000).to_bytes(4, "little")),
        ("WAV", 40, (0xFFFFFF00).to_bytes(4, "little")),
        ("WAV", 40, (0xFFFFFFFF).to_bytes(4, "little")),
        ("AIFF", 42, (0).to_bytes(4, "big")),
        ("AIFF", 42, (0x7F000008).to_bytes(4, "big")),
        ("AU", 8, (0xFFFFFFFF).to_bytes(4, "big")),
        ("W64", 96, (0).to_bytes(8, "little")),
        ("W64", 96, (2**63 - 1).to_bytes(8, "little")),
        ("W64", 96, (2**64 - 1).to_bytes(8, "little")),
        ("RF64", 28, (2**63 - 1).to_bytes(8, "little")),
    ],
)
def test_streams_are_good_recordings(
    container: str, offset: int, size: bytes, tmp_path: Path
) -> None:
    """Programs that write into a pipe cannot go back to tell the length."""
    header(offset, size, format=container)(path := tmp_path / "a")
    assert path.read_bytes() != write(tmp_path / "b", format=container).read_bytes()
    with open_sound(path) as sound:
        assert sum(map(len, sound.blocks())) == 3 * SAMPLE_RATE


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "W64", "RF64"])
def test_whole_files_are_not_taken_for_truncated(
    container: str, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    for subtype in ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "ULAW", "IMA_ADPCM"):
        if soundfile.check_format(container, subtype):
            for channels, samples in itertools.product((1, 2), range(1000, 1004)):
                wave = np.zeros((samples, channels))
                soundfile.write(path, wave, 8000, subtype, format=container)
                with open_sound(path) as sound:
                    assert sound.frames >= samples


def test_errors_of_others_are_not_the_disk(tmp_path: Path) -> None:
    form = Format(SAMPLE_RATE, 1, "WAV", "PCM_16")
    with (
        pytest.raises(OSError, match="Bad file descriptor"),
        write_sound(tmp_path / "a.wav", form) as append,
    ):
        append(np.zeros((9, 1)))
        raise OSError(9, "Bad file descriptor")
    assert not list(tmp_path.iterdir())


def test_blocks_are_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", 44100, 2)
    expected, _ = soundfile.read(path, dtype="float32")
    with open_sound(path) as sound:
        found = list(sound.blocks())
    assert max(map(len, found)) == 44100
    np.testing.assert_array_equal(np.concatenate(found), expected)
