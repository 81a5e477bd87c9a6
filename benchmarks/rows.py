"""Which rows the benchmark has, and how the subject of each is made."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks import environments
from benchmarks.environments import PEERS, Peer, Unavailable
from benchmarks.networks import NETWORKS, SEEDED, TRAINED, config_of, load
from benchmarks.ours import ONNX, STEP, STOCK, WHOLE
from benchmarks.processes import Import, Start, Subject, Worker
from benchmarks.worker import signal, unit_vector
from espnet_pse_kd.audio import SAMPLE_RATE, write_audio
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.band import FULL
from espnet_pse_kd.runtime.profile import Profile, VoiceVector
from espnet_pse_kd.simulation.options import SimulationOptions

Kind = Literal["audio", "training", "start"]

PYTORCH_WHOLE, PYTORCH_STEP = "PyTorch, whole", "PyTorch, step"
FP32, INT8 = "ONNX fp32, streamed", "ONNX int8, streamed"
SPEAKERBEAM = "TD-SpeakerBeam"
IMPORT, HELP, ENHANCE = (
    "import espnet_pse_kd",
    "pse-kd --help",
    "pse-kd enhance, 1 s of audio",
)
DEFAULT = "mingru"
"""The network that the commands run with."""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        kind: what is measured: audio through a network, a step of training, or the
            start of a command.
        name: of the network, peer or command.
        runtime: what runs it; empty where there is no choice.
        make: starts the subject; raises `Unavailable`.
        about: what the driver knows of it: ``weights``, ``revision``.
    """

    kind: Kind
    name: str
    runtime: str
    make: Callable[[], Subject]
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name and runtime."""
        return f"{self.name} ({self.runtime})" if self.runtime else self.name


@dataclass(frozen=True)
class Options:
    """What to run.

    Attributes:
        folder: for files that the rows need.
        only: networks, peers and kinds (``training``, ``start``); empty: everything.
        packed: trained networks by tag: folders or zips.
        peer_source: folder with checkouts of the peers; None: they are cloned.
        batch: samples of a step of training.
    """

    folder: Path
    only: Collection[str] = ()
    packed: Mapping[str, Path] = field(default_factory=dict)
    peer_source: Path | None = None
    batch: int = 4

    def wants(self, name: str) -> bool:
        """Whether a network, peer or kind is to be run."""
        return not self.only or name in self.only


CHOICES = (*NETWORKS, SPEAKERBEAM, *PEERS, "training", "start")
"""What `Options.only` may name."""


def all_rows(options: Options) -> list[Row]:
    """Every row that ``options`` want, in the order of the tables."""
    rows: list[Row] = []
    tags = [tag for tag in NETWORKS if options.wants(tag)]
    for tag in tags:
        rows += network_rows(tag, options)
    if options.wants(SPEAKERBEAM):
        make = _ours(STOCK, "td_speakerbeam")
        rows.append(Row("audio", SPEAKERBEAM, PYTORCH_WHOLE, make, _weights(SEEDED)))
    for peer in PEERS.values():
        if options.wants(peer.name):
            rows += peer_rows(peer, options)
    if options.wants("training"):
        rows += [training_row(tag, options.batch) for tag in tags or NETWORKS]
    if options.wants("start"):
        rows += start_rows(options.folder, options.packed.get(DEFAULT))
    return rows


def network_rows(tag: str, options: Options) -> list[Row]:
    """The four ways to run a network of ours."""
    packed = options.packed.get(tag)
    given = () if packed is None else ("--packed", str(packed))
    about = _weights(SEEDED if packed is None else TRAINED)
    files = {FP32: f"{tag}.onnx", INT8: f"{tag}_int8.onnx"}

    def exported(runtime: str) -> Worker:
        path = options.folder / files[runtime]
        if not path.exists():
            export(tag, packed, *(options.folder / name for name in files.values()))
        return _ours(ONNX, tag, "--onnx", str(path))()

    return [
        Row("audio", tag, PYTORCH_WHOLE, _ours(WHOLE, tag, *given), about),
        Row("audio", tag, PYTORCH_STEP, _ours(STEP, tag, *given), about),
        *(
            Row("audio", tag, runtime, lambda runtime=runtime: exported(runtime), about)
            for runtime in files
        ),
    ]


def export(tag: str, packed: Path | None, fp32: Path, int8: Path) -> None:
    """Write a network as ONNX, in both precisions.

    Raises:
        Unavailable: it cannot be exported.
    """
    from espnet_pse_kd.export import export_student, quantize
    from espnet_pse_kd.speaker import identity_of

    try:
        export_student(load(tag, packed), tag, fp32, identity_of("ge2e"))
        quantize(fp32, int8)
    except UserError as error:
        raise Unavailable(str(error)) from None


def peer_rows(peer: Peer, options: Options) -> list[Row]:
    """The ways to run a peer; each makes its environment if need be."""
    runtimes = {
        "deepfilternet": {"Rust, streamed": ()},
        "hush": {FP32: ()},
        "gtcrn": {PYTORCH_WHOLE: ("whole",), FP32: ("onnx",)},
        "puresound": {PYTORCH_WHOLE: ("whole",), PYTORCH_STEP: ("step",)},
    }[peer.name]
    weights = SEEDED if peer.name == "puresound" else TRAINED

    def row(runtime: str, arguments: tuple[str, ...]) -> Row:
        about = _weights(weights)

        def make() -> Worker:
            python = environments.make(peer)
            source = environments.source(peer, options.peer_source)
            given = () if source is None else ("--source", str(source.resolve()))
            about["version"] = environments.version_of(peer, python, source)
            return Worker(
                str(python), [f"benchmarks.peers.{peer.name}", *arguments, *given]
            )

        return Row("audio", peer.title, runtime, make, about)

    return [row(runtime, arguments) for runtime, arguments in runtimes.items()]


def training_row(tag: str, batch: int) -> Row:
    """Steps of training of a network, with samples as long as the recipe's."""
    command = ["benchmarks.training", str(config_of(tag))]
    command += ["--batch", str(batch), "--seconds", str(SimulationOptions().seconds)]
    return Row("training", tag, "", lambda: Worker(sys.executable, command))


def start_rows(folder: Path, packed: Path | None) -> list[Row]:
    """What a user waits for before anything happens."""
    main = ("-m", "espnet_pse_kd.cli.main")

    def enhance() -> Start:
        model, wave, profile = (folder / name for name in ("m.onnx", "x.wav", "p"))
        export(DEFAULT, packed, model, folder / "unused.onnx")
        write_audio(wave, signal(1.0, SAMPLE_RATE), "FLOAT")
        now = datetime.datetime.now(datetime.UTC).isoformat()
        from espnet_pse_kd.speaker import identity_of

        vector = VoiceVector(identity_of("ge2e"), FULL, unit_vector(256))
        Profile((vector,), 10.0, -25.0, 30.0, now).save(profile)
        files = ("--model", str(model), "--profile", str(profile), "--force")
        output = ("-o", str(folder / "y.wav"), "--no-look-ahead")
        return Start([*main, "enhance", str(wave), *files, *output])

    return [
        Row("start", IMPORT, "", Import),
        Row("start", HELP, "", lambda: Start([*main, "--help"])),
        Row("start", ENHANCE, "", enhance),
    ]


def _ours(*arguments: str) -> Callable[[], Worker]:
    return lambda: Worker(sys.executable, ["benchmarks.ours", *arguments])


def _weights(kind: str) -> dict[str, Any]:
    return {"weights": kind}
