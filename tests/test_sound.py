"""Sound in and out: every format, block by block, compared with what ffmpeg decodes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from weights_fixture import voice

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.sound import ffmpeg
from espnet_pse_kd.sound.formats import Format, output_format
from espnet_pse_kd.sound.reading import PipedInput, open_sound, read_mono
from espnet_pse_kd.sound.writing import write_pipe, write_sound

needs_ffmpeg = pytest.mark.skipif(
    not ffmpeg.available(), reason="needs ffmpeg on the PATH"
)


@pytest.fixture
def no_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that has none."""
    monkeypatch.setattr(ffmpeg, "available", lambda: False)


def convert(given: Path, made: Path, *options: str) -> Path:
    """Convert with ffmpeg."""
    words = ["ffmpeg", "-y", "-v", "error", "-i", str(given), *options, str(made)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    return made


def decoded(path: Path, channels: int) -> np.ndarray:
    """What ffmpeg hears in a file: (n, channels)."""
    words = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:a:0"]
    run = subprocess.run([*words, "-f", "f32le", "-"], capture_output=True, check=True)
    return np.frombuffer(run.stdout, "<f4").reshape(-1, channels)


def streams(path: Path) -> list[dict]:
    """What ffprobe says of the streams in a file."""
    words = ["ffprobe", "-v", "error", "-of", "json", "-show_streams", str(path)]
    run = subprocess.run(words, capture_output=True, check=True)
    return json.loads(run.stdout)["streams"]


def read(path: Path) -> np.ndarray:
    """All blocks of a file."""
    with open_sound(path) as sound:
        return np.concatenate(list(sound.blocks()))


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven seconds in stereo at 48 kHz."""
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    wave = np.repeat(voice(7.0), 3)
    noise = 0.003 * np.random.default_rng(0).standard_normal((len(wave), 2))
    soundfile.write(path, wave[:, None] * [1.0, 0.7] + noise, 48000)
    return path


@pytest.fixture(scope="module")
def meeting(speech: Path) -> Path:
    """A video of seven seconds, with title and artist."""
    path = speech.with_name("meeting.mp4")
    picture = ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=25:duration=7"]
    codecs = ["-c:v", "mpeg4", "-c:a", "aac", "-map", "1:v", "-map", "0:a"]
    tags = ["-metadata", "title=Meeting", "-metadata", "artist=Anna"]
    return convert(speech, path, *picture, *codecs, *tags)


# MP3: no clicks at the borders of blocks

MP3 = {
    "lame CBR 44.1 kHz stereo": "-c:a libmp3lame -ar 44100 -b:a 128k",
    "lame VBR 48 kHz stereo": "-c:a libmp3lame -ar 48000 -q:a 4",
    "lame ABR 22 kHz mono": "-c:a libmp3lame -ar 22050 -ac 1 -abr 1 -b:a 64k",
    "lame CBR 16 kHz mono": "-c:a libmp3lame -ar 16000 -ac 1 -b:a 32k",
    "lame 320 without joint stereo": "-c:a libmp3lame -b:a 320k -joint_stereo 0",
    "lame 8 kHz": "-c:a libmp3lame -ar 8000 -ac 1 -b:a 16k",
    "CBR of unknown length": "-c:a libmp3lame -ar 44100 -b:a 96k -write_xing 0",
    "VBR of unknown length": "-c:a libmp3lame -q:a 5 -write_xing 0",
    "shine": "-c:a libshine -ar 44100 -b:a 128k",
}


@needs_ffmpeg
@pytest.mark.parametrize("case", MP3)
def test_mp3_is_what_ffmpeg_decodes(case: str, speech: Path, tmp_path: Path) -> None:
    options = MP3[case].split()
    if options[1] not in ffmpeg.encoders():
        pytest.skip(f"this ffmpeg has no {options[1]}")
    path = convert(speech, tmp_path / "a.mp3", *options)
    found = read(path)
    expected = decoded(path, found.shape[1])
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_without_clicks(mode: str, tmp_path: Path, no_ffmpeg: None) -> None:
    """What several reads give is what one gives, after which nothing is sought."""
    path = tmp_path / "a.mp3"
    wave = np.repeat(voice(5.0), 3)
    soundfile.write(path, wave, 48000, bitrate_mode=mode, compression_level=0.5)
    expected, _ = soundfile.read(path, dtype="float32", always_2d=True)
    np.testing.assert_allclose(read(path), expected, atol=1e-6)


@needs_ffmpeg
def test_mp3_of_unknown_length_without_ffmpeg(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libsndfile stops where it guesses the end; that this was too early is noticed."""
    names = ("CBR of unknown length", "VBR of unknown length")
    for name in names:
        convert(speech, tmp_path / f"{name[:3]}.mp3", *MP3[name].split())
    expected = decoded(tmp_path / "CBR.mp3", 2)
    monkeypatch.setattr(ffmpeg, "available", lambda: False)
    np.testing.assert_allclose(read(tmp_path / "CBR.mp3"), expected, atol=1e-5)
    # A loud beginning, so that the first frames are larger than those that follow.
    wave = np.concatenate([np.random.default_rng(0).normal(0, 0.1, 48000), np.zeros(9)])
    soundfile.write(tmp_path / "a.wav", np.pad(wave, (0, 48000 * 20)), 48000)
    vbr = convert(tmp_path / "a.wav", tmp_path / "b.mp3", *MP3[names[1]].split())
    with pytest.raises(UserError, match="lacks the length.*install ffmpeg"):
        read(vbr)


# What cannot seek, and what cannot be right


def test_gsm(tmp_path: Path) -> None:
    """Voicemail; libsndfile cannot seek in it."""
    path = tmp_path / "a.wav"
    soundfile.write(path, voice(3.0)[::2], 8000, subtype="GSM610")
    with soundfile.SoundFile(path) as file:
        assert not file.seekable()
    expected, _ = soundfile.read(path, frames=8000 * 3, dtype="float32")
    found = read(path)[:, 0]
    np.testing.assert_array_equal(found[: len(expected)], expected)
    assert len(read_mono(path, 16000, (1.0, 2.0))) == 16000


@pytest.mark.parametrize("rate", [0, 1, 999, 1_000_001, 2147483647])
def test_absurd_rates(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, voice(1.0), 16000)
    content = bytearray(path.read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match="a.wav: "):
        read(path)


def test_highest_rate(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.zeros(3_000_000), 1_000_000)
    assert len(read(path)) == 3_000_000


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.wav"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(UserError, match="a pipe or device, not a file; give -"):
            read(path)
    with pytest.raises(UserError, match="'.': no name of a file"):
        read(Path(""))


def test_parts(speech: Path) -> None:
    whole = read(speech)
    with open_sound(speech) as sound:
        for start, end in ((0.0, 0.5), (0.5, 1.0), (0.9, 3.1), (6.5, 7.0), (6.5, 99.0)):
            blocks = list(sound.blocks(start, end))
            part = whole[round(start * 48000) : round(end * 48000)]
            np.testing.assert_array_equal(np.concatenate(blocks), part)
            assert all(0 < len(block) <= 48000 for block in blocks)
        assert not list(sound.blocks(2.0, 2.000001))
        np.testing.assert_array_equal(np.concatenate(list(sound.blocks())), whole)


# What ffmpeg reads

PHONE = {
    "a.m4a": "-c:a aac -ar 44100 -ac 1 -b:a 64k",
    "a.aac": "-c:a aac -ar 44100",
    "a.webm": "-c:a libopus",
    "a.mka": "-c:a flac",
    "a.wma": "-c:a wmav2",
    "a.3gp": "-c:a aac -ar 16000 -ac 1",
    "a.mov": "-c:a pcm_s16le",
    "a.ac3": "-c:a ac3",
    "-a.m4a": "-c:a alac",
    "odd: 'name' %d.m4a": "-c:a aac",
}


@needs_ffmpeg
@pytest.mark.parametrize("name", PHONE)
def test_ffmpeg_reads(
    name: str, speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    convert(speech, tmp_path / f"x{Path(name).suffix}", *PHONE[name].split())
    (tmp_path / f"x{Path(name).suffix}").rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    found = read(Path(name))
    expected = decoded(tmp_path / name, found.shape[1])
    np.testing.assert_array_equal(found, expected)
    with open_sound(name) as sound:
        assert sound.seconds == pytest.approx(7.0, abs=0.1)
        part = np.concatenate(list(sound.blocks(1.5, 2.5)))
    rate = sound.format.rate
    np.testing.assert_array_equal(part, expected[round(1.5 * rate) :][: len(part)])
    assert len(part) == round(2.5 * rate) - round(1.5 * rate)


@needs_ffmpeg
def test_flac_of_unknown_length(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    soundfile.write(path, voice(3.0), 16000)
    expected = read(path)
    content = bytearray(path.read_bytes())
    content[22:26] = bytes(4)
    path.write_bytes(content)
    np.testing.assert_array_equal(read(path), expected)


def test_without_ffmpeg_one_line_says_how_to_get_it(
    tmp_path: Path, no_ffmpeg: None
) -> None:
    (tmp_path / "a.m4a").write_bytes(b"anything")
    with pytest.raises(UserError, match=r"a.m4a: .m4a needs ffmpeg.*install ffmpeg"):
        read(tmp_path / "a.m4a")
    form = Format(16000, 1, "ipod", "aac")
    with (
        pytest.raises(UserError, match="b.m4a: .m4a needs ffmpeg"),
        write_sound(tmp_path / "b.m4a", form),
    ):
        raise AssertionError("nothing is to be written")
    assert not (tmp_path / "b.m4a").exists()


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.m4a", b"text " * 999),
        ("a.mp4", b"#EXTM3U\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"),
        ("a.mka", b"ffconcat version 1.0\nfile secret.wav\n"),
        ("a.ts", b"\0" * 9999),
    ],
)
def test_what_ffmpeg_may_not_read(name: str, content: bytes, tmp_path: Path) -> None:
    """Least of all lists of other files, which could be anybody's."""
    soundfile.write(tmp_path / "secret.wav", voice(1.0), 16000)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}: (not a readable|no sound)"):
        read(tmp_path / name)


@needs_ffmpeg
def test_truncated_m4a(speech: Path, tmp_path: Path) -> None:
    options = ("-c:a", "aac", "-movflags", "faststart")
    path = convert(speech, tmp_path / "a.m4a", *options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="a.m4a: (truncated|damaged)"):
        read(path)
    whole = convert(speech, tmp_path / "b.m4a", "-c:a", "aac")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(UserError, match="not a readable sound file"):
        read(whole)


@needs_ffmpeg
def test_a_picture_without_sound(meeting: Path, tmp_path: Path) -> None:
    silent = convert(meeting, tmp_path / "a.mp4", "-an", "-c:v", "copy")
    with pytest.raises(UserError, match="no sound in it"):
        read(silent)


# What is written


def enhanced(source: Path, output: Path, gain: float = 0.5) -> Path:
    """Write a file like another, but quieter."""
    with open_sound(source) as sound:
        form = output_format(sound.format, source, output)
        with write_sound(output, form, like=sound) as write:
            for block in sound.blocks():
                write(gain * block)
    return output


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "a.webm", "a.mka", "a.mov"])
def test_ffmpeg_writes_what_it_read(name: str, speech: Path, tmp_path: Path) -> None:
    source = convert(speech, tmp_path / name, *PHONE[name].split())
    output = enhanced(source, tmp_path / f"out_{name}")
    before, after = decoded(source, 1), decoded(output, 1)
    [given], [made] = streams(source), streams(output)
    for field in ("codec_name", "sample_rate", "channels"):
        assert made[field] == given[field]
    assert abs(len(before) - len(after)) <= 2048 * given["channels"]
    length = min(len(before), len(after))
    error = after[:length] - 0.5 * before[:length]
    assert np.std(error) < 0.2 * np.std(0.5 * before)
    assert not list(tmp_path.glob(".*"))


@needs_ffmpeg
def test_a_video_keeps_its_picture_and_tags(meeting: Path, tmp_path: Path) -> None:
    output = enhanced(meeting, tmp_path / "out.mp4")

    def pictures(path: Path) -> bytes:
        words = ["ffmpeg", "-v", "error", "-i", str(path), "-map", "0:v", "-c", "copy"]
        words += ["-f", "md5", "-"]
        return subprocess.run(words, capture_output=True, check=True).stdout

    assert pictures(output) == pictures(meeting)
    assert {s["codec_type"] for s in streams(output)} == {"video", "audio"}
    found = ffmpeg.probe(output)
    assert found.tags["title"] == "Meeting" and found.tags["artist"] == "Anna"
    np.testing.assert_allclose(found.seconds, ffmpeg.probe(meeting).seconds, atol=0.05)


@needs_ffmpeg
@pytest.mark.parametrize("offset", [0.0, 0.6])
@pytest.mark.parametrize(("suffix", "slack"), [("mp4", 0.002), ("mkv", 0.025)])
def test_sound_and_picture_stay_in_step(
    suffix: str, slack: float, offset: float, tmp_path: Path
) -> None:
    """Also where the sound begins later than the picture.

    ffmpeg's own AAC begins a frame late in Matroska, which has no place to say so.
    """
    given, made = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    click = np.zeros(5 * 48000)
    click[2 * 48000 : 2 * 48000 + 480] = 0.5
    soundfile.write(tmp_path / "click.wav", click, 48000)
    picture = ["-f", "lavfi", "-i", "testsrc=size=160x120:rate=25:duration=5"]
    words = ["ffmpeg", "-v", "error", *picture, "-itsoffset", str(offset)]
    words += ["-i", str(tmp_path / "click.wav"), "-map", "0:v", "-map", "1:a"]
    words += ["-c:v", "mpeg4", "-c:a", "aac", str(given)]
    subprocess.run(words, check=True)
    found = []
    for path in (given, enhanced(given, made, gain=1.0)):
        wave = convert(path, tmp_path / "c.wav", "-af", "aresample=async=1:first_pts=0")
        samples, _ = soundfile.read(wave)
        found.append(np.flatnonzero(np.abs(samples) > 0.15)[0] / 48000)
    assert found[0] == pytest.approx(2.0 + offset, abs=0.025)
    assert found[1] == pytest.approx(found[0], abs=slack)


@needs_ffmpeg
def test_sound_of_a_video_alone(meeting: Path, tmp_path: Path) -> None:
    for name in ("out.m4a", "out.wav", "out.flac", "out.mp3", "out.opus"):
        output = enhanced(meeting, tmp_path / name)
        assert [s["codec_type"] for s in streams(output)] == ["audio"]
        assert ffmpeg.probe(output).tags["title"] == "Meeting"


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.aiff", "a.mp3"])
def test_tags_are_kept(name: str, tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / name, "w", 16000, 1) as file:
        file.title, file.artist = "Frühstück", "Anna"
        file.write(voice(2.0))
    enhanced(tmp_path / name, tmp_path / f"out_{name}")
    with soundfile.SoundFile(tmp_path / f"out_{name}") as file:
        assert file.title == "Frühstück" and file.artist == "Anna"


@needs_ffmpeg
def test_ffmpeg_that_fails_leaves_nothing(tmp_path: Path) -> None:
    form = Format(16000, 30, "ipod", "aac")  # more channels than AAC has
    with (
        pytest.raises(UserError, match="b.m4a: cannot be written .ffmpeg: "),
        write_sound(tmp_path / "b.m4a", form) as write,
    ):
        for _ in range(99):
            write(np.zeros((16000, 30), np.float32))
    unknown = Format(16000, 1, "ipod", "no_codec")
    with (
        pytest.raises(UserError, match="writes no no_codec"),
        write_sound(tmp_path / "b.m4a", unknown),
    ):
        pass
    assert not list(tmp_path.iterdir())


# Pipes


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_wav_through_pipes(
    subtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    soundfile.write(path, np.stack([voice(2.0)] * 2, 1), 16000, subtype=subtype)
    expected = read(path)
    reader, writer = os.pipe()

    def feed() -> None:
        with open(writer, "wb") as pipe:
            pipe.write(path.read_bytes())

    thread = threading.Thread(target=feed)
    thread.start()
    out = io.BytesIO()
    with open(reader, "rb") as pipe:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(pipe))
        given = PipedInput()
        with write_pipe(given.format, out) as write:
            blocks = list(given.blocks())
            for block in blocks:
                write(block)
    thread.join()
    assert max(map(len, blocks)) <= 1600
    (tmp_path / "b.wav").write_bytes(out.getvalue())
    np.testing.assert_array_equal(read(tmp_path / "b.wav"), expected)


def test_standard_input_may_be_any_file(
    speech: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flac = tmp_path / "a.flac"
    soundfile.write(flac, soundfile.read(speech)[0], 48000)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with open(flac, "rb") as pipe:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(pipe))
        np.testing.assert_array_equal(read(Path("-")), read(flac))
    assert [path.name for path in tmp_path.iterdir()] == ["a.flac"]
