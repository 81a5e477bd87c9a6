"""Stage 9 against a hub on this machine, and --download_model from a local zip."""

import argparse
import base64
import http.server
import json
import shutil
import threading
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from espnet_pse_kd.bin import download, upload
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import read_json
from espnet_pse_kd.recipe import zoo
from espnet_pse_kd.recipe.packing import pack_experiment
from espnet_pse_kd.report.trials import find_systems

NAME = "pse_tiny_s_seed0"
CONFIG = {
    "encoder": "same",
    "encoder_conf": {},
    "extractor": "mingru",
    "extractor_conf": {"width": 8, "layers": 1, "feed_hidden": 8, "window": 320},
    "decoder": "same",
    "decoder_conf": {},
    "model_conf": {"share_encoder": False},
    "sample_rate": 16000,
    "version": "202611",
    "output_dir": "/home/someone/exp",
    "teacher_model_file": "/home/someone/exp/pvad/valid.loss.best.pth",
}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """A training that stage 8 has packed; its parameters are random."""
    from espnet2.tasks.enh_tse import TargetSpeakerExtractionTask

    from espnet_pse_kd.espnet.loading import inference_config

    exp = tmp_path_factory.mktemp("exp") / NAME
    exp.mkdir()
    (exp / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    (exp / "run.json").write_text(json.dumps({"commit": "abc123", "wall_seconds": 60}))
    torch.manual_seed(0)
    options = argparse.Namespace(**inference_config(CONFIG))
    model = TargetSpeakerExtractionTask.build_model(options)
    torch.save(model.state_dict(), exp / "valid.loss.best.pth")
    pack_experiment(exp)
    return exp


class Hub(http.server.BaseHTTPRequestHandler):
    """The requests of the Hugging Face hub that an upload makes."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        hub = self.server
        hub.asked.append((self.path, self.headers.get("Authorization")))
        if hub.refuses:
            return self._answer(hub.refuses, {"error": "no write access"})
        if self.path.endswith("/repos/create"):
            hub.created = json.loads(body)
            return self._answer(200, {"url": f"{hub.address}/me/pse"})
        if self.path.endswith("/validate-yaml"):
            return self._answer(200, {"errors": [], "warnings": []})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
                for f in files
            ]
            return self._answer(200, {"files": modes})
        hub.commits.append([json.loads(line) for line in body.splitlines()])
        return self._answer(
            200, {"commitUrl": f"{hub.address}/me/pse/commit/1", "commitOid": "1"}
        )

    def do_GET(self):
        self._answer(404, {"error": "not found"})

    def _answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(monkeypatch):
    """A hub on this machine, with what it was asked."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.asked, server.commits, server.created, server.refuses = [], [], None, None
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def run(packed, *options):
    upload.main(["--exp", str(packed), "--hf_repo", "me/pse", *options])


def committed(hub):
    """Files of the one commit, by path."""
    [commit] = hub.commits
    files = [line["value"] for line in commit if line["key"] == "file"]
    assert all(file["encoding"] == "base64" for file in files)
    return {file["path"]: base64.b64decode(file["content"]) for file in files}


def test_what_is_sent_is_the_zip_and_a_card(packed, hub, tmp_path):
    (tmp_path / "RESULTS.md").write_text("# RESULTS\n\n|s|12.3|\n")
    run(packed, "--results", str(tmp_path / "RESULTS.md"), "--dataset", "librispeech")
    assert (hub.created["name"], hub.created["organization"]) == ("pse", "me")
    writes = [token for path, token in hub.asked if "/validate-yaml" not in path]
    assert len(writes) >= 2 and set(writes) == {"Bearer hf_secret"}
    sent = committed(hub)
    with zipfile.ZipFile(packed / f"{NAME}.zip") as archive:
        names = set(archive.namelist())
        for name in names - {"README.md"}:
            assert sent[name] == archive.read(name)
    assert set(sent) == names
    assert b"hf_secret" not in b"".join(sent.values())
    assert b"/home/someone" not in b"".join(sent.values())
    [header] = [line["value"] for line in hub.commits[0] if line["key"] == "header"]
    assert header["summary"].startswith(NAME) and "abc123" in header["summary"]
    check_card(sent["README.md"].decode())


def check_card(card):
    _, front, body = card.split("---\n", 2)
    meta = yaml.safe_load(front)
    assert {"espnet", "audio", "speech-enhancement"} <= set(meta["tags"])
    assert meta["datasets"] == ["librispeech"] and meta["language"] == "en"
    assert meta["license"] == "cc-by-4.0"
    for expected in (
        "## ESPnet2 ENH model",
        "### `me/pse`",
        "import espnet_pse_kd",
        'SeparateSpeech.from_pretrained("me/pse")',
        "--download_model me/pse",
        "|s|12.3|",
        "extractor: mingru",
        "watanabe2018espnet",
        "{{ESPnet}: End-to-End",
    ):
        assert expected in body


def test_dry_run_shows_everything_and_sends_nothing(packed, hub, capsys, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    run(packed, "--dry_run")
    shown = capsys.readouterr().out
    assert hub.asked == []
    with zipfile.ZipFile(packed / f"{NAME}.zip") as archive:
        for info in archive.infolist():
            assert info.filename in shown
            if info.filename != "README.md":
                assert f"{info.file_size:,d} bytes  {info.filename}" in shown
    assert "repository: me/pse" in shown and "license: cc-by-4.0" in shown
    assert shown.endswith("nothing was sent: --dry_run\n")


def refused(capsys, call):
    with pytest.raises(SystemExit) as status:
        call()
    assert status.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1, error
    assert "hf_secret" not in error
    return error


@pytest.mark.parametrize("status", [401, 403])
def test_hub_that_refuses(packed, hub, capsys, status):
    hub.refuses = status
    error = refused(capsys, lambda: run(packed))
    assert "--hf_repo me/pse: the hub refuses" in error and hub.commits == []


def test_hub_that_is_not_there(packed, hub, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert "--hf_repo me/pse: the hub refuses" in refused(capsys, lambda: run(packed))


def test_no_token(packed, hub, capsys, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "  ")
    error = refused(capsys, lambda: run(packed))
    assert "HF_TOKEN: not set" in error and hub.asked == []


@pytest.mark.parametrize("repo", ["me", "me/a/b", "me/a b", "", "/", "me/.."])
def test_bad_repositories(packed, capsys, repo):
    options = ["--exp", str(packed), "--hf_repo", repo, "--dry_run"]
    assert f"--hf_repo {repo!r}: " in refused(capsys, lambda: upload.main(options))


def test_training_that_is_not_packed_or_damaged(packed, tmp_path, capsys):
    exp = tmp_path / "pse_a"
    exp.mkdir()
    error = refused(capsys, lambda: run(exp, "--dry_run"))
    assert "pse_a.zip: no such file; run stage 8 first" in error
    (exp / "pse_a.zip").write_bytes((packed / f"{NAME}.zip").read_bytes()[:500])
    assert "run stage 8 again" in refused(capsys, lambda: run(exp, "--dry_run"))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home of its own, so that the zoo's cache is empty."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def unpacked(packed, folder):
    with zipfile.ZipFile(packed / f"{NAME}.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.mark.parametrize("kind", ["zip", "folder"])
def test_download_makes_an_experiment(packed, home, capsys, kind):
    source = packed / f"{NAME}.zip"
    if kind == "folder":
        source = unpacked(packed, home / NAME)
    expdir = home / "exp"
    download.main([str(source), "--expdir", str(expdir)])
    folder = Path(capsys.readouterr().out.strip())
    assert folder == expdir / "pse_shared_tiny_s_seed0"
    ours, theirs = (
        torch.load(f / "valid.loss.best.pth", weights_only=True)
        for f in (folder, packed)
    )
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    (folder / "enhanced_test_ts2").mkdir()
    (folder / "enhanced_test_ts2/spk1.scp").write_text("a b\n")
    [system] = find_systems(expdir, ["test_ts2"])
    assert (system.name, system.seed) == ("tiny_s_seed0", 0)
    assert read_json(folder / "run.json")["origin"] == str(source)
    pack_experiment(folder)  # stage 8


def test_download_again_changes_nothing_and_another_model_is_refused(
    packed, home, capsys
):
    options = [str(packed / f"{NAME}.zip"), "--expdir", str(home / "exp")]
    download.main(options)
    model = home / "exp/pse_shared_tiny_s_seed0/valid.loss.best.pth"
    before = model.stat().st_mtime_ns
    download.main(options)
    assert model.stat().st_mtime_ns == before
    (model.parent / "run.json").unlink()
    capsys.readouterr()
    error = refused(capsys, lambda: download.main(options))
    assert "pse_shared_tiny_s_seed0: holds another model; remove it" in error


def test_check_only_prints_the_folder(home, capsys):
    download.main(["espnet/some model", "--check", "--expdir", str(home / "exp")])
    assert capsys.readouterr().out == f"{home}/exp/pse_shared_some_model\n"
    assert not (home / "exp").exists()


def test_models_that_are_none(packed, home, capsys):
    (home / "text.zip").write_text("no zip")
    for model, reason in (
        (home / "text.zip", "neither a path here nor a model of the zoo"),
        (home, "no meta.yaml"),
        (home / "none.zip", "neither a path here nor a model of the zoo"),
    ):
        options = [str(model), "--expdir", str(home / "exp")]
        error = refused(capsys, lambda options=options: download.main(options))
        assert f"--download_model {model}" in error and reason in error
    assert not (home / "exp").exists()


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_checkpoint_with_code_is_refused(packed, home):
    folder = unpacked(packed, home / "evil")
    torch.save({"x": Payload(home / "owned")}, folder / f"exp/{NAME}/model.pth")
    with pytest.raises(UserError, match="model.pth: damaged"):
        zoo.fetch_student(str(folder), home / "exp", "valid.loss.best.pth")
    assert not (home / "owned").exists() and not (home / "exp").exists()


def test_zip_that_climbs_out_is_refused(packed, home):
    evil = home / "evil.zip"
    shutil.copyfile(packed / f"{NAME}.zip", evil)
    meta = {
        "files": {"model_file": "../../../owned.pth"},
        "yaml_files": {"train_config": f"exp/{NAME}/config.yaml"},
    }
    with zipfile.ZipFile(packed / f"{NAME}.zip") as source:
        content = {n: source.read(n) for n in source.namelist()}
    content["meta.yaml"] = yaml.safe_dump(meta).encode()
    content["../../../owned.pth"] = b"x"
    with zipfile.ZipFile(evil, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    with pytest.raises(UserError, match="--download_model .*evil.zip"):
        zoo.fetch_student(str(evil), home / "exp", "valid.loss.best.pth")
    assert not (home / "exp").exists()
