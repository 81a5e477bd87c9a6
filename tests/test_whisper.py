"""Whisper for scoring: digests, errors in one line; with -m dev the real one."""

import sys

import numpy as np
import pytest
from weights_fixture import voice

from espnet_pse_kd.bin import asr_score
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.metrics.recognition import word_errors
from espnet_pse_kd.recipe import asr, whisper


def tiny(content: bytes) -> whisper.Weights:
    """Weights of one file in two pieces, in the packages of `packages`."""
    import hashlib

    digest = hashlib.sha256(content).hexdigest()
    pieces = {"model.bin": ("pieces_one/a.bin", "pieces_two/data/b.bin")}
    return whisper.Weights(
        ("pieces-one==1", "pieces-two==1"), "pieces_one", {"model.bin": digest}, pieces
    )


@pytest.fixture
def packages(tmp_path, monkeypatch):
    for name, file in (("pieces_one", "a.bin"), ("pieces_two", "data/b.bin")):
        path = tmp_path / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "__init__.py").touch()
        path.write_bytes(file.encode())
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(whisper, "WEIGHTS", {"whisper_test": tiny(b"a.bindata/b.bin")})
    return tmp_path


def test_pieces_are_put_together_and_known_by_their_digest(packages):
    assert whisper.contents("whisper_test") == {"model.bin": b"a.bindata/b.bin"}
    (packages / "pieces_two/data/b.bin").write_bytes(b"data/B.bin")
    with pytest.raises(UserError, match="a.bin: missing, or not .* pieces-one==1 piec"):
        whisper.contents("whisper_test")
    (packages / "pieces_two/data/b.bin").unlink()
    with pytest.raises(UserError, match="data/b.bin: missing, or not the file of"):
        whisper.contents("whisper_test")


def test_a_package_that_is_not_installed(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.setattr(
        whisper.importlib.util, "find_spec", lambda m: None if "wh" in m else m
    )
    with pytest.raises(SystemExit) as status:
        asr_score.main(["--check", "--asr_model", "whisper_tiny"])
    assert status.value.code == 2
    assert capsys.readouterr().err == (
        "error: whisper_tiny: faster_whisper, whisper_normalizer not installed; from a "
        "checkout: pip install '.[wer]'\n"
    )


def test_an_unknown_whisper():
    with pytest.raises(UserError, match="no such Whisper; choose from whisper_tiny, w"):
        asr.check("whisper_huge")


def test_errors_of_an_utterance_count_up_to_all_of_its_words():
    heard = word_errors("one two", "two two two two two")
    assert (heard.words, heard.errors, heard.counted) == (2, 4, 2)
    assert word_errors("one two three", "one").counted == 2
    silent = word_errors("", "who said that")
    assert (silent.words, silent.insertions, silent.counted) == (0, 3, 3)


def test_both_texts_are_normalized():
    counts = word_errors("A", "b", lambda text: {"A": "one two", "b": "one"}[text])
    assert (counts.words, counts.deletions) == (2, 1)


@pytest.mark.dev
@pytest.mark.parametrize("name", whisper.WEIGHTS)
def test_the_real_weights(name):
    pytest.importorskip("faster_whisper")
    heard = asr.load(name)
    assert asr.identity(name).startswith(f"{name} int8 ")
    assert heard([np.zeros(16000, np.float32)]) == [""]
    [text] = heard([voice(2.0)])
    assert isinstance(text, str)
    assert heard.normalize("Mr. TWENTY-ONE, colour!") == "mister 21 color"
