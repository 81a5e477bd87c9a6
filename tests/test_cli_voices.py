"""Voices by name: stored, listed, chosen, removed, and private."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
import soundfile
from cli_fixture import Capture, error_of, pse_kd, write
from weights_fixture import voice, weights

from espnet_pse_kd import PersonalizedEnhancer, Profile
from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.cli.voice_store import VoiceStore
from espnet_pse_kd.runtime.band import FULL
from espnet_pse_kd.runtime.identity import EncoderIdentity
from espnet_pse_kd.runtime.profile import VoiceVector

__all__ = ["weights"]  # fixtures


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VoiceStore:
    """The voices of a user who has none yet."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return VoiceStore()


ENCODER = EncoderIdentity("ge2e", "0" * 16)


def profile(encoder: EncoderIdentity = ENCODER) -> Profile:
    vector = VoiceVector(encoder, FULL, np.eye(1, 256, dtype=np.float32)[0])
    created = "2026-11-28T12:00:00+00:00"
    return Profile((vector,), 12.0, -20.0, 30.0, created, ("me.wav",))


def mode(path: Path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_three_commands(
    weights: Path, store: VoiceStore, tmp_path: Path, capsys: Capture
) -> None:
    """The first voice is the default, its result lies beside the recording."""
    private = tmp_path / "folder of Anna"
    private.mkdir()
    soundfile.write(private / "a.wav", voice(12.0), SAMPLE_RATE)
    assert pse_kd("enroll", "--name", "me", private / "a.wav", model=weights) == 0
    assert "me is the default voice" in capsys.readouterr().out
    meeting = write(tmp_path / "meeting.flac")
    assert pse_kd("enhance", meeting, model=weights) == 0
    assert (tmp_path / "meeting_me.flac").is_file()
    [path] = store.folder.glob("*.profile")
    assert "folder of Anna" not in path.read_text()
    assert mode(path) == 0o600 and mode(store.folder) == 0o700
    # The voice is read: it may not be replaced by a result.
    run = ("enhance", meeting, "-o", path, "--force")
    assert pse_kd(*run, model=weights) == 2
    assert "is an input as well" in error_of(capsys)


def test_a_profile_that_is_a_file_is_private_as_well(
    weights: Path, tmp_path: Path
) -> None:
    soundfile.write(tmp_path / "a.wav", voice(12.0), SAMPLE_RATE)
    made = tmp_path / "me.profile"
    before = os.umask(0)
    try:
        run = ("enroll", tmp_path / "a.wav", "-o", made)
        assert pse_kd(*run, model=weights) == 0
    finally:
        os.umask(before)
    assert mode(made) == 0o600


def test_folder_that_others_could_read_is_closed(store: VoiceStore) -> None:
    store.folder.mkdir(parents=True)
    store.folder.chmod(0o755)
    store.save("me", profile())
    assert mode(store.folder) == 0o700


def test_name_or_file(
    weights: Path,
    store: VoiceStore,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A word with a dot or a slash is a file, any other a voice."""
    monkeypatch.chdir(tmp_path)
    source = write(Path("a.wav"))
    model = PersonalizedEnhancer.from_pretrained(weights).model
    made = profile(model.speaker_encoder)
    store.save("me", made)
    store.save("bert", made)
    made.save("me")
    made.save("own.profile")

    def run(*words: object) -> int:
        return pse_kd("enhance", source, *words, "--force", model=weights)

    assert run("--profile", "bert") == 0 and Path("a_bert.wav").is_file()
    assert run("--profile", "own.profile") == 0 and Path("a_own.wav").is_file()
    store.remove("me")
    assert run("--profile", "me") == 2
    assert error_of(capsys) == "me: no such voice; for the file of that name give ./me"
    assert run("--profile", "./me") == 0 and Path("a_me.wav").is_file()
    assert run("--profile", "anna") == 2
    expected = "anna: no such voice; give --profile and one of bert"
    assert error_of(capsys) == expected
    assert run() == 2
    assert "no default voice; give --profile and one of bert, or" in error_of(capsys)


def test_names_are_taken_once(
    weights: Path, store: VoiceStore, tmp_path: Path, capsys: Capture
) -> None:
    soundfile.write(tmp_path / "a.wav", voice(12.0), SAMPLE_RATE)
    store.save("me", profile())
    run = ("enroll", tmp_path / "a.wav", "--name", "me")
    assert pse_kd(*run, model=weights) == 2
    assert error_of(capsys) == "me: exists; give --force, or another --name"
    assert Profile.load(store.path("me")).level_dbfs == -20.0
    assert pse_kd(*run, "--force", model=weights) == 0
    assert Profile.load(store.path("me")).level_dbfs != -20.0


@pytest.mark.parametrize(
    "name",
    ["", "-x", "_x", "a b", "a.b", "../me", "a/b", "C:x", "nul", "x" * 41, "a\n", "é?"],
)
def test_bad_names(name: str, store: VoiceStore, capsys: Capture) -> None:
    assert pse_kd("enroll", "a.wav", f"--name={name}") == 2
    assert f"{name!r}: no name of a voice; give 1 to 40" in error_of(capsys)
    assert not store.folder.exists()


def test_names_of_any_alphabet_are_one_whatever_their_form(store: VoiceStore) -> None:
    store.save("Ju\u0308rgen", profile())  # as macOS writes it
    assert store.names() == ["J\u00fcrgen"] and store.default() == "J\u00fcrgen"
    assert store.existing("J\u00fcrgen").is_file()


def test_list_show_default_rename_remove(store: VoiceStore, capsys: Capture) -> None:
    assert pse_kd("voices") == 0
    assert "no voice yet; run: pse-kd enroll" in capsys.readouterr().out
    for name in ("me", "bert", "anna"):
        store.save(name, profile())
    store.path("anna").write_text("{}")
    assert pse_kd("voices", "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:] == [
        "  bert  12.0 s of speech, 2026-11-28",
        "* me    12.0 s of speech, 2026-11-28",
    ]
    assert lines[0].startswith("  anna  unusable: ")

    assert pse_kd("voices", "show", "me") == 0
    shown = capsys.readouterr().out
    assert str(store.path("me")) in shown and "of me.wav" in shown
    assert "default: yes" in shown

    assert pse_kd("voices", "default", "bert") == 0
    assert store.default() == "bert"
    assert pse_kd("voices", "rename", "bert", "me") == 2
    assert "me: exists; give another name" in error_of(capsys)
    assert pse_kd("voices", "rename", "bert", "bob") == 0
    assert store.default() == "bob" and store.names() == ["anna", "bob", "me"]

    assert pse_kd("voices", "remove", "anna", "none") == 2
    assert "none: no such voice" in error_of(capsys) and "anna" in store.names()
    capsys.readouterr()
    assert pse_kd("voices", "remove", "anna", "bob") == 0
    assert "choose one: pse-kd voices default NAME" in capsys.readouterr().out
    assert store.names() == ["me"] and store.default() is None
    assert pse_kd("voices", "remove", "me") == 0
    assert not list(store.folder.iterdir())  # nothing of any voice is left


def test_remove_takes_leftovers_with_it(store: VoiceStore) -> None:
    store.save("me", profile())
    left = store.folder / ".me.profile.1.pse_kd.tmp"
    left.write_text("half a profile")
    os.utime(left, (0, 0))
    store.remove("me")
    assert not list(store.folder.iterdir())


def test_second_voice_does_not_become_the_default(store: VoiceStore) -> None:
    store.save("me", profile())
    store.save("bert", profile())
    assert store.default() == "me"
    store.remove("me")
    store.save("anna", profile())
    assert store.default() is None
