"""Imports go one way, never sideways and never in a circle.

edges -> {api, checking, comparison, serving} -> experiment -> results -> exporting -> {evaluation, inference}
-> {training, darknet} -> detection -> models -> runtime -> {wordtree, datasets} -> torch. The module `config` of a
package obeys as the others do.
"""

from __future__ import annotations

import ast
import graphlib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYER = {"wordtree": 0, "yolo9000.datasets": 0, "yolo9000.runtime": 1, "yolo9000.models": 2, "yolo9000.detection": 3}
LAYER |= {"yolo9000.training": 4, "yolo9000.darknet": 4, "yolo9000.evaluation": 5, "yolo9000.inference": 5}
LAYER |= {"yolo9000.results": 6, "yolo9000.experiment": 7, "yolo9000.comparison": 8, "yolo9000.api": 8}
LAYER |= {"yolo9000.exporting": 5.5}  # on top of inference, and experiment evaluates what it opens
LAYER |= {"yolo9000.serving": 8, "yolo9000.checking": 8}
LAYER |= {"yolo9000.options": 8}  # what the commands read their words with
EDGE = 9  # every other module: yolo9000/train.py and its like, and tools/
LAYER |= {"benchmarks": EDGE}  # an edge of several modules
SIDEWAYS = {("tools.benchmark", "benchmarks")}  # its command line; nobody else imports it
SIDEWAYS |= {("tools.darknet_parity", "benchmarks")}
# tools that are commands of `yolo9000` besides, for a checkout that is not installed
SIDEWAYS |= {("tools.cluster_anchors", "yolo9000.anchors"), ("tools.convert_weights", "yolo9000.convert")}
SIDEWAYS |= {("tools.build_wordtree", "yolo9000.tree")}


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


# One glob a folder: in Python 3.13 and later `**` does not enter yolo9000/datasets, which is a link.
FOLDERS = ["benchmarks", "tools", "wordtree", "yolo9000"]
FOLDERS += [f"yolo9000/{part.partition('.')[2]}" for part in LAYER if part.startswith("yolo9000.")]
FILES = {module_name(file): file for folder in FOLDERS for file in (ROOT / folder).glob("*.py")}


def package_of(module: str) -> str:
    return next((p for p in LAYER if module == p or module.startswith(p + ".")), module)


def imports(module: str, *, at_import: bool = False) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that a module imports, `from a import b` as a.b; at_import: not in functions."""
    pending: list[ast.AST] = [ast.parse(FILES[module].read_text(encoding="utf-8"))]
    parent = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
    while pending:
        node = pending.pop()
        if at_import and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if at_import and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            up = parent.split(".")[: len(parent.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        pending.extend(ast.iter_child_nodes(node))


def first_party(imported: str) -> str | None:
    """The module of ours that an import names, `wordtree.tree.WordTree` as wordtree.tree; None for other projects'."""
    parts = imported.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((name for name in names if name in FILES or name in LAYER), None)


@pytest.mark.parametrize("module", sorted(FILES))
def test_a_module_imports_only_from_below(module: str) -> None:
    source = package_of(module)
    wrong = []
    for line, imported in imports(module):
        target = package_of(first_party(imported) or imported)
        if first_party(imported) in (None, "yolo9000") or target == source:
            continue
        if {(source, target), (source, first_party(imported))} & SIDEWAYS:
            continue
        if LAYER.get(target, EDGE) >= LAYER.get(source, EDGE):
            wrong.append(f"{FILES[module]}:{line} imports {imported}")
    assert not wrong


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {m: {first_party(i) for _, i in imports(m, at_import=True)} - {None, m} for m in FILES}
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_only_wordnet_py_imports_nltk() -> None:
    users = {m for m in FILES for _, imported in imports(m) if imported.split(".")[0] == "nltk"}
    assert users <= {"wordtree.wordnet"}


def test_our_datasets_are_imported_by_their_full_name_only() -> None:
    """A bare `import datasets` may find Hugging Face's package."""
    wrong = [
        f"{FILES[m]}:{line}" for m in FILES for line, imported in imports(m) if imported.split(".")[0] == "datasets"
    ]
    assert not wrong


@pytest.mark.parametrize("package", ["wordtree", "yolo9000", "yolo9000.models", "yolo9000.detection"])
def test_no_name_that_is_imported_when_asked_for_is_that_of_a_module(package: str) -> None:
    """Once such a module is imported, the package's attribute is the module, and the function is not found any more."""
    found = importlib.import_module(package)
    modules = {name.rpartition(".")[2] for name in FILES if name.rpartition(".")[0] == package}
    assert not modules & set(found.__all__)
    assert [name for name in found.__all__ if not hasattr(found, name)] == []


HEAVY = {"torch", "torchvision", "matplotlib", "cv2", "PIL", "nltk", "networkx", "scipy", "h5py", "pycocotools"}
HEAVY |= {"pydantic", "timm"}
"""What takes a tenth of a second or more to import, alone or with what it brings."""


@pytest.mark.parametrize(
    ("package", "unwanted"),
    [
        ("wordtree", HEAVY),
        ("yolo9000", {*HEAVY, "numpy"}),
        ("yolo9000.models", HEAVY),
        ("yolo9000.detection", HEAVY),
        ("yolo9000.experiment.presets", {*HEAVY, "tqdm"}),
        ("yolo9000.runtime.mistakes", HEAVY),
    ],
)
def test_importing_a_package_is_light(package: str, unwanted: set[str]) -> None:
    code = f"import {package}, sys; print(*sorted({unwanted!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_help_of_a_training_is_there_at_once() -> None:
    code = (
        "import sys; from yolo9000.train import main\n"
        "try:\n    main(['--help'])\n"
        f"except SystemExit as end:\n    print(end.code, *sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "--classification-steps" in done.stdout
    assert done.stderr.split() == ["0"]
