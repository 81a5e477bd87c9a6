"""`import espnet_pse_kd` is light, and registers in either order of imports."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from types import ModuleType

import pytest

from espnet_pse_kd import registry


def run_python(code: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


CHECK = """
from espnet2.tasks import abs_task, enh, enh_tse
def check():
    assert enh_tse.extractor_choices.get_class("e3net").__name__ == "E3NetExtractor"
    assert enh.criterion_choices.get_class("plcpa").__name__ == "PLCPA"
    assert enh.loss_wrapper_choices.get_class("gated").__name__ == "GatedSolver"
    assert "td_speakerbeam" in enh_tse.extractor_choices.classes
    assert abs_task.optim_classes["muon"].__name__ == "MuonAdamW"
check()
"""


def test_import_is_light():
    run_python("""
        import sys, espnet_pse_kd
        heavy = {"torch", "espnet2", "numpy", "scipy", "yaml"} & set(sys.modules)
        assert not heavy, heavy
    """)


def test_plugin_first():
    run_python(
        "import espnet_pse_kd\n"
        "from espnet2.bin.enh_tse_inference import SeparateSpeech\n"
        + CHECK
        + "import inspect\nassert 'ClassChoices' in inspect.getsource(enh_tse)\n"
        "assert type(enh_tse.__loader__).__name__ == 'SourceFileLoader'\n"
    )


def test_espnet_first_and_reload():
    run_python(
        "from espnet2.bin.enh_tse_inference import SeparateSpeech\n"
        "import espnet_pse_kd\n" + CHECK + "import importlib, sys\n"
        "importlib.reload(espnet_pse_kd.registry); importlib.reload(espnet_pse_kd)\n"
        "assert [type(f).__name__ for f in sys.meta_path].count('_TableFinder') == 1\n"
        "importlib.reload(enh); importlib.reload(enh_tse); check()\n"
    )


class Base:
    pass


class Choices:
    name = "extractor"
    base_type = Base

    def __init__(self) -> None:
        self.classes: dict[str, type] = {}


def test_add_class_is_idempotent():
    choices, cls = Choices(), type("Mine", (Base,), {})
    registry.add_class(choices, "mine", cls)
    registry.add_class(choices, "mine", cls)
    reloaded = type("Mine", (Base,), {})
    registry.add_class(choices, "mine", reloaded)
    assert choices.classes == {"mine": reloaded}


@pytest.mark.parametrize(
    ("name", "cls", "error"),
    [
        ("Mine", type("Mine", (Base,), {}), ValueError),
        ("mine", type("NoExtractor", (), {}), TypeError),
        ("taken", type("Mine", (Base,), {}), ValueError),
    ],
)
def test_add_class_refuses(name, cls, error):
    choices = Choices()
    foreign = type("Foreign", (Base,), {"__module__": "elsewhere"})
    choices.classes["taken"] = foreign
    with pytest.raises(error):
        registry.add_class(choices, name, cls)
    assert choices.classes == {"taken": foreign}


def test_espnet3_tables_are_recognised():
    assert registry._TABLE_MODULES.fullmatch("espnet3.systems.esp2_tse.task")
    assert not registry._TABLE_MODULES.fullmatch("espnet3.systems.esp2_asr.task")
    assert not registry._TABLE_MODULES.fullmatch("espnet2.tasks.enh_s2t")


def test_register_ignores_modules_without_tables():
    registry.register(ModuleType("espnet3.systems.tse.task"))


def test_an_old_espnet_is_named_with_the_remedy():
    from espnet_pse_kd.espnet import check_espnet

    check_espnet("202609")
    check_espnet("202611.post1")
    with pytest.raises(ImportError, match=r"202511 is too old; run: pip install"):
        check_espnet("202511")
