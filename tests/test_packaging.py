"""`datasets/` lies at the top level, is imported as yolo9000.datasets, and never shadows Hugging Face's `datasets`.

Every way to run the code is tried: a bare checkout, an editable install, a wheel, a tool, pytest, the type checker.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from yolo9000 import __version__

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES: list[str] = PYPROJECT["tool"]["setuptools"]["packages"]
builds = pytest.mark.skipif(
    # not find_spec("pip"): setuptools takes that for pip's own start, and torch's compiler then finds no distutils
    not {"pip", "setuptools"} <= {distribution.name for distribution in importlib.metadata.distributions()},
    reason="pip and setuptools are not installed",
)
# Found at the same time: a regular package `datasets` (Hugging Face's, here a stand-in), our modules, and no top-level
# package that is ours by accident.
PROBE = """
import datasets, pathlib, wordtree, yolo9000, yolo9000.datasets.sample
assert datasets.__version__ == "stand-in", datasets
print(pathlib.Path(yolo9000.datasets.sample.__file__).resolve())
print(pathlib.Path(wordtree.__file__).resolve())
"""


def clean_environment(**extra: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "PYTHONSAFEPATH", "VIRTUAL_ENV"}}
    return kept | {"PYTHONWARNINGS": "ignore"} | extra


def run(*command: str | Path, cwd: Path, **extra: str) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=clean_environment(**extra), capture_output=True, text=True
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def paths(output: str) -> list[Path]:
    return [Path(line) for line in output.splitlines()]


@pytest.fixture
def hugging_face(tmp_path: Path) -> Path:
    """A folder for sys.path with a regular package `datasets` in it."""
    package = tmp_path / "their site-packages" / "datasets"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text('__version__ = "stand-in"\n')
    return package.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the files that a build reads, as a clone has them: the link stays a link."""
    copy = tmp_path / "a checkout"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "Makefile"):
        shutil.copy(ROOT / name, copy)
    for name in ("wordtree", "yolo9000", "datasets", "tools", "benchmarks"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, copy / name, symlinks=True, ignore=ignore)
    assert (copy / "yolo9000" / "datasets").is_symlink()
    return copy


@pytest.fixture
def planted(checkout: Path) -> Path:
    """The checkout's layout and configuration with a few files of code in it, so that a check takes a second."""
    for folder in ("wordtree", "datasets", "tools", "yolo9000", "benchmarks"):
        for file in [*(checkout / folder).rglob("*.py")]:
            file.unlink()
    for empty in ("wordtree/__init__.py", "yolo9000/__init__.py", "tools/tool.py", "benchmarks/row.py"):
        (checkout / empty).touch()
    return checkout


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """The python of a new environment, which sees the packages of the running one and nothing of this project."""
    folder = tmp_path / "environment"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=tmp_path)
    site = next(folder.glob("lib/python*/site-packages"))
    # The .pth files of a folder that is named in a .pth file are not read: an editable install of ours stays outside.
    (site / "installed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "python"


def install(python: Path, *what: str | Path, cwd: Path) -> None:
    """pip install, with no network and nothing but what is named."""
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, *what, cwd=cwd)


def test_the_link_is_a_link_and_datasets_is_no_regular_package() -> None:
    link = ROOT / "yolo9000" / "datasets"
    assert link.is_symlink(), f"{link} is no link (on Windows: git config core.symlinks true, then check out again)"
    assert os.readlink(link) == os.path.join("..", "datasets")
    assert not (ROOT / "datasets" / "__init__.py").exists()


def test_the_version_is_the_same_everywhere() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    newest = re.search(r"^## (\S+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert newest[1] == __version__
    assert f"\nversion: {newest[1]}\ndate-released: {newest[2]}\n" in citation


def test_every_folder_of_code_is_listed_as_a_package() -> None:
    files = [*ROOT.glob("wordtree/**/*.py"), *ROOT.glob("yolo9000/**/*.py"), *ROOT.glob("yolo9000/datasets/**/*.py")]
    assert set(PACKAGES) == {".".join(file.parent.relative_to(ROOT).parts) for file in files}


def test_bare_checkout(hugging_face: Path) -> None:
    """From the root of the repository, where our folder of the same name comes first on sys.path."""
    code, words = paths(run(sys.executable, "-c", PROBE, cwd=ROOT, PYTHONPATH=str(hugging_face)))
    assert code == ROOT / "datasets" / "sample.py"
    assert words == ROOT / "wordtree" / "__init__.py"


@pytest.mark.slow
def test_tools_need_no_installation(checkout: Path, environment: Path, hugging_face: Path, tmp_path: Path) -> None:
    for tool in sorted((checkout / "tools").glob("[!_]*.py")):
        assert "usage:" in run(environment, tool, "--help", cwd=tmp_path, PYTHONPATH=str(hugging_face))


@pytest.mark.slow
def test_pytest_collects_datasets_once_under_its_own_name(planted: Path, hugging_face: Path) -> None:
    (planted / "README.md").write_text(
        ">>> import yolo9000.datasets.one, datasets\n>>> datasets.__version__\n'stand-in'\n"
    )
    (planted / "datasets" / "one.py").write_text('"""\n>>> __name__\n\'yolo9000.datasets.one\'\n"""\n')
    (planted / "tests" / "datasets").mkdir(parents=True)
    (planted / "tests" / "datasets" / "test_one.py").write_text(
        "import datasets, yolo9000.datasets.one\n"
        "def test_both_are_there() -> None:\n"
        "    assert datasets.__version__ == 'stand-in'\n"
    )
    for pytest_command in ([sys.executable, "-m", "pytest"], [sys.executable, "-P", "-m", "pytest"]):
        assert "\n3 passed" in run(*pytest_command, "-q", cwd=planted, PYTHONPATH=str(hugging_face))


@builds
@pytest.mark.slow
def test_editable_install(checkout: Path, environment: Path, hugging_face: Path, tmp_path: Path) -> None:
    install(environment, "--editable", checkout, cwd=tmp_path)
    for cwd in (tmp_path, checkout):
        code, words = paths(run(environment, "-c", PROBE, cwd=cwd, PYTHONPATH=str(hugging_face)))
        assert code == checkout / "datasets" / "sample.py"
        assert words == checkout / "wordtree" / "__init__.py"
    assert run(environment.with_name("yolo9000"), "--version", cwd=tmp_path).startswith("yolo9000 ")


@builds
@pytest.mark.slow
def test_wheel(checkout: Path, environment: Path, hugging_face: Path, tmp_path: Path) -> None:
    """Built by way of the source archive, so that both are seen to carry the real files."""
    hook = "import setuptools.build_meta as b, sys; print(getattr(b, sys.argv[1])(sys.argv[2]))"
    archive = run(sys.executable, "-c", hook, "build_sdist", tmp_path, cwd=checkout).split()[-1]
    shutil.unpack_archive(tmp_path / archive, tmp_path / "unpacked", filter="data")
    (source,) = (tmp_path / "unpacked").iterdir()
    wheel = tmp_path / run(sys.executable, "-c", hook, "build_wheel", tmp_path, cwd=source).split()[-1]

    held = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    wanted = {Path("yolo9000/py.typed"), Path("wordtree/py.typed")}
    for package in ("wordtree", "datasets", "yolo9000"):
        files = [f for f in (checkout / package).rglob("*") if f.is_file() and "__pycache__" not in f.parts]
        place = Path("yolo9000/datasets") if package == "datasets" else Path(package)
        wanted |= {place / file.relative_to(checkout / package) for file in files}
    assert {path for path in held if ".dist-info" not in path.parts[0]} == wanted

    install(environment, wheel, cwd=tmp_path)
    for code in paths(run(environment, "-c", PROBE, cwd=tmp_path, PYTHONPATH=str(hugging_face))):
        assert environment.parents[1] in code.parents


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
@pytest.mark.slow
def test_the_type_checker_reads_datasets(planted: Path) -> None:
    (planted / "datasets" / "one.py").write_text('def area(side: float) -> float:\n    return "a planted error"\n')
    (planted / "yolo9000" / "two.py").write_text('from yolo9000.datasets.one import area\n\narea("seven")\n')
    command = [sys.executable, "-m", "mypy", "--cache-dir", os.devnull]
    done = subprocess.run(command, cwd=planted, env=clean_environment(), capture_output=True, text=True)
    found = re.findall(r"^(\S+?):(\d+): error: .*\[(\S+)\]$", done.stdout, re.MULTILINE)
    assert {(Path(file).as_posix(), line, code) for file, line, code in found} == {
        ("yolo9000/datasets/one.py", "2", "return-value"),
        ("yolo9000/two.py", "3", "arg-type"),
    }, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["test", "demo"])
def test_make_installs_once(target: str, checkout: Path) -> None:
    command = ["make", "--dry-run", target, "VENV=an-environment"]
    assert "pip install" in run(*command, cwd=checkout)
    (checkout / "an-environment").mkdir()
    (checkout / "an-environment" / ".installed").touch()
    assert "pip install" not in run(*command, cwd=checkout)


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_says_when_there_is_no_python(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "python3"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\nexit 1\n")  # as an older Python answers the question
    old.chmod(0o755)
    make = shutil.which("make")
    assert make is not None
    environment = {"PATH": str(old.parent)}
    done = subprocess.run([make, "test"], cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "found no Python >= 3.11" in done.stderr


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_leaves_a_folder_alone_that_is_no_environment(checkout: Path) -> None:
    done = subprocess.run(["make", "test", "VENV=wordtree"], cwd=checkout, capture_output=True, text=True)
    assert done.returncode != 0
    assert "no virtual environment" in done.stderr
    assert (checkout / "wordtree" / "__init__.py").exists()
