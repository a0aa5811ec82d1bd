"""No code of ours runs what stands in a file: the syntax trees of all modules are walked."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    file
    for folder in ("wordtree", "datasets", "yolo9000", "benchmarks", "tools", "examples", "docs", "scripts")
    for file in sorted((ROOT / folder).rglob("*.py"))
    if not file.is_relative_to(ROOT / "yolo9000" / "datasets")  # the link to datasets/
]
FORBIDDEN = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "pickle.load", "pickle.loads"}
FORBIDDEN |= {"pickle.Unpickler", "marshal.load", "marshal.loads", "shelve.open", "yaml.unsafe_load", "yaml.full_load"}
FORBIDDEN |= {"yaml.load_all", "joblib.load", "dill.load", "dill.loads"}
UNPACKING = {"extract", "extractall", "unpack_archive"}


def is_true(call: ast.Call, name: str) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords)


def safe_loaders(tree: ast.Module) -> set[str]:
    """The classes of a module that derive from YAML's safe loader."""
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    return {each.name for each in classes if any(ast.unparse(base) == "yaml.SafeLoader" for base in each.bases)}


def faults(text: str) -> Iterator[tuple[int, str]]:
    """Line and call of everything that may run what it reads, or write where a file says."""
    tree = ast.parse(text)
    loaders = safe_loaders(tree) | {"yaml.SafeLoader", "yaml.CSafeLoader"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "marshal", "shelve", "dill"):
            yield node.lineno, f"from {node.module} import"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {ast.unparse(each) for each in [*node.args, *(k.value for k in node.keywords)]}
        wrong = called in FORBIDDEN
        wrong |= called == "torch.load" and not is_true(node, "weights_only")
        wrong |= called == "yaml.load" and not given & loaders
        wrong |= called in ("np.load", "numpy.load") and is_true(node, "allow_pickle")
        wrong |= called.rpartition(".")[2] in UNPACKING
        wrong |= is_true(node, "shell")
        if wrong:
            yield node.lineno, called


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_file_is_executed(file: Path) -> None:
    assert list(faults(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "eval('1')",
        "exec(text)",
        "pickle.load(file)",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text)",
        "yaml.load(text, Loader=yaml.Loader)",
        "tar.extractall(folder)",
        "archive.extract(name)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(text, shell=True)",
        "os.system(text)",
    ],
)
def test_each_would_be_found(line: str) -> None:
    assert list(faults(line))


def test_what_is_allowed_is_allowed() -> None:
    text = "class L(yaml.SafeLoader): ...\nyaml.load(t, L)\nyaml.safe_load(t)\n"
    text += "torch.load(p, weights_only=True)\nnet.eval()"
    assert list(faults(text)) == []
