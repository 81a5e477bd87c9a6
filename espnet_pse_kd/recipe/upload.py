"""Stage 9: share a packed model in a Hugging Face repository, with a card.

What is sent is what ``espnet_model_zoo`` downloads: the unpacked zip of stage 8 and a
README.md in the form of ESPnet's own.
"""

from __future__ import annotations

import importlib.resources
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from espnet_pse_kd import __version__
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import read_json

TOKEN = "HF_TOKEN"
"""Environment variable of the token; it is never written or shown."""
TAGS = ("espnet", "audio", "speech-enhancement", "audio-to-audio")


@dataclass(frozen=True)
class Card:
    """What the card says beside the model's own files.

    Attributes:
        repo: ``USER/NAME``.
        dataset: training corpus.
        lang: language of the corpus, ISO 639.
        licence: of the weights, an identifier of the Hugging Face hub.
        results: text of ``RESULTS.md``, may be empty.
    """

    repo: str
    dataset: str
    lang: str
    licence: str
    results: str = ""

    def text(self, exp: Path, config: str) -> str:
        """The card of a training, README.md of its repository.

        Args:
            exp: folder of the training.
            config: text of its packed ``config.yaml``.
        """
        import jinja2

        source = importlib.resources.files("espnet_pse_kd.recipe")
        template = source.joinpath("model_card.md.jinja").read_text(encoding="utf-8")
        environment = jinja2.Environment(
            undefined=jinja2.StrictUndefined, trim_blocks=True
        )
        return environment.from_string(template).render(
            front_matter=self._front_matter(),
            card=self,
            owner=self.repo.partition("/")[0],
            name=exp.absolute().name,
            run=read_json(exp / "run.json"),
            version=__version__,
            config=config.strip(),
        )

    def _front_matter(self) -> str:
        from huggingface_hub import ModelCardData

        return ModelCardData(
            language=self.lang,
            license=self.licence,
            tags=list(TAGS),
            datasets=[self.dataset],
            library_name="espnet",
            pipeline_tag="audio-to-audio",
        ).to_yaml()


def check_repo(repo: str) -> None:
    """Refuse what is no ``USER/NAME``.

    Raises:
        UserError: it is not.
    """
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repo)
        if repo.count("/") != 1:
            raise HFValidationError("it has no owner")
    except HFValidationError as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise UserError(f"--hf_repo {repo!r}: {reason}; write USER/NAME") from None


def stage_files(exp: Path, card: Card, folder: Path) -> list[Path]:
    """Lay out in ``folder`` what is to be sent.

    Returns:
        paths of the files, relative to ``folder``.

    Raises:
        UserError: stage 8 has not packed the training, or the zip is damaged.
    """
    archive = exp / f"{exp.absolute().name}.zip"
    if not archive.is_file():
        raise UserError(f"{archive}: no such file; run stage 8 first")
    try:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
    except zipfile.BadZipFile as error:
        raise UserError(f"{archive}: {error}; run stage 8 again") from None
    [config] = folder.glob("exp/*/config.yaml")
    text = card.text(exp, config.read_text(encoding="utf-8"))
    (folder / "README.md").write_text(text, encoding="utf-8")
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.relative_to(folder) for path in files)


def describe(repo: str, folder: Path, files: Sequence[Path], message: str) -> str:
    """Everything that would be sent, in words."""
    sizes = [(folder / path).stat().st_size for path in files]
    lines = [f"repository: {repo} (made if it does not exist)", f"commit: {message}"]
    lines += [f"{size:>12,d} bytes  {path}" for path, size in zip(files, sizes)]
    lines += [f"{sum(sizes):>12,d} bytes in all", "", "README.md:", ""]
    return "\n".join(lines) + "\n" + (folder / "README.md").read_text(encoding="utf-8")


def commit_message(exp: Path) -> str:
    """What the repository's history calls the upload."""
    commit = read_json(exp / "run.json").get("commit")
    at = f", trained at {commit}" if commit else ""
    return f"{exp.absolute().name}: espnet_pse_kd {__version__}{at}"


def send(
    repo: str, folder: Path, message: str, environ: Mapping[str, str] = os.environ
) -> str:
    """Send a folder to a Hugging Face repository, in one commit.

    Args:
        repo: ``USER/NAME``, made if it does not exist.
        folder: what is sent, see `stage_files`.
        message: of the commit.
        environ: holds the token under `TOKEN`.

    Returns:
        address of the repository.

    Raises:
        UserError: no token, or the hub refuses.
    """
    token = environ.get(TOKEN, "").strip()
    if not token:
        raise UserError(
            f"{TOKEN}: not set; make a token with write access at "
            f"https://huggingface.co/settings/tokens and export {TOKEN}=..."
        )
    from huggingface_hub import HfApi

    api = HfApi(token=token, library_name="espnet_pse_kd", library_version=__version__)
    # The errors of the hub and of its HTTP client have no common base.
    try:
        address = api.create_repo(repo, exist_ok=True)
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message=message)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"--hf_repo {repo}: the hub refuses ({reason}); check the name, the "
            f"network, and what the token in {TOKEN} may write"
        ) from error
    return str(address)
