"""Fine-tuning of the speaker encoder: pairs, loss, resuming, what it learns."""

from pathlib import Path

import exported
import numpy as np
import pytest
import soundfile as sf
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_speaker import voice

from espnet_pse_kd.bin import finetune_speaker_encoder
from espnet_pse_kd.enrolment_vectors import CLIP_TABLES
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.kaldi import write_table
from espnet_pse_kd.recipe import finetune_encoder
from espnet_pse_kd.recipe.finetune_encoder import (
    Batches,
    FineTuning,
    Options,
    finetune,
)
from espnet_pse_kd.runtime.default_model import ENCODERS
from espnet_pse_kd.runtime.speaker_encoder import OnnxSpeakerEncoder
from espnet_pse_kd.simulation.voices import Voice, person_of
from espnet_pse_kd.speaker import ge2e, load_speaker_encoder
from espnet_pse_kd.speaker.ge2e import GE2E, GE2ENetwork
from espnet_pse_kd.speaker.weights import read_weights

PITCHES = {"ann": 90, "sp1.1-ann": 99, "bob": 130, "cy": 180, "di": 240}
SILENT = "eve"
"""A person whose only mixture holds the interferer alone."""


def noise(count: int, seed: int) -> torch.Tensor:
    return 0.02 * torch.randn(count, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of 2 s mixtures, target in the second half, and two clips per voice."""
    root = tmp_path_factory.mktemp("dump")
    raw, clips = root / "raw" / "train", root / "enroll" / "train"
    tables: dict[str, dict[str, str]] = {
        name: {} for name in finetune_encoder._MIXTURE_TABLES
    }
    enrol: dict[str, dict[str, str]] = {name: {} for name in CLIP_TABLES}
    for folder in (raw, clips):
        folder.mkdir(parents=True)
    for number, speaker in enumerate([*PITCHES, SILENT]):
        uid, pitch = f"mix{number}", PITCHES.get(speaker, 110)
        target = voice(2.0, pitch, seed=number)
        target[:16000] = 0
        if speaker == SILENT:
            target[:] = 0
        mixture = target + noise(32000, number)
        for table, wave in (("wav.scp", mixture), ("spk1.scp", target)):
            path = raw / f"{uid}_{table}.wav"
            sf.write(path, wave.numpy(), 16000, subtype="FLOAT")
            tables[table][uid] = str(path)
        tables["utt2spk"][uid] = speaker
        tables["utt2interf"][uid] = "bob" if speaker == "ann" else "none"
        tables["enroll_id"][uid] = f"*{speaker}-utt0 {speaker}"
        for take in range(2):
            clip = f"{speaker}-enroll{take}"
            path = clips / f"{clip}.wav"
            wave = voice(2.5, pitch, seed=50 + 2 * number + take)
            sf.write(path, wave.numpy(), 16000, subtype="FLOAT")
            enrol["wav.scp"][clip] = str(path)
            enrol["utt2spk"][clip] = speaker
            enrol["utt2source"][clip] = f"{speaker}-utt{take}"
    for folder, group in ((raw, tables), (clips, enrol)):
        for name, table in group.items():
            write_table(folder / name, table)
    return root


@pytest.fixture(scope="module")
def pairs(dump: Path) -> dict[str, list[finetune_encoder.Pair]]:
    return finetune_encoder.read_pairs(
        dump / "raw" / "train", dump / "enroll" / "train"
    )


def options(**changed) -> Options:
    return Options(**{"steps": 4, "batch": 4, "shortest": 60, "longest": 70} | changed)


@given(
    key=st.from_regex(r"[0-9a-z]{1,6}(-[0-9]{1,5})?", fullmatch=True),
    speed=st.sampled_from([0.85, 1.0, 1.08, 2.0]),
    formants=st.sampled_from([0.9, 1.0, 1.11]),
)
def test_a_voice_is_named_after_its_person(
    key: str, speed: float, formants: float
) -> None:
    assert person_of(Voice(speed, formants).named(key)) == key


def test_pairs_are_by_person_and_of_other_recordings(pairs) -> None:
    assert sorted(pairs) == ["ann", "bob", "cy", "di", "eve"]
    assert len(pairs["ann"]) == 2  # her own voice and the faster one
    for pair in pairs["ann"]:
        assert [Path(clip).stem[-7:] for clip in pair.clips] == ["enroll1"]


def test_too_few_persons_are_refused(dump: Path, pairs, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--batch 64: there are 5 persons"):
        Batches(pairs, Options())
    write_table(tmp_path / "wav.scp", {"mix0": "mix0.wav"})
    with pytest.raises(UserError, match=r"spk1\.scp"):
        finetune_encoder.read_pairs(tmp_path, dump / "enroll" / "train")


def test_windows_hold_the_target(pairs) -> None:
    """Each window lies in the second half, where the voices are; noise is 30 dB down.

    A window of the first half would be noise alone.
    """
    batch = Batches(pairs, options()).batch(3)
    frames, persons, bands = batch.windows.shape
    assert 60 <= frames <= 70 and persons == 4 and bands == 40  # without the silent one
    power = batch.windows.mean((0, 2))
    assert (power > 30 * batch.windows.flatten().quantile(0.01)).all()
    assert batch.enrolments.shape == (160, 4, 40)


def test_a_batch_is_drawn_from_seed_and_number_alone(pairs) -> None:
    first, again = (Batches(pairs, options()).batch(2) for _ in range(2))
    other = Batches(pairs, options(seed=1)).batch(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert first.windows.shape != other.windows.shape or not torch.equal(
        first.windows, other.windows
    )
    streamed = list(Batches(pairs, options()).stream(1, 4))
    assert len(streamed) == 3 and torch.equal(streamed[1].windows, first.windows)


def test_the_rival_is_no_negative(pairs) -> None:
    batches = Batches(pairs, options())
    seen = 0
    for number in range(8):
        batch = batches.batch(number)
        seen += int(batch.ignored.sum())
        assert not batch.ignored.diagonal().any()
    assert seen  # ann's mixtures have bob as interferer
    cosines = torch.eye(3).requires_grad_()
    ignored = torch.zeros(3, 3, dtype=torch.bool)
    ignored[0, 1] = True
    loss, found = finetune_encoder.contrastive_loss(
        torch.eye(3), cosines, torch.tensor(5.0), ignored
    )
    loss.backward()
    assert found == 1
    assert cosines.grad is not None
    # Window 0 is e0: what it asks of enrolment 1 is that column's first entry.
    assert cosines.grad[1, 0] == 0 != cosines.grad[2, 0]


def test_loss_prefers_the_own_enrolment() -> None:
    none, scale = torch.zeros(4, 4, dtype=torch.bool), torch.tensor(10.0)
    right, _ = finetune_encoder.contrastive_loss(
        torch.eye(4), torch.eye(4), scale, none
    )
    wrong, found = finetune_encoder.contrastive_loss(
        torch.eye(4), torch.eye(4).roll(1, 0), scale, none
    )
    assert right < 0.01 < 5 < wrong and found == 0


def test_weights_survive_the_published_names() -> None:
    from safetensors.torch import load

    network = GE2E().trainable()
    copy = GE2ENetwork()
    copy.load_published(load(network.published_bytes()))
    for a, b in zip(network.parameters(), copy.parameters()):
        assert b.dtype == torch.float32
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-6)


def test_the_packages_own() -> None:
    """Its vectors are unit vectors near the published ones, and another encoder's."""
    published, own = (load_speaker_encoder(n) for n in ("ge2e", "ge2e_robust"))
    assert (own.name, own.dim) == ("ge2e_robust", published.dim)
    a, b = (e.embed(voice(3.0, 120)) for e in (published, own))
    assert float(b.norm()) == pytest.approx(1, abs=1e-5)
    assert 0.2 < float(a @ b) < 0.999


def test_torch_and_the_light_runtime_read_one_file() -> None:
    own = load_speaker_encoder("ge2e_robust")
    light = OnnxSpeakerEncoder(ENCODERS["ge2e_robust"])
    wave = voice(2.0, 150)
    assert light.identity == (own.name, own.digest)
    np.testing.assert_allclose(light.embed(wave.numpy()), own.embed(wave), atol=1e-5)


def test_published_weights_survive_export_to_the_bit() -> None:
    """They need 32 bits, unlike the package's own."""
    kept = read_weights(ge2e.WEIGHTS["ge2e"])
    exported_ones = read_weights(exported.speaker_encoder())
    assert kept.keys() == exported_ones.keys()
    for name, tensor in kept.items():
        assert torch.equal(tensor, exported_ones[name]), name


def test_unreadable_weights_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(ENCODERS["ge2e_robust"].read_bytes()[:-100])
    for path in (broken, tmp_path / "none.onnx", tmp_path / "none.safetensors"):
        with pytest.raises(UserError, match=path.name):
            GE2E("ge2e_robust", path)


def test_it_resumes_where_it_was_interrupted(
    pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune_encoder, "_EVERY", 2)
    whole = finetune(Batches(pairs, options()), None, tmp_path / "whole")
    broken = Batches(pairs, options())
    real, calls = FineTuning.learn, []

    def interrupted(self, batch):
        calls.append(batch)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(FineTuning, "learn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        finetune(broken, None, tmp_path / "parts")
    assert not (tmp_path / "parts" / finetune_encoder.WEIGHTS).exists()
    monkeypatch.setattr(FineTuning, "learn", real)
    parts = finetune(broken, None, tmp_path / "parts")
    assert parts.read_bytes() == whole.read_bytes()
    with pytest.raises(UserError, match=r"checkpoint\.pt: begun with"):
        finetune(Batches(pairs, options(lr=1e-3)), None, tmp_path / "parts")


def test_it_learns_to_tell_the_persons_apart(pairs) -> None:
    batches = Batches(pairs, options(steps=25))
    tuning = FineTuning(batches.options)
    with torch.no_grad():
        before = np.mean([tuning.loss(batches.batch(k))[0].item() for k in range(5)])
    for number in range(20):
        tuning.learn(batches.batch(number))
    with torch.no_grad():
        after = np.mean([tuning.loss(batches.batch(k))[0].item() for k in range(5)])
    assert after < 0.6 * before


def test_command(
    dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = tmp_path / "encoder.onnx"
    arguments = f"--dump_dir {dump} --valid_set train --onnx {onnx}"
    arguments += " --steps 2 --batch 3 --output"
    finetune_speaker_encoder.main([*arguments.split(), str(tmp_path)])
    assert capsys.readouterr().out.splitlines()[-1] == str(
        tmp_path / finetune_encoder.WEIGHTS
    )
    assert OnnxSpeakerEncoder(onnx).identity.name == "ge2e_robust"
    assert onnx.stat().st_size < 3e6  # 16 bits, as the weights in safetensors
    assert (tmp_path / "record.json").is_file()
    assert "valid_loss" in (tmp_path / "log.jsonl").read_text()
