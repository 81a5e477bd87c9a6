"""The two trainings, as ESPnet tasks: personal VAD and personalized enhancement.

They differ from ESPnet's target speaker extraction in their data (an enrolment is the
name of a vector), in their models, in surviving SIGKILL, and in refusing at the start
what would go unnoticed or fail late.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from espnet2.iterators.abs_iter_factory import AbsIterFactory
from espnet2.tasks.enh import (
    criterion_choices,
    decoder_choices,
    encoder_choices,
    loss_wrapper_choices,
)
from espnet2.tasks.enh_tse import TargetSpeakerExtractionTask, extractor_choices
from espnet2.torch_utils.initialize import initialize
from espnet2.train.class_choices import ClassChoices
from espnet2.train.distributed_utils import get_rank
from espnet2.utils.nested_dict_action import NestedDictAction
from espnet2.utils.types import str2bool, str_or_none

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.enrolment_vectors import EnrolmentVectors
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.config_parser import ConfigParser
from espnet_pse_kd.espnet.enh_model import ESPnetPSEModel
from espnet_pse_kd.espnet.loading import load_parameters
from espnet_pse_kd.espnet.mixing import dynamic_mixing, mixture_iterator
from espnet_pse_kd.espnet.options import build, check_keys, choose, defaults_of
from espnet_pse_kd.espnet.preprocessor import EpochIterFactory, PSEPreprocessor
from espnet_pse_kd.espnet.pvad_model import ESPnetPVADModel
from espnet_pse_kd.espnet.task_checks import (
    check_data,
    check_devices,
    check_iterators,
    check_resumption,
    require,
)
from espnet_pse_kd.espnet.trainer import ResumableTrainer, fork, mend
from espnet_pse_kd.gate import Gate
from espnet_pse_kd.nets.personal_vad import PersonalVAD
from espnet_pse_kd.utils.yamls import read_yaml

_INITIALIZATIONS = (
    "xavier_uniform",
    "xavier_normal",
    "kaiming_uniform",
    "kaiming_normal",
    "normal",
)  # what ESPnet's `initialize` knows; releases before 202611 do not list them
TEACHER_HOP = 160
"""Samples between the frames of a teacher: 10 ms."""

pvad_choices = ClassChoices(
    "pvad", {"personal_vad": PersonalVAD}, default="personal_vad"
)


class _EnrolmentTask(TargetSpeakerExtractionTask):
    """What both trainings share: data with enrolment vectors, checks, resumption."""

    trainer = ResumableTrainer

    @classmethod
    def get_parser(cls) -> ConfigParser:
        """ESPnet's options; the YAML of ``--config`` may have a ``base``."""
        parser = super().get_parser()
        parser.__class__ = ConfigParser  # ESPnet names the class of its parser there
        return parser

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Options of both tasks; ESPnet's dynamic mixing options have no place here."""
        group = parser.add_argument_group("Task related")
        group.add_argument(
            "--init",
            type=lambda x: str_or_none(x.lower()),
            default=None,
            choices=[*_INITIALIZATIONS, None],
            help="The initialization method",
        )
        group.add_argument(
            "--model_conf",
            action=NestedDictAction,
            default=cls.model_defaults(),
            help="The keyword arguments for model class.",
        )
        group.add_argument(
            "--sample_rate",
            type=int,
            default=SAMPLE_RATE,
            help="Sampling rate of the data (in Hz).",
        )
        group.add_argument(
            "--fork_checkpoint",
            type=str_or_none,
            default=None,
            help="checkpoint.pth of another training to continue from, with its "
            "optimizer and data order; implies --resume true, and does nothing where "
            "--output_dir holds a checkpoint of its own",
        )
        group.add_argument(
            "--dynamic_mixing",
            action=NestedDictAction,
            default={},
            help="Draw every training sample anew instead of reading it: data, "
            "samples (per epoch), seed, vector_noise, interpolation, options (of the "
            "simulation)",
        )
        for split in ("train", "valid"):
            group.add_argument(
                f"--{split}_enroll_vectors",
                type=str_or_none,
                default=None,
                help=f"vectors.npz of the enrolment clips that the {split} data name",
            )
        for choices in cls.class_choices_list:
            choices.add_arguments(group)

    @classmethod
    def model_defaults(cls) -> dict[str, Any]:
        """Arguments of the model class that a YAML may set, with their defaults."""
        raise NotImplementedError

    @classmethod
    def optional_data_names(
        cls, train: bool = True, inference: bool = False
    ) -> tuple[str, ...]:
        """Data that the task can use but does not need."""
        return ("interf_ref1", "window_vectors")

    @classmethod
    def check_required_command_args(cls, args: argparse.Namespace) -> None:
        """Refuse bad options before anything is built, then mend the output folder."""
        super().check_required_command_args(args)
        check_iterators(args)
        check_devices(args)
        check_resumption(args)
        check_data(args)
        cls.check_model_options(args)
        if args.fork_checkpoint is not None:
            args.resume = True
        # Of several processes of a launcher only the first writes.
        if get_rank(args.dist_rank, args.dist_launcher) not in (None, 0):
            return
        if args.fork_checkpoint is not None:
            fork(Path(args.fork_checkpoint), Path(args.output_dir))
        if args.resume:
            mend(Path(args.output_dir), args.best_model_criterion)

    @classmethod
    def check_model_options(cls, args: argparse.Namespace) -> None:
        """Raise `UserError` for options that the task's model would refuse."""
        raise NotImplementedError

    @classmethod
    def build_preprocess_fn(
        cls, args: argparse.Namespace, train: bool
    ) -> Callable[[str, dict[str, np.ndarray]], dict[str, np.ndarray]]:
        """`PSEPreprocessor` with the split's enrolment vectors."""
        path = args.train_enroll_vectors if train else args.valid_enroll_vectors
        return PSEPreprocessor(train, EnrolmentVectors.load(path), args.seed)

    @classmethod
    def build_sequence_iter_factory(
        cls, args: argparse.Namespace, iter_options: Any, mode: str
    ) -> AbsIterFactory:
        """ESPnet's iterators, with the epoch made known to the preprocessor.

        The training set may be mixed on the way, see `simulation.dynamic`.
        """
        conf = dynamic_mixing(args) if mode == "train" else None
        if conf is not None:
            return mixture_iterator(args, conf, iter_options)
        factory = super().build_sequence_iter_factory(args, iter_options, mode)
        return EpochIterFactory(factory, iter_options.preprocess_fn)


class PersonalVADTask(_EnrolmentTask):
    """Training of the teacher."""

    class_choices_list = [pvad_choices]

    @classmethod
    def model_defaults(cls) -> dict[str, Any]:
        return defaults_of(ESPnetPVADModel, hidden=("pvad",))

    @classmethod
    def check_model_options(cls, args: argparse.Namespace) -> None:
        pvad = _build_pvad(args)
        if pvad.uses_scores:
            require(args, "window_vectors", "pvad_conf conditioning st or set")
        require(args, "interf_ref1", "the labels")

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> ESPnetPVADModel:
        """Build the personal VAD from ``--pvad``, ``--pvad_conf``, ``--model_conf``."""
        pvad = _build_pvad(args)
        model = build("model_conf", ESPnetPVADModel, args.model_conf, pvad=pvad)
        if args.init is not None:
            initialize(model, args.init)
        return model


class PSETask(_EnrolmentTask):
    """Training of the student, with or without a gate."""

    class_choices_list = [encoder_choices, extractor_choices, decoder_choices]

    @classmethod
    def add_task_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Options of this task beside those of both."""
        super().add_task_arguments(parser)
        group = parser.add_argument_group("Distillation related")
        group.add_argument(
            "--criterions",
            action=NestedDictAction,
            default=[
                {
                    "name": "plcpa",
                    "conf": {},
                    "wrapper": "gated",
                    "wrapper_conf": {"weight": 1.0},
                }
            ],
            help="The criterions binded with the loss wrappers.",
        )
        group.add_argument(
            "--gate_conf",
            action=NestedDictAction,
            default=dataclasses.asdict(Gate()),
            help="The keyword arguments for the gate on the loss frames.",
        )
        group.add_argument(
            "--teacher_train_config",
            type=str_or_none,
            default=None,
            help="config.yaml of the personal VAD that the gate asks",
        )
        group.add_argument(
            "--teacher_model_file",
            type=str_or_none,
            default=None,
            help="Model parameter file of the personal VAD",
        )
        group.add_argument(
            "--cpu_bfloat16",
            type=str2bool,
            default=False,
            help="On a CPU with bfloat16 instructions, train with the network's "
            "matrix products in it (on a GPU: --use_amp)",
        )

    @classmethod
    def model_defaults(cls) -> dict[str, Any]:
        hidden = (
            "encoder",
            "extractor",
            "decoder",
            "loss_wrappers",
            "gate",
            "cpu_bfloat16",
        )
        return defaults_of(ESPnetPSEModel, hidden)

    @classmethod
    def check_model_options(cls, args: argparse.Namespace) -> None:
        gate = build("gate_conf", Gate, args.gate_conf)
        _build_loss_wrappers(args.criterions)
        if gate.mode != "none":
            require(args, "interf_ref1", f"gate_conf mode {gate.mode}", ("train",))
        if not gate.needs_teacher:
            return
        teacher = _build_teacher(args, gate)
        if teacher.uses_window_vectors:
            require(args, "window_vectors", "the teacher", ("train",))

    @classmethod
    def build_model(cls, args: argparse.Namespace) -> ESPnetPSEModel:
        """Build the student, and load the teacher if the gate needs one."""
        gate = build("gate_conf", Gate, args.gate_conf)
        encoder = build(
            "encoder_conf",
            choose(encoder_choices, args.encoder),
            args.encoder_conf,
        )
        extractor_class = choose(extractor_choices, args.extractor)
        extractor = build(
            "extractor_conf",
            extractor_class,
            args.extractor_conf,
            input_dim=encoder.output_dim,
        )
        decoder = build(
            "decoder_conf",
            choose(decoder_choices, args.decoder),
            args.decoder_conf,
        )
        model = build(
            "model_conf",
            ESPnetPSEModel,
            args.model_conf,
            encoder=encoder,
            extractor=extractor,
            decoder=decoder,
            loss_wrappers=_build_loss_wrappers(args.criterions),
            gate=gate,
            # Only how fast it trains: a config without it stays valid.
            cpu_bfloat16=getattr(args, "cpu_bfloat16", False),
        )
        if args.init is not None:
            initialize(model, args.init)
        if gate.needs_teacher:
            model.set_teacher(_build_teacher(args, gate))
        return model


def load_teacher(config_file: str | Path, model_file: str | Path) -> ESPnetPVADModel:
    """Load a trained personal VAD.

    Raises:
        UserError: a file is missing, the two do not belong together, or it was
            trained at another sampling or frame rate.
    """
    config = read_yaml(config_file)
    if "pvad" not in config:
        raise UserError(
            f"{config_file}: no training of a personal VAD; give the config.yaml that "
            "pvad_train wrote"
        )
    rate = config.get("sample_rate")
    if rate != SAMPLE_RATE:
        raise UserError(
            f"{config_file}: the teacher was trained at {rate} Hz, the student runs at "
            f"{SAMPLE_RATE} Hz; train a teacher at {SAMPLE_RATE} Hz"
        )
    teacher = PersonalVADTask.build_model(argparse.Namespace(**config))
    if teacher.hop != TEACHER_HOP:
        raise UserError(
            f"{config_file}: the teacher has a frame every {teacher.hop} samples, the "
            f"gate expects {TEACHER_HOP}; train a teacher with pvad_conf hop "
            f"{TEACHER_HOP}"
        )
    load_parameters(teacher, model_file)
    return teacher.eval()


def _build_teacher(args: argparse.Namespace, gate: Gate) -> ESPnetPVADModel:
    for option in ("teacher_train_config", "teacher_model_file"):
        if not getattr(args, option):
            raise UserError(
                f"--{option}: empty, but gate_conf mode {gate.mode!r} asks a teacher; "
                "train one (stage 4) and name it"
            )
    return load_teacher(args.teacher_train_config, args.teacher_model_file)


def _build_pvad(args: argparse.Namespace) -> PersonalVAD:
    return build("pvad_conf", choose(pvad_choices, args.pvad), args.pvad_conf)


def _build_loss_wrappers(criterions: Any) -> list[Any]:
    """The criterions of a YAML in their wrappers."""
    if not isinstance(criterions, list) or not criterions:
        raise UserError(
            f"criterions: {criterions!r}; give a list of name, conf, wrapper and "
            "wrapper_conf"
        )
    wrappers = []
    for entry in criterions:
        check_keys("criterions", entry, ("name", "conf", "wrapper", "wrapper_conf"))
        name = entry.get("name")
        criterion = build(
            f"criterions {name}: conf",
            choose(criterion_choices, name),
            entry.get("conf") or {},
        )
        wrapper = build(
            f"criterions {name}: wrapper_conf",
            choose(loss_wrapper_choices, entry.get("wrapper")),
            entry.get("wrapper_conf") or {},
            criterion=criterion,
        )
        wrappers.append(wrapper)
    return wrappers
