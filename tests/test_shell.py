"""Shell scripts: option parsing, job back end, set-up, refusals before any work."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "egs2_recipe"
SCRIPTS = [
    *sorted(RECIPE.glob("*.sh")),
    *sorted((RECIPE / "utils").glob("*.sh")),
    *sorted((ROOT / "local").glob("*.sh")),
    *sorted((ROOT / "conf/presets").glob("*.sh")),
    ROOT / ".ci/run",
]
PARSE = (
    "set -eu; nj=4; flag=false; text=; help_message='all the help'\n"
    f". {RECIPE}/utils/parse_options.sh\n"
    'echo "nj=$nj flag=$flag text=$text rest=$*"'
)


def bash(script: str, *args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", "-c", script, "prog", *args], capture_output=True, text=True, cwd=cwd
    )


def run_sh(*args: str) -> subprocess.CompletedProcess:
    """run.sh with this interpreter's environment active, so that none is made."""
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    return subprocess.run(
        [RECIPE / "run.sh", *args], capture_output=True, text=True, env=environment
    )


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck(script):
    shellcheck = Path(sys.executable).parent / "shellcheck"
    result = subprocess.run([shellcheck, script], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("args", "output"),
    [
        ([], "nj=4 flag=false text= rest="),
        (["--nj", "8", "a", "--b"], "nj=8 flag=false text= rest=a --b"),
        (["--flag", "true", "--text", ""], "nj=4 flag=true text= rest="),
        (["--text", "a  b; $c"], "nj=4 flag=false text=a  b; $c rest="),
    ],
)
def test_options_set_variables(args, output):
    assert bash(PARSE, *args).stdout.rstrip("\n") == output


def test_options_with_hyphens_are_variables_with_underscores():
    script = f"set -eu; num_jobs=1; . {RECIPE}/utils/parse_options.sh; echo $num_jobs"
    assert bash(script, "--num-jobs", "3").stdout == "3\n"
    assert bash(script, "--num_jobs", "5").stdout == "5\n"


def test_config_comes_before_options_wherever_it_stands(tmp_path):
    config = tmp_path / "c.sh"
    config.write_text("nj=1\ntext=config\n")
    result = bash(PARSE, "--nj", "2", "--config", str(config))
    assert result.stdout == "nj=2 flag=false text=config rest=\n"


def test_help_is_printed_and_nothing_runs():
    result = bash(PARSE, "--nj", "1", "--help")
    assert (result.returncode, result.stdout) == (0, "all the help\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--nope", "1"], "error: --nope: unknown option; see prog --help"),
        (["--PATH", "x"], "error: --PATH: unknown option; see prog --help"),
        (["--nj"], "error: --nj: its value is missing; see prog --help"),
        (["--nj=3"], "error: --nj=3: write '--nj 3'; see prog --help"),
        (["--flag", "1"], "error: --flag 1: expected true or false; see prog --help"),
        (["--config", "none.sh"], "error: --config none.sh: no such file"),
        (["--config"], "error: --config: its value is missing"),
    ],
)
def test_bad_options_are_refused_in_one_line(args, message):
    result = bash(PARSE, *args)
    assert result.returncode == 2
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_local_back_end_shows_logs_and_returns_the_status(tmp_path):
    log = tmp_path / "deep/x.log"
    run = RECIPE / "utils/run_local.sh"
    args = ["--gpu", "0", str(log), "bash", "-c", "echo out; echo err >&2; exit 3"]
    first = subprocess.run([run, *args], capture_output=True, text=True)
    assert (first.returncode, first.stdout) == (3, "out\nerr\n")
    subprocess.run([run, str(log), "echo", "again"], check=True, capture_output=True)
    text = log.read_text()
    assert "out\nerr\n# Ended (code 3)" in text
    assert "again\n# Ended (code 0)" in text


def test_local_array_runs_all_jobs_and_names_the_failed(tmp_path):
    log = tmp_path / "logs/x.JOB.log"
    run = RECIPE / "utils/run_local.sh"
    script = 'echo "job $1"; touch "$2"; [ "$1" != "$3" ]'
    command = ["bash", "-c", script, "x", "JOB", str(tmp_path / "done.JOB")]
    args = ["--gpu", "0", "JOB=1:3", str(log), *command]
    good = subprocess.run([run, *args, "0"], capture_output=True, text=True)
    assert (good.returncode, good.stdout, good.stderr) == (0, "", "")
    assert sorted(p.name for p in tmp_path.glob("done.*")) == [
        f"done.{k}" for k in (1, 2, 3)
    ]
    for k in (1, 2, 3):
        assert f"\njob {k}\n# Ended (code 0)" in (log.parent / f"x.{k}.log").read_text()
    bad = subprocess.run([run, *args, "2"], capture_output=True, text=True)
    assert bad.returncode == 1
    assert bad.stderr.startswith(f"error: 1 of 3 jobs failed, see {log.parent}/x.2.log")


def test_array_jobs_share_their_stages(tmp_path):
    """Stage 2 in three jobs, then once more to write the tables."""
    python, calls = tmp_path / "python", tmp_path / "calls"
    python.write_text(
        "#!/bin/bash\n"
        f'case "$*" in *bin.train*--check | *bin.scope*) exec {sys.executable} "$@";;\n'
        "esac\n"
        f'echo "$@" >>{calls}\n'
    )
    python.chmod(0o755)
    data = tmp_path / "data/train/speech/wav.scp"
    data.parent.mkdir(parents=True)
    data.touch()
    folders = ("--expdir", str(tmp_path / "exp"), "--datadir", str(tmp_path / "data"))
    words = f"--stage 2 --stop_stage 2 --array 3 --python {python}"
    result = run_sh(*folders, *shlex.split(words))
    assert result.returncode == 0, result.stderr
    calls_made = calls.read_text().splitlines()
    lines = [line for line in calls_made if "bin.simulate" in line]
    assert sorted(line.partition("--share ")[2] for line in lines) == [
        "",
        "1/3",
        "2/3",
        "3/3",
    ]
    assert "--share" not in lines[-1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ("--preset huge", "--preset: unknown preset 'huge'; choose from ablation"),
        ("--corpus timit", "--corpus: unknown corpus 'timit'; choose espeak, lib"),
        ("--corpus librispeech", "--librispeech: missing; give the folder"),
        ("--corpus kaldi", "--corpora: missing; give folders"),
        ("--librispeech /no/such", "/no/such: no such folder; correct --librispeech"),
        ("--methods rlog", "--methods: unknown method 'rlog'; did you mean 'r_log'"),
        ("--methods 'best r_log_asym_error'", "--methods: 'r_log_asym_error' is named"),
        ("--methods 'b2 s' --skip_teacher true", "--methods s: needs a teacher"),
        ("--score_tag a/b", "--score_tag a/b: give letters and digits"),
        ("--pse_config no.yaml", "no.yaml: no such file"),
        ("--pvad_config no.yaml", "no.yaml: no such file"),
        ("--asr_model whisper_x", "--asr_model whisper_x: no such Whisper; choose"),
        ("--stage 3 --stop_stage 2", "--stage 3: it is after --stop_stage 2"),
        ("--stop_stage 10", "--stop_stage 10: the last stage is 9"),
        ("--stop_stage 9", "--hf_repo: missing; stage 9 needs USER/NAME"),
        (
            "--stage 9 --stop_stage 9 --hf_repo me/x --hf_exp no/exp",
            "no/exp/exp.zip: no such file; run stage 8 first",
        ),
        ("--nj two", "--nj two: give a number"),
        ("--array 0", "--array 0: give a number from 1 on"),
        ("--dry_blends 1.5", "--dry_blends 1.5: give numbers above 0, at most 1"),
        ("--dry_blends 0.0", "--dry_blends 0.0: give numbers above 0, at most 1"),
        ("--dry_blend_methods h", "--dry_blend_methods h: choose from b1 b2 s"),
        ("--dnsmos_methods h", "--dnsmos_methods h: choose from b1 b2 s"),
        ("--dnsmos_seeds one", "--dnsmos_seeds one: give numbers"),
        ("--set theta", "--set theta: write KEY=VALUE"),
        ("--pvad_set layers", "--set layers: write KEY=VALUE"),
        ("stray", "stray: unexpected argument"),
        (
            "--stage 2 --datadir no/data",
            "no/data/train/speech/wav.scp: no such file; run stage 1 first",
        ),
        (
            "--stage 4 --dumpdir no/dump",
            "no/dump/raw/train/wav.scp: no such file; run stage 2 first",
        ),
    ],
)
def test_recipe_refuses_before_any_work(args, message, tmp_path):
    result = run_sh("--expdir", str(tmp_path / "exp"), *shlex.split(args))
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "exp").exists()


def test_preset_is_overridden_by_options_wherever_it_stands():
    text = run_sh("--dry_run", "true", "--stop_stage", "2", "--preset", "small").stdout
    assert text.startswith("preset small: real speech")
    assert "stage 2 simulate" in text and "stage 3" not in text


def test_a_preset_s_lists_follow_the_methods(tmp_path):
    """Those of tradeoff name b1 and others for DNSMOS, b2 and s for dry blends."""
    options = ["--preset", "tradeoff", "--dry_run", "true", "--expdir", str(tmp_path)]
    assert run_sh(*options, "--methods", "c_constant").stdout
    refused = run_sh(*options, "--methods", "b1", "--dnsmos_methods", "b1 b2")
    assert refused.stderr.startswith("error: --dnsmos_methods b2: choose from b1")


@pytest.mark.parametrize(
    ("choice", "kept"),
    [
        ("--methods s", "--dnsmos_methods b2 s --dry_blends 0.1 0.2"),
        ("--download_model ./x", "--dnsmos_methods b2 --dry_blends 0.1 0.2"),
    ],
)
def test_of_a_preset_s_lists_only_what_the_sets_have_is_scored(choice, kept, tmp_path):
    """An earlier run trained b1 and enhanced other sets with it, b2 also this one."""
    exp, dump = tmp_path / "exp", tmp_path / "dump"
    for method, name in (("b1", "test_ts0"), ("b2", "dev_ts0")):
        folder = exp / f"pse_net_{method}_seed0/enhanced_{name}"
        folder.mkdir(parents=True)
        (folder / "spk1.scp").touch()
    (dump / "raw/dev_ts0").mkdir(parents=True)
    (dump / "raw/dev_ts0/wav.scp").touch()
    python, calls = tmp_path / "python", tmp_path / "calls"
    python.write_text(
        "#!/bin/bash\n"
        'case "$*" in *bin.train*--check | *bin.scope*)'
        f' exec {sys.executable} "$@" ;; esac\n'
        f'echo "$@" >>{calls}\n'
    )
    python.chmod(0o755)
    words = f"--preset tradeoff --stage 7 --stop_stage 7 --test_sets dev_ts0 {choice}"
    folders = ("--expdir", str(exp), "--dumpdir", str(dump), "--python", str(python))
    result = run_sh(*folders, *shlex.split(words))
    assert result.returncode == 0, result.stderr
    assert f"{kept} --dry_blend_methods b2" in calls.read_text()


def test_the_package_s_weights_need_a_corpus():
    script = RECIPE.parent / "tools/make_weights.sh"
    result = subprocess.run([script], capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr == "error: --librispeech: missing; give the folder\n"


def test_help_names_every_option():
    text = run_sh("--help").stdout
    script = (RECIPE / "pse.sh").read_text()
    defaults = script.partition("# General")[2].partition("# What --dry_run")[0]
    names = [line.split("=")[0] for line in defaults.splitlines() if "=" in line]
    assert len(names) > 30
    assert [name for name in names if f"--{name}" not in text] == []


@pytest.fixture
def checkout(tmp_path):
    """A copy of what set-up needs, and a PATH with stand-ins for python and uv."""
    for name in ("setup.py", "local/setup_env.sh"):
        target = tmp_path / "top" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
        target.chmod(0o755)
    fakes = tmp_path / "bin"
    fakes.mkdir()
    (fakes / "uv").write_text(
        "#!/bin/bash\n"
        f'echo "$@" >>{tmp_path}/calls\n'
        'if [ "$1" = venv ]; then\n'
        '  mkdir -p "${@: -1}/bin"; ln -s /bin/true "${@: -1}/bin/python"\n'
        "fi\n"
        f'if [ "$1" = pip ] && [ -e {tmp_path}/fail ]; then exit 1; fi\n'
    )
    # pyenv's shims exist and fail; the other answers to any version question.
    (fakes / "python3.12").write_text(
        "#!/bin/bash\necho 'not installed' >&2; exit 127\n"
    )
    (fakes / "python3.13").write_text("#!/bin/bash\nexit 0\n")
    for path in fakes.iterdir():
        path.chmod(0o755)
    return tmp_path


def set_up(checkout: Path, **variables: str) -> subprocess.CompletedProcess:
    environment = {
        "PATH": f"{checkout}/bin:/usr/bin:/bin",
        "HOME": str(checkout),
        "PSE_KD_TORCH": "default",
        **variables,
    }
    return subprocess.run(
        [checkout / "top/local/setup_env.sh"],
        capture_output=True,
        text=True,
        env=environment,
    )


def test_set_up_installs_once_and_again_when_setup_py_changes(checkout):
    python = f"{checkout}/top/.venv/bin/python\n"
    first = set_up(checkout)
    assert (first.returncode, first.stdout) == (0, python), first.stderr
    assert first.stderr.count("\n") == 1 and "making" in first.stderr
    calls = (checkout / "calls").read_text()
    assert f"--python {checkout}/bin/python3.13" in calls
    assert "pip install --quiet --compile-bytecode -e" in calls
    second = set_up(checkout)
    assert (second.stdout, second.stderr) == (python, "")
    assert (checkout / "calls").read_text() == calls
    (checkout / "top/setup.py").write_text("# changed")
    assert set_up(checkout).returncode == 0
    assert (checkout / "calls").read_text().count("pip install") == 2


def test_set_up_takes_the_interpreter_that_it_is_told_of(checkout):
    """Over those on the path, and over an active environment that has everything."""
    for name, version in (("wished", "3.12"), ("active/bin/python", "3.13")):
        python = checkout / name
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text(
            "#!/bin/bash\n[[ $* != *print* ]] || echo " + version + "\nexit 0\n"
        )
        python.chmod(0o755)
    active = {"VIRTUAL_ENV": str(checkout / "active")}
    wish = {"PSE_KD_PYTHON": str(checkout / "wished")}
    result = set_up(checkout, **active)
    assert result.stdout == f"{checkout}/active/bin/python\n"
    result = set_up(checkout, **active, **wish)
    assert result.stdout == f"{checkout}/top/.venv/bin/python\n", result.stderr
    assert f"--python {checkout}/wished" in (checkout / "calls").read_text()


@pytest.mark.parametrize(
    ("wish", "venv", "message"),
    [
        ("no/such", "", "it is no Python 3.12 or 3.13; correct or unset it"),
        ("python3.13", "3.12", "top/.venv has Python 3.12; remove the folder and"),
    ],
)
def test_set_up_refuses_an_interpreter_that_cannot_be(checkout, wish, venv, message):
    if venv:
        python = checkout / "top/.venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(f"#!/bin/bash\necho {venv}\n")
        python.chmod(0o755)
    result = set_up(checkout, PSE_KD_PYTHON=wish)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: PSE_KD_PYTHON={wish}: ")
    assert message in result.stderr and result.stderr.count("\n") == 1
    assert not (checkout / "calls").exists()


def test_set_up_that_failed_is_tried_again(checkout):
    (checkout / "fail").touch()
    failed = set_up(checkout)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.endswith("run the same command again, it resumes\n")
    (checkout / "fail").unlink()
    assert set_up(checkout).returncode == 0
    assert (checkout / "calls").read_text().count("pip install") == 2
