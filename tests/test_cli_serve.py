"""``pse-kd serve`` without a browser: what its page does and shows."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cli_fixture import me, pse_kd, write
from weights_fixture import weights

from espnet_pse_kd import PersonalizedEnhancer
from espnet_pse_kd.cli import page_result, serve
from espnet_pse_kd.cli.pictures import spectrogram
from espnet_pse_kd.errors import UserError

__all__ = ["me", "weights"]  # fixtures


def test_the_page_is_for_this_machine_only(monkeypatch: pytest.MonkeyPatch) -> None:
    launched: dict[str, object] = {}
    page = argparse.Namespace(
        launch=lambda **options: launched.update(options),
        block_thread=lambda: None,
        close=lambda verbose: None,
    )
    stub = argparse.Namespace(LOOK={}, build=lambda enhancer, folder: page)
    monkeypatch.setitem(sys.modules, "espnet_pse_kd.cli.gradio_page", stub)
    monkeypatch.setattr(serve, "load_enhancer", lambda args: None)
    monkeypatch.setattr(serve, "_guard", lambda port, folder: (port, folder))
    for name in ("GRADIO_TEMP_DIR", "GRADIO_ANALYTICS_ENABLED", "GRADIO_ALLOWED_PATHS"):
        monkeypatch.setenv(name, "/")  # puts back what the command changes
    assert pse_kd("serve", "--port", 7999) == 0
    assert launched["server_name"] == "127.0.0.1" and launched["share"] is False
    assert launched["server_port"] == 7999
    [folder] = launched["allowed_paths"]  # type: ignore[misc]
    assert folder == os.environ["GRADIO_TEMP_DIR"] and not Path(folder).exists()
    assert "GRADIO_ALLOWED_PATHS" not in os.environ
    guard = (7999, Path(folder))
    assert launched["app_kwargs"] == {"middleware": [guard]}


def test_what_the_page_does(weights: Path, me: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "a.flac", 48000)
    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    own = str(me.with_name("me.wav"))
    result = page_result.enhance(
        enhancer, own, str(source), 12.0, True, tmp_path / "out"
    )
    assert soundfile.info(result.after).frames == soundfile.info(source).frames
    assert "s of speech" in result.text and "% of the time" in result.text
    assert len(result.picture.axes) == 3
    long = tmp_path / "long.wav"
    soundfile.write(long, np.zeros(8000 * 700), 8000)
    for recording, text in ((None, "nothing yet"), (str(long), "12 minutes")):
        with pytest.raises(UserError, match=text):
            page_result.enhance(enhancer, own, recording, None, False, tmp_path)


def test_spectrogram_of_a_tone() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    levels = spectrogram(tone)
    assert levels.shape[0] == 257 and levels.shape[1] <= 1600
    assert (levels[:, 5:-5].argmax(0) == 32).all()
    assert spectrogram(np.zeros(9_600_000)).shape[1] <= 1601
