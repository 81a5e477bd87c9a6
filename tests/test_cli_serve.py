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


def test_what_the_page_does(
    weights: Path, me: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "a.flac", 48000, 2)
    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    own = [str(me.with_name("me.wav"))]
    (bad := tmp_path / "text.wav").write_text("no sound")
    page = page_result.enhance(
        enhancer, own, [str(source), str(bad)], 12.0, True, tmp_path / "out"
    )
    [item] = page.items
    frames = soundfile.info(source).frames
    for path in (item.result, item.before, item.after):
        assert soundfile.info(path).frames == frames
    np.testing.assert_array_equal(
        soundfile.read(item.before)[0], soundfile.read(source)[0]
    )
    assert "s of speech" in page.text and "% of the time" in page.text
    assert "⚠️ text.wav: not a readable" in page.text
    picture = page_result.picture(item)
    assert len(picture.axes) == 3 and picture.axes[2].get_xlim() == (0, 3)
    zoomed = page_result.picture(item, 1.0, 2.0)
    assert zoomed.axes[2].get_xlim() == (1, 2)
    assert zoomed.axes[0].images[0].get_extent()[:2] == [1, 2]
    # What the commands say would tell where uploads lie.
    assert str(tmp_path) not in capsys.readouterr().err + page.text
    # The profile serves in place of clips, and does the same.
    again = page_result.enhance(
        enhancer, [page.profile], [str(source)], 12.0, True, tmp_path / "again"
    )
    np.testing.assert_array_equal(
        soundfile.read(again.items[0].result)[0], soundfile.read(item.result)[0]
    )


def test_what_the_page_refuses(weights: Path, me: Path, tmp_path: Path) -> None:
    enhancer = PersonalizedEnhancer.from_pretrained(weights)
    own, source = str(me.with_name("me.wav")), str(write(tmp_path / "a.flac"))
    soundfile.write(long := tmp_path / "long.wav", np.zeros(8000 * 700), 8000)
    for number, (voices, recordings, text) in enumerate(
        (
            ([], [source], "1 · Voice: nothing yet"),
            ([own], [], "2 · Recordings: nothing yet"),
            ([own], [source] * 21, "21 files; give up to 20"),
            ([own], [str(long)], "^long.wav: 12 minutes"),
            ([own, str(me)], [source], "a profile and 1 other files"),
            ([str(long)], [source], "^long.wav: 700 s"),
        )
    ):
        with pytest.raises(UserError, match=text) as caught:
            page_result.enhance(
                enhancer, voices, recordings, None, False, tmp_path / str(number)
            )
        assert str(tmp_path) not in str(caught.value)


def test_what_the_page_accepts_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for there in (True, False):
        monkeypatch.setattr(page_result.ffmpeg, "available", lambda there=there: there)
        assert (".m4a" in page_result.accepted_suffixes()) == there
        assert ".wav" in page_result.accepted_suffixes()


def test_spectrogram_of_a_tone() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    levels = spectrogram(tone)
    assert levels.shape[0] == 257 and levels.shape[1] <= 1600
    assert (levels[:, 5:-5].argmax(0) == 32).all()
    assert spectrogram(np.zeros(9_600_000)).shape[1] <= 1601
