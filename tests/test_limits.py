"""The limits of the code: what exceeds them is found, and nothing here does."""

from pathlib import Path

import pytest

from tools.check_limits import circles, faults

ROOT = Path(__file__).parents[1]
LONG = "def f():\n" + "    x = 1\n" * 60
MODULE = "x = 1\n" * 401
MEDIAN = "def f():\n" + "    x = 1\n" * 11
PACKAGE = "espnet_pse_kd"


def write(root: Path, **contents: str) -> Path:
    """Modules of a package, by names with ``__`` for dots."""
    for name, text in contents.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_this_code_is_within_the_limits():
    assert faults(ROOT) == []


@pytest.mark.parametrize(
    ("folder", "text", "fault"),
    [
        (PACKAGE, LONG, f"{PACKAGE}/a.py: f: 61 lines, at most 60; split it"),
        ("tests", LONG, "tests/a.py: f: 61 lines, at most 60; split it"),
        ("tools", MODULE, "tools/a.py: 401 lines, at most 400; split it"),
        (PACKAGE, MEDIAN, f"{PACKAGE}: median function of 12 lines, at most 11"),
    ],
)
def test_excess_is_found(folder: str, text: str, fault: str, tmp_path: Path):
    assert fault in faults(write(tmp_path, **{f"{folder}__a": text}), set())


@pytest.mark.parametrize(
    ("folder", "text"),
    [
        (PACKAGE, LONG.removesuffix("    x = 1\n")),
        ("tools", MODULE.removesuffix("x = 1\n")),
        ("tools", MEDIAN),
        ("tests", MODULE),
    ],
)
def test_what_is_within_them_is_left_alone(folder: str, text: str, tmp_path: Path):
    short = "def f():\n    pass\n" * 3
    root = write(tmp_path, **{f"{folder}__a": text, f"{PACKAGE}__b": short})
    assert faults(root, set()) == []


@pytest.mark.parametrize(
    "back",
    [
        "import espnet_pse_kd.a\n",
        "from espnet_pse_kd import a\n",
        "from espnet_pse_kd.a import x\n",
        "def f():\n    from espnet_pse_kd.a import x\n",
        "if TYPE_CHECKING:\n    from espnet_pse_kd.a import x\n",
    ],
)
def test_modules_that_import_each_other_are_found(back: str, tmp_path: Path):
    there = "from espnet_pse_kd.deep.b import y\n"
    here = {"a": there, "deep__b": "from espnet_pse_kd import c\n", "c": back}
    root = write(
        tmp_path, **{f"{PACKAGE}__{name}": text for name, text in here.items()}
    )
    names = "espnet_pse_kd.a, espnet_pse_kd.c, espnet_pse_kd.deep.b"
    fault = f"{names}: import each other; move what both need"
    assert faults(root, set()) == [fault]
    assert faults(root, {names}) == []


def test_the_package_s_face_may_name_what_imports_it(tmp_path: Path):
    face = {
        "__init__": "from espnet_pse_kd.a import x\n",
        "a": "import espnet_pse_kd\n",
    }
    (tmp_path / PACKAGE).mkdir()
    for name, text in face.items():
        (tmp_path / PACKAGE / f"{name}.py").write_text(text)
    assert faults(tmp_path, set()) == []


def test_every_circle_is_found():
    graph = {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"c"}, "e": {"a"}}
    assert sorted(map(sorted, circles(graph))) == [["a", "b"], ["c", "d"]]


def test_an_exception_that_nothing_needs_is_a_fault(tmp_path: Path):
    root = write(tmp_path, **{f"{PACKAGE}__a": "x = 1\n"})
    gone = f"{PACKAGE}/a.py: within the limits; remove it from KNOWN"
    assert faults(root, {f"{PACKAGE}/a.py"}) == [gone]
