"""Voices by name: profiles in the user's data folder, one of them the default.

A profile is personal data. The folder is the user's alone (mode 0700), so are the files
(0600), and what `remove` takes away is nowhere else.
"""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.files import ResultExists, atomic_open, read_limited, sweep

if TYPE_CHECKING:
    from espnet_pse_kd.runtime.profile import Profile

APPLICATION = "pse-kd"
"""Name of the folders for data and configuration."""

_NAME = re.compile(r"[^\W_][\w-]{0,39}")
_SUFFIX = ".profile"
_DEFAULT = "default"  # without a suffix, so that no voice can have its name
_LARGEST = 1000  # bytes of the file that names the default
_PATH_MARKS = frozenset("./\\")
# Windows opens these as devices, whatever their suffix.
_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{port}{number}" for port in ("com", "lpt") for number in range(10)
}


def check_name(text: str) -> str:
    """A voice's name as it is stored.

    Raises:
        UserError: it is none.
    """
    name = unicodedata.normalize("NFC", text)
    if not _NAME.fullmatch(name) or name.casefold() in _DEVICES:
        raise UserError(
            f"{text!r:.60}: no name of a voice; give 1 to 40 letters, digits, - and _, "
            "the first a letter or digit"
        )
    return name


def is_path(word: str) -> bool:
    """Whether a word means a file: it has a dot or a slash, as no voice's name has."""
    return bool(_PATH_MARKS & set(word))


class VoiceStore:
    """The voices of one user.

    Args:
        folder: where they lie; default: the user's data folder.

    Attributes:
        folder: as given.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or _data_folder() / "voices"

    def names(self) -> list[str]:
        """All voices, in order."""
        if not self.folder.is_dir():
            return []
        found = (path.name for path in self.folder.iterdir())
        stems = (n.removesuffix(_SUFFIX) for n in found if n.endswith(_SUFFIX))
        return sorted(stem for stem in stems if _NAME.fullmatch(stem))

    def path(self, name: str) -> Path:
        """Where the profile of a voice lies, or would lie."""
        return self.folder / f"{check_name(name)}{_SUFFIX}"

    def existing(self, name: str) -> Path:
        """The profile of a voice.

        Raises:
            UserError: there is no such voice.
        """
        path = self.path(name)
        if path.is_file():
            return path
        if Path(name).is_file():
            raise UserError(
                f"{name}: no such voice; for the file of that name give ./{name}"
            )
        raise UserError(f"{name}: no such voice; {self._remedy()}")

    def save(self, name: str, profile: Profile, replace: bool = False) -> None:
        """Store a voice; the first one becomes the default.

        Raises:
            UserError: there is one of that name, and ``replace`` is false.
        """
        self._make_folder()
        try:
            profile.save(self.path(name), replace)
        except ResultExists:
            raise UserError(f"{name}: exists; give --force, or another name") from None
        if self.default() is None and self.names() == [check_name(name)]:
            self.set_default(name)

    def remove(self, name: str) -> None:
        """Delete a voice, and what a killed run left of it.

        Raises:
            UserError: there is no such voice.
        """
        path = self.existing(name)
        if self.default() == path.stem:
            (self.folder / _DEFAULT).unlink()
        path.unlink()
        sweep(self.folder)

    def rename(self, name: str, new: str) -> None:
        """Give a voice another name.

        Raises:
            UserError: there is no such voice, or one of the new name.
        """
        path, target = self.existing(name), self.path(new)
        if target.exists():
            raise UserError(f"{new}: exists; give another name, or remove it first")
        was_default = self.default() == path.stem
        path.rename(target)
        if was_default:
            self.set_default(new)

    def default(self) -> str | None:
        """The voice that is meant where none is named."""
        path = self.folder / _DEFAULT
        if not path.is_file():
            return None
        text = read_limited(path, _LARGEST, "remove it").decode(errors="replace")
        name = text.strip()
        return name if name in self.names() else None

    def set_default(self, name: str) -> None:
        """Choose the default.

        Raises:
            UserError: there is no such voice.
        """
        name = self.existing(name).stem
        with atomic_open(self.folder / _DEFAULT, private=True) as file:
            file.write(f"{name}\n")

    def default_path(self) -> Path:
        """The profile of the default.

        Raises:
            UserError: there is none.
        """
        name = self.default()
        if name is not None:
            return self.existing(name)
        if self.names():
            raise UserError(
                f"no default voice; {self._remedy()}, or run: pse-kd voices default "
                "NAME"
            )
        raise UserError(
            "no voice yet; run: pse-kd enroll --name me RECORDING, or give --profile "
            "or --enroll"
        )

    def _remedy(self) -> str:
        names = self.names()
        if not names:
            return "there is none yet, run: pse-kd enroll --name me RECORDING"
        return f"give --profile and one of {', '.join(names)}"

    def _make_folder(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.stat(self.folder).st_mode & 0o077:  # made by something else
            os.chmod(self.folder, 0o700)


def _data_folder() -> Path:
    from platformdirs import user_data_path

    return user_data_path(APPLICATION, appauthor=False)
