"""The documentation is followed: its code runs, its YAML builds, its links lead on."""

from __future__ import annotations

import argparse
import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
import yaml
from corpus_fixture import babble, write
from docs_paths import DOCS, ROOT
from espnet2.tasks.asr import ASRTask
from espnet2.tasks.enh_tse import extractor_choices

from espnet_pse_kd.bin import simulate
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.espnet.criterions import CRITERIONS, LOSS_WRAPPERS
from espnet_pse_kd.espnet.extractor import EXTRACTORS
from espnet_pse_kd.espnet.tasks import PersonalVADTask, PSETask, pvad_choices
from espnet_pse_kd.gate import Gate
from espnet_pse_kd.kaldi import read_table
from espnet_pse_kd.optim import OPTIMIZERS
from espnet_pse_kd.recipe.methods import merge, read_methods
from espnet_pse_kd.utils.yamls import read_config

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(ROOT / name for name in ("egs2_recipe/RESULTS.md", "tools/mini_libri/README.md")),
    *sorted(DOCS.rglob("*.md")),
]
CONF = ROOT / "conf"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#]+)?(#[^)]+)?\)")
_PICTURE = re.compile(r'src(?:set)?="([^"]+)"')


def blocks(page: Path, language: str) -> list[str]:
    """Code of a page in one language."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [code for kind, code in found if kind == language]


def named_blocks(page: Path, language: str) -> dict[str, str]:
    """Code whose first line is a comment with the name of its file."""
    first = re.compile(r"# (\S+\.\w+)\n")
    return {m[1]: c[m.end() :] for c in blocks(page, language) if (m := first.match(c))}


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(_BLOCK, "", page.read_text(encoding="utf-8"))
    for path in _PICTURE.findall(text):
        assert (page.parent / path).exists(), f"{page.name}: {path}"
    for path, anchor in _LINK.findall(text):
        if path.startswith("http"):
            continue
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {path}"
        if anchor:
            assert anchor[1:] in anchors(target), f"{page.name}: {path}{anchor}"


@pytest.mark.parametrize("folder", [DOCS, DOCS / "measured"], ids=lambda one: one.name)
def test_every_page_is_in_the_index(folder):
    index = (folder / "README.md").read_text(encoding="utf-8")
    assert [p.name for p in folder.glob("*.md") if f"({p.name})" not in index] == [
        "README.md"
    ]


def test_three_commands_clean_a_recording_and_two_train_and_test():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)
    starts = ("pip install .", "pse-kd enroll ", "pse-kd enhance ")
    starts += ("cd egs2_recipe && ./run.sh --stage 1 --stop_stage 8", "make test")
    for line, start in zip(lines, starts):
        assert line.startswith(start)


# --- classes.md and conf/ ------------------------------------------------------------


def arguments(task: type, path: Path) -> argparse.Namespace:
    """Options of a task as its command reads them from a YAML."""
    return task.get_parser().parse_args(["--config", str(path)])


def build_student(path: Path) -> torch.nn.Module:
    """The model that a YAML describes, with its gate checked but without teacher."""
    args = arguments(PSETask, path)
    Gate(**args.gate_conf)
    args.gate_conf = {}
    return PSETask.build_model(args)


def build(path: Path) -> torch.nn.Module:
    """The model that a YAML describes."""
    keys = yaml.safe_load(path.read_text(encoding="utf-8"))
    if "pvad" in keys:
        return PersonalVADTask.build_model(arguments(PersonalVADTask, path))
    if "frontend" in keys:
        args = arguments(ASRTask, path)
        args.token_list = ["<blank>", "<unk>", "A", "B", "<sos/eos>"]
        return ASRTask.build_model(args)
    return build_student(path)


@pytest.mark.parametrize("index", range(len(blocks(DOCS / "classes.md", "yaml"))))
def test_yaml_of_the_page_builds(index, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(blocks(DOCS / "classes.md", "yaml")[index], encoding="utf-8")
    keys = yaml.safe_load(path.read_text(encoding="utf-8"))
    small = {"extractor": "mingru", "encoder": "same", "decoder": "same"}
    if "extractor" not in keys and "pvad" not in keys:
        path.write_text(yaml.safe_dump({**small, **keys}), encoding="utf-8")
    assert sum(p.numel() for p in build(path).parameters()) > 0


def test_page_names_every_class():
    found = [yaml.safe_load(code) for code in blocks(DOCS / "classes.md", "yaml")]
    entries = [entry for keys in found for entry in keys.get("criterions", [])]
    named = {
        "extractor": {keys.get("extractor") for keys in found},
        "criterion": {entry["name"] for entry in entries},
        "wrapper": {entry["wrapper"] for entry in entries},
        "pvad": {keys.get("pvad") for keys in found},
    }
    assert set(EXTRACTORS) <= named["extractor"]
    assert set(CRITERIONS) == named["criterion"]
    assert set(LOSS_WRAPPERS) <= named["wrapper"]
    assert set(pvad_choices.classes) <= named["pvad"]
    conditioning = {(keys.get("pvad_conf") or {}).get("conditioning") for keys in found}
    assert {"et", "st", "set"} <= conditioning
    modes = {(keys.get("gate_conf") or {}).get("mode") for keys in found}
    assert {"none", "hard", "soft", "constant"} <= modes
    assert set(OPTIMIZERS) <= {keys.get("optim") for keys in found}


TABLES = [CONF / "ablation.yaml", CONF / "methods.yaml"]
BASES = [CONF / "base.yaml", CONF / "base_pse.yaml"]
CONFIGS = sorted(set(CONF.rglob("*.yaml")) - {*TABLES, *BASES})


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_yaml_of_conf_builds(path):
    assert sum(p.numel() for p in build(path).parameters()) > 0


def test_page_lists_conf():
    text = (DOCS / "classes.md").read_text(encoding="utf-8")
    every = CONFIGS + TABLES + BASES
    assert [p for p in every if f"`{p.relative_to(CONF)}`" not in text] == []


@pytest.mark.parametrize(
    "method",
    [one for table in TABLES for one in read_methods(table).values()],
    ids=lambda method: method.name,
)
def test_methods_build_on_the_default_student(method, tmp_path):
    options = method.options
    base = read_config(CONF / "tuning/train_pse_mingru.yaml")
    merged = merge(base, options)
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(merged), encoding="utf-8")
    model = build_student(tmp_path / "x.yaml")
    assert len(model.loss_wrappers) == len(merged["criterions"])


def test_unknown_keys_are_refused(tmp_path):
    config = {"encoder": "same", "decoder": "same", "extractor": "mingru"}
    config["extractor_conf"] = {"widht": 8}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.raises(UserError, match="widht.*width"):
        build_student(tmp_path / "x.yaml")
    assert "mingru" in extractor_choices.classes


# --- extending.md --------------------------------------------------------------------


@pytest.fixture(scope="module")
def extended(tmp_path_factory):
    """A copy of the repository's code, extended as two pages say."""
    top = tmp_path_factory.mktemp("extended")
    heavy = shutil.ignore_patterns("*.onnx", "weights", "golden")
    for name in ("espnet_pse_kd", "conf", "docs", "tests"):
        shutil.copytree(ROOT / name, top / name, ignore=heavy)
    for page in (DOCS / "extending.md", DOCS / "architecture.md"):
        extend(top, page)
    return top


def extend(top: Path, page: Path) -> None:
    """Do what a page says in a copy of the repository."""
    for path, code in named_blocks(page, "python").items():
        (top / path).write_text(code, encoding="utf-8")
    for code in blocks(page, "diff"):
        (top / "a.patch").write_text(code, encoding="utf-8")
        command = ["git", "apply", "--recount", "-C1", "a.patch"]
        result = subprocess.run(command, cwd=top, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    yamls = named_blocks(page, "yaml")
    for path, code in yamls.items():
        with open(top / path, "a", encoding="utf-8") as file:
            file.write(code)


def in_copy(top: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python on the copy."""
    environment = {**os.environ, "PYTHONPATH": str(top)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=top, env=environment, capture_output=True, text=True
    )


def test_network_and_loss_of_the_page_pass_the_tests_of_all(extended):
    """The network's contract, the loss on silence, and the YAML."""
    chosen = "frame_gru or (silence_is_finite and log_spectral)"
    files = [f"tests/test_{name}.py" for name in ("nets", "espnet", "docs")]
    options = ("-q", *files, "-k", chosen, "-p", "no:cacheprovider", "-rp")
    result = in_copy(extended, "-m", "pytest", *options)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "test_yaml_of_conf_builds[train_pse_frame_gru]" in result.stdout
    assert int(re.search(r"(\d+) passed", result.stdout)[1]) >= 30


FLOORED = """
import torch
from espnet_pse_kd.gate import Gate
sure, yes = torch.tensor([[[0.0, 0.0, 1.0]]]), torch.ones(1, 1, dtype=torch.bool)
print([Gate("soft", floor=f)(~yes, yes, sure).weights.item() for f in (0.0, 0.25)])
"""


def test_worked_change_of_the_architecture(extended):
    result = in_copy(extended, "-c", FLOORED)
    assert result.stdout.strip() == "[0.0, 0.25]", result.stderr
    options = ("-q", "-p", "no:cacheprovider", "tests/test_gate.py")
    result = in_copy(extended, "-m", "pytest", *options)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    added = read_methods(extended / "conf/methods.yaml")["s_floor"]
    assert added.options["gate_conf"] == {"mode": "soft", "floor": 0.2}


def test_method_of_the_page(extended):
    added = read_methods(extended / "conf/methods.yaml")["s_its"]
    options = merge({"gate_conf": {"mode": "none"}}, added.options)
    gate = Gate(**options["gate_conf"])
    assert (gate.mode, gate.scope, added.teacher) == ("soft", "its", True)


ROOMS = '("train", 2), ("dev", 1), ("test", 1)'


def test_corpus_of_the_page_goes_through_stage_2(tmp_path, monkeypatch):
    for speaker in range(15):
        for index in range(2):
            path = tmp_path / f"corpus/p{speaker:02d}/{index}.wav"
            write(path, babble(100 * speaker + index, 3.5))
    for index in range(6):
        write(tmp_path / f"noise/n{index}.wav", babble(9000 + index, 3.0))
    # Rooms take most of the time, and are not what is new here.
    code = named_blocks(DOCS / "extending.md", "python")["prepare_flat.py"]
    small = code.replace('("train", 200), ("dev", 20), ("test", 40)', ROOMS)
    assert small != code
    (tmp_path / "prepare_flat.py").write_text(small, encoding="utf-8")
    folders = [str(tmp_path / name) for name in ("corpus", "noise", "data")]
    monkeypatch.setattr(sys, "argv", ["prepare_flat.py", *folders])
    runpy.run_path(str(tmp_path / "prepare_flat.py"), run_name="__main__")
    speakers = [
        set(read_table(tmp_path / f"data/{split}/speech/spk2utt"))
        for split in ("train", "dev", "test")
    ]
    assert [len(names) for names in speakers] == [9, 3, 3]
    assert not set.intersection(*speakers)
    counts = ["--train", "4", "--dev", "2", "--test", "1", "--nj", "1"]
    lengths = ["--seconds", "4", "--test_seconds", "4", "5"]
    folders = ["--data_dir", folders[2], "--dump_dir", str(tmp_path / "dump")]
    simulate.main([*folders, *counts, *lengths])
    [mixture] = read_table(tmp_path / "dump/raw/test_ts2/wav.scp").values()
    assert soundfile.info(mixture).samplerate == 16000


# --- the rest ------------------------------------------------------------------------


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_figure_is_the_gate_s(colours, tmp_path):
    figures = runpy.run_path(str(DOCS / "make_figures.py"))
    curves = figures["curves"]()
    gated, target = curves["gated"], curves["target"]
    assert not (gated & target).any()
    for weights in (curves["hard"], curves["soft"]):
        assert (weights[~gated] == 1).all() and weights[gated].min() < 0.2
    assert set(curves["hard"].unique().tolist()) == {0.0, 1.0}
    name = f"gate_{colours}.svg"
    figures["draw_gate"](tmp_path / name, figures["THEMES"][colours])
    drawn, kept = (
        (folder / name).read_text(encoding="utf-8").count("<path")
        for folder in (tmp_path, DOCS / "images")
    )
    assert drawn == kept


def imports(path: Path) -> set[str]:
    """Modules that a file imports when it is imported itself."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = {n.module for n in body if isinstance(n, ast.ImportFrom) and n.module}
    return names | {a.name for n in body if isinstance(n, ast.Import) for a in n.names}


@pytest.mark.parametrize(
    ("folders", "forbidden"),
    [
        (
            "nets speaker simulation corpora metrics",
            ("espnet2", "espnet_pse_kd.espnet"),
        ),
        (
            "recipe",
            (
                "espnet2",
                "espnet_pse_kd.espnet",
                "espnet_pse_kd.bin",
                "espnet_pse_kd.report",
            ),
        ),
        ("report", ("espnet2", "espnet_pse_kd.espnet", "espnet_pse_kd.bin")),
        ("utils", ("espnet2", "espnet_pse_kd.espnet", "espnet_pse_kd.bin")),
        ("espnet", ("espnet_pse_kd.recipe", "espnet_pse_kd.bin")),
        ("runtime", ("torch", "espnet2", "scipy")),
    ],
)
def test_layers_are_kept(folders, forbidden):
    for folder in folders.split():
        for path in sorted((ROOT / "espnet_pse_kd" / folder).glob("*.py")):
            for name in imports(path):
                assert not name.startswith(forbidden), f"{path.name}: {name}"


def test_recipe_page_and_help_know_the_same_options():
    script = (ROOT / "egs2_recipe/pse.sh").read_text(encoding="utf-8")
    named = set(
        re.findall(r"`--(\w+)", (DOCS / "recipe.md").read_text(encoding="utf-8"))
    )
    known = set(re.findall(r"^    --(\w+)", script, re.MULTILINE))
    known |= set(re.findall(r", --(\w+)", script))
    stage_1 = ROOT / "espnet_pse_kd/bin/prepare_corpus.py"  # --local_data_opts
    known |= set(re.findall(r'"--(\w+)"', stage_1.read_text(encoding="utf-8")))
    assert named <= known
