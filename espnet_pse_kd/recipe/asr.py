"""Speech recognition for scoring: one fixed ASR for all rows, trained here or given."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from espnet_pse_kd.audio import read_audio, write_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import atomic_open, audio_state, fingerprint, read_json
from espnet_pse_kd.kaldi import read_table, write_table
from espnet_pse_kd.metrics.recognition import normalize
from espnet_pse_kd.recipe import jobs, whisper
from espnet_pse_kd.recipe.lexicon import Lexicon
from espnet_pse_kd.recipe.zoo import zoo_files
from espnet_pse_kd.utils.progress import progress

CHECKPOINTS = ("valid.loss.best.pth", "valid.acc.ave.pth", "valid.acc.best.pth")
TABLES = ("wav.scp", "text", "utt2dur")
ROOM_SHARE = 0.7
PAUSE_SHARE, PAUSE_SECONDS = 0.5, (0.5, 3.0)
LEXICON = "lexicon"
BATCH_SECONDS = 60.0
SPECIAL = ("<blank>", "<unk>", "<sos/eos>")


def train_asr(
    train: Path,
    valid: Path,
    output: Path,
    config: Path,
    units: int = 150,
    threads: int = 1,
    valid_utterances: int = 100,
    rooms: Path | None = None,
) -> Path:
    """Train ESPnet's CTC ASR on clean speech; a finished training is not repeated.

    The clean row of the tables is the target's image in its room. An ASR that never
    heard a room fails on it (52 % WER on espeak's unseen voices, 11 % on dry speech),
    and one that never heard a long pause loses the words around it. So most of the
    training speech is put into the training rooms, and much of it gets a pause.

    Args:
        train: ``data/train/speech``: ``wav.scp``, ``text``, ``utt2dur``.
        valid: the same of the development speakers.
        output: folder of the experiment; an interrupted training resumes in it.
        config: YAML for ``espnet2.bin.asr_train``.
        units: sentencepiece units; fewer where the text does not yield as many.
        threads: CPU threads; the network is too small to gain from more.
        valid_utterances: the first so many validate.
        rooms: ``data/train/rir/wav.scp``, or None for speech as it is.

    Returns:
        ``output``.

    Raises:
        UserError: a table is missing, no utterance has a transcript, or ESPnet failed.
    """
    tables = [folder / name for folder in (train, valid) for name in TABLES]
    tables += [rooms] if rooms else []
    stamp = fingerprint(
        [config, *tables], {"units": units, "valid_utterances": valid_utterances}
    )
    run = read_json(output / "run.json")
    if run and run.get("inputs") != stamp:
        raise UserError(
            f"{output}: trained on other data or options; remove the folder to "
            "train again, or give another --output"
        )
    if run.get("finished"):
        return output
    sets = output / "data"
    texts = _write_set(train, sets / "train", None, rooms)
    _write_set(valid, sets / "valid", valid_utterances, rooms)
    tokens, model = _train_units(texts, output / "units", units)
    command = _train_command(output, config, sets, tokens, model)
    log = output / "train.log"
    shell = ["sh", "-c", 'log=$1; shift; exec "$@" >> "$log" 2>&1', "sh", str(log)]
    settings = ["env", f"OMP_NUM_THREADS={threads}"]
    if jobs.run(output, log, [*shell, *settings, *command], {"inputs": stamp}):
        raise UserError(
            f"{config}: ESPnet's ASR training failed; see {log}, or give --asr_model"
        )
    return output


def _write_set(
    source: Path, folder: Path, limit: int | None, rooms: Path | None
) -> list[str]:
    """Lay the transcribed part of a data folder out; return its normalised texts."""
    wavs, texts = read_table(source / "wav.scp"), read_table(source / "text")
    seconds = read_table(source / "utt2dur")
    keys = [key for key in wavs if key in texts and normalize(texts[key])]
    if not keys:
        raise UserError(
            f"{source / 'text'}: no utterance of wav.scp has a transcript; "
            "give --asr_model instead"
        )
    keys = keys[:limit]
    wavs = {key: wavs[key] for key in keys}
    samples = {key: round(float(seconds[key]) * 16000) for key in keys}
    if rooms:
        wavs, pauses = _render(wavs, rooms, folder)
        samples = {key: samples[key] + pauses[key] for key in keys}
    write_table(folder / "wav.scp", wavs)
    write_table(folder / "text", {key: normalize(texts[key]) for key in keys})
    write_table(folder / "speech_shape", samples)
    return [normalize(texts[key]) for key in keys]


def _render(
    wavs: dict[str, str], rooms: Path, folder: Path
) -> tuple[dict[str, str], dict[str, int]]:
    """Put utterances into rooms, at the target's position, and pauses into utterances.

    As in the test sets: `ROOM_SHARE` and `PAUSE_SHARE` of them. Written once, since
    ESPnet's own ``rir_scp`` cannot go with its speed perturbation.

    Returns:
        paths, and samples by which each utterance became longer.
    """
    rng = np.random.default_rng(0)
    paths = list(read_table(rooms).values())
    rendered, pauses = dict(wavs), dict.fromkeys(wavs, 0)
    for key in progress(wavs, len(wavs), f"rooms for the ASR's {folder.name} speech"):
        room = paths[rng.integers(len(paths))] if rng.uniform() < ROOM_SHARE else ""
        pause = round(rng.uniform(*PAUSE_SECONDS) * 16000)
        pauses[key] = pause if rng.uniform() < PAUSE_SHARE else 0
        at = rng.uniform(0.15, 0.85)
        if not room and not pauses[key]:
            continue
        rendered[key] = str((folder / "wav" / f"{key}.wav").resolve())
        if not Path(rendered[key]).is_file():
            speech = read_audio(wavs[key])
            if pauses[key]:
                speech = _with_pause(speech, at, pauses[key])
            write_audio(rendered[key], _in_room(speech, room) if room else speech)
    return rendered, pauses


def _with_pause(speech: np.ndarray, at: float, pause: int) -> np.ndarray:
    """Insert ``pause`` samples of silence near ``at`` (0..1) of (samples,)."""
    from espnet_pse_kd.simulation.mixing import insert_pause, quietest

    cut = quietest(speech, int(at * len(speech)))
    return insert_pause(speech, cut, pause)


def _in_room(speech: np.ndarray, room: str) -> np.ndarray:
    import soundfile
    from scipy.signal import fftconvolve

    response, _ = soundfile.read(room, dtype="float32", always_2d=True)
    image = fftconvolve(speech, response[:, 0])[: len(speech)]  # channel 0: the target
    return 0.5 * image / max(float(np.abs(image).max()), 1e-6)


def _train_units(texts: list[str], prefix: Path, units: int) -> tuple[Path, Path]:
    import sentencepiece

    prefix.parent.mkdir(parents=True, exist_ok=True)
    tokens, model = prefix.with_suffix(".tokens"), prefix.with_suffix(".model")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_prefix=str(prefix),
        vocab_size=units,
        model_type="bpe",
        character_coverage=1.0,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    own = [pieces.id_to_piece(k) for k in range(pieces.get_piece_size())]
    vocabulary = [SPECIAL[0], SPECIAL[1], *(p for p in own if p[0] != "<"), SPECIAL[2]]
    with atomic_open(tokens) as file:
        file.write("\n".join(vocabulary) + "\n")
    words = {word for text in texts for word in text.split()}
    spelled = {word: " ".join(pieces.encode(word, out_type=str)) for word in words}
    write_table(prefix.parent / LEXICON, spelled)
    return tokens, model


def _train_command(
    output: Path, config: Path, sets: Path, tokens: Path, model: Path
) -> list[str]:
    # Not -m espnet2.bin.asr_train: the YAML may name our optimizer.
    main = "import espnet_pse_kd, espnet2.bin.asr_train as asr_train; asr_train.main()"
    command = [sys.executable, "-c", main]
    command += ["--config", str(config), "--output_dir", str(output)]
    command += ["--token_type", "bpe", "--token_list", str(tokens)]
    command += ["--bpemodel", str(model), "--ngpu", "0", "--resume", "true"]
    for part in ("train", "valid"):
        name = f"--{part}_data_path_and_name_and_type"
        command += [name, f"{sets / part / 'wav.scp'},speech,sound"]
        command += [name, f"{sets / part / 'text'},text,text"]
        command += [f"--{part}_shape_file", str(sets / part / "speech_shape")]
    return command


class Transcriber(Protocol):
    """What scores words."""

    def __call__(self, signals: list[np.ndarray]) -> list[str]:
        """Transcribe signals (N,) of any lengths; exact silence gives no words."""
        ...

    def normalize(self, text: str, /) -> str:
        """A text as it is compared, reference or transcript."""
        ...


def load(model: str, device: str = "cpu") -> Transcriber:
    """The ASR called ``model``: a key of `whisper.WEIGHTS`, or see `Recognizer`.

    Raises:
        UserError: it is not found, not installed, or does not fit.
    """
    if model in whisper.WEIGHTS:
        return whisper.Whisper(model)
    return Recognizer(model, device)


def check(model: str) -> None:
    """That `load` will find a model, without loading it; a zoo tag is not looked up.

    Raises:
        UserError: it is not found or not installed.
    """
    if model in whisper.WEIGHTS:
        whisper.check(model)
    elif model.startswith("whisper_"):
        known = ", ".join(whisper.WEIGHTS)
        raise UserError(f"--asr_model {model}: no such Whisper; choose from {known}")
    elif Path(model).is_dir() or model.endswith(".pth"):
        _locate(model)


class Recognizer:
    """CTC decoding with an ESPnet ASR, in batches.

    The best path, without a language model: the score then follows the signal, and all
    rows of all systems decode in one process in minutes. An ASR that `train_asr` made
    has its closed vocabulary beside it, and decodes among those words.

    Args:
        model: zoo tag, packed zip, experiment folder, or checkpoint with its
            ``config.yaml`` beside it.
        device: torch device.

    Raises:
        UserError: the model is not found, is no 16 kHz ASR, or has no CTC branch.
    """

    normalize = staticmethod(normalize)

    def __init__(self, model: str, device: str = "cpu") -> None:
        from espnet2.tasks.asr import ASRTask
        from espnet2.text.build_tokenizer import build_tokenizer
        from espnet2.text.token_id_converter import TokenIDConverter

        config, checkpoint = _locate(model)
        self.device = device
        self.model, args = ASRTask.build_model_from_file(config, checkpoint, device)
        self.model.eval()
        if getattr(self.model, "ctc", None) is None:
            raise UserError(f"--asr_model {model}: no CTC branch; give one with CTC")
        rate = str((args.frontend_conf or {}).get("fs", "16k")).replace("k", "000")
        if int(float(rate)) != 16000:
            raise UserError(f"--asr_model {model}: {rate} Hz; give a 16 kHz model")
        self.blank = self.model.blank_id
        self.tokens = TokenIDConverter(token_list=self.model.token_list)
        self.text = build_tokenizer(token_type=args.token_type, bpemodel=args.bpemodel)
        self.lexicon = None
        if (config.parent / LEXICON).is_file():
            spelled = read_table(config.parent / LEXICON)
            ids = {w: self.tokens.tokens2ids(p.split()) for w, p in spelled.items()}
            self.lexicon = Lexicon(ids, self.blank)

    def __call__(self, signals: list[np.ndarray]) -> list[str]:
        """Transcribe signals (N,) of any lengths; exact silence gives no words."""
        import torch

        # ESPnet's recurrent encoders take a batch by falling length only.
        order = sorted(range(len(signals)), key=lambda k: -len(signals[k]))
        lengths = torch.tensor([len(signals[k]) for k in order])
        batch = torch.zeros(len(signals), int(lengths[0]))
        for row, k in zip(batch, order, strict=True):
            row[: len(signals[k])] = torch.as_tensor(signals[k])
        with torch.inference_mode():
            encoded, frames = self.model.encode(
                batch.to(self.device), lengths.to(self.device)
            )[:2]
            posteriors = self.model.ctc.log_softmax(
                encoded[0] if isinstance(encoded, tuple) else encoded
            )  # [B, T, units]
        texts = [""] * len(signals)
        for k, scores, count in zip(order, posteriors, frames, strict=True):
            if np.any(signals[k]):
                texts[k] = self._words(scores[:count].cpu().numpy())
        return texts

    def _words(self, posteriors: np.ndarray) -> str:
        """Text of the best path through log posteriors (T, units)."""
        if self.lexicon is not None:
            return " ".join(self.lexicon.decode(posteriors))
        ids = posteriors.argmax(-1).tolist()
        kept = [k for k, last in zip(ids, [-1, *ids]) if k != last and k != self.blank]
        return self.text.tokens2text(self.tokens.ids2tokens(kept))


def _locate(model: str) -> tuple[Path, Path]:
    """Config and checkpoint of a folder, checkpoint, zip or zoo tag."""
    path = Path(model)
    if path.is_dir():
        for name in CHECKPOINTS:
            if (path / name).is_file() and (path / "config.yaml").is_file():
                return path / "config.yaml", path / name
        raise UserError(
            f"--asr_model {model}: holds no config.yaml with one of "
            f"{', '.join(CHECKPOINTS)}; train it, or name the checkpoint"
        )
    if path.suffix == ".pth":
        if not path.is_file() or not (path.parent / "config.yaml").is_file():
            raise UserError(
                f"--asr_model {model}: it or its config.yaml is missing; "
                "correct the path"
            )
        return path.parent / "config.yaml", path
    files = zoo_files(model, "--asr_model")
    if "asr_model_file" not in files or "asr_train_config" not in files:
        raise UserError(f"--asr_model {model}: packs no ASR; give an ASR model")
    return Path(files["asr_train_config"]), Path(files["asr_model_file"])


def identity(model: str) -> str:
    """What tells one ASR from another: its name and, for a file, size and time."""
    if model in whisper.WEIGHTS:
        return whisper.identity(model)
    path = Path(model)
    if path.is_dir() or path.suffix == ".pth":
        path = _locate(model)[1]
    return model + (audio_state([str(path)]) if path.is_file() else "")


def transcribe(
    recognizer: Transcriber,
    signals: Iterable[tuple[str, np.ndarray]],
    total: int,
    label: str,
) -> dict[str, str]:
    """Transcribe ``(uid, signal)`` pairs in batches of about a minute."""
    texts: dict[str, str] = {}
    for batch in _batches(progress(signals, total, label)):
        uids, waves = zip(*batch, strict=True)
        texts.update(zip(uids, recognizer(list(waves)), strict=True))
    return texts


def _batches(
    signals: Iterable[tuple[str, np.ndarray]],
) -> Iterator[list[tuple[str, np.ndarray]]]:
    batch: list[tuple[str, np.ndarray]] = []
    longest = 0
    for item in signals:
        longest = max(longest, len(item[1]))
        if batch and longest * (len(batch) + 1) > BATCH_SECONDS * 16000:
            yield batch
            batch, longest = [], len(item[1])
        batch.append(item)
    if batch:
        yield batch
