"""``yolo9000 COMMAND``: the list of commands, their help, and one line for what is mistyped."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from wordtree import load_tree
from yolo9000 import predict
from yolo9000.__main__ import COMMANDS, main, there
from yolo9000.options import parse
from yolo9000.tree import VERBS

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "torchvision", "matplotlib", "cv2", "PIL", "nltk", "networkx", "scipy", "h5py", "pycocotools"}


def said(words: list[str]) -> tuple[int, str, str]:
    """Status, output and errors of a command."""
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            status = main(words)
        except SystemExit as end:
            status = int(end.code or 0)
    return status, out.getvalue(), errors.getvalue()


def test_every_module_that_is_a_command_is_listed() -> None:
    """A new command is seen from the front door, and one of another branch is listed when its module is there."""
    files = {file.stem for file in (ROOT / "yolo9000").glob("*.py") if "sys.exit(main())" in file.read_text("utf-8")}
    assert files - {"__main__"} == set(there())
    status, out, errors = said(["--help"])
    assert (status, errors) == (0, "")
    shown = [line.split()[0] for line in out.split("\n\n")[2].splitlines()]
    assert shown == [name for name in COMMANDS if name in there()]
    assert said([]) == said(["-h"]) == (status, out, errors)
    assert said(["--version"])[1] == said(["-V"])[1] == "yolo9000 0.1.0\n"


def test_the_entry_point_is_the_module() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"yolo9000": "yolo9000.__main__:main"}
    words = [sys.executable, "-m", "yolo9000", "--version"]
    assert subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout == "yolo9000 0.1.0\n"


@pytest.mark.parametrize("command", [[name] for name in there()] + [["tree", verb] for verb in VERBS])
def test_help_names_the_command_and_shows_examples(command: list[str]) -> None:
    status, out, errors = said([*command, "--help"])
    assert (status, errors) == (0, "")
    name = " ".join(command)
    assert f"yolo9000 {name} " in out or f"yolo9000.{name} " in out
    assert out.count(f"yolo9000 {name} ") + out.count(f"yolo9000.{name} ") >= 2, "a usage and an example"
    assert said(["help", command[0]])[1] != ""


def test_help_is_there_at_once() -> None:
    """The list of all loads nothing of ours; the help of a command loads nothing that is slow."""
    code = (
        "import contextlib, io, sys\n"
        "from yolo9000.__main__ import main, there\n"
        "from contextlib import redirect_stdout, suppress\n"
        "def ask(*words):\n"
        "    with redirect_stdout(io.StringIO()), suppress(SystemExit):\n"
        "        main([*words, '--help'])\n"
        "ask()\n"
        "first = sorted({'numpy', 'tyro', 'argparse', 'wordtree'} & set(sys.modules))\n"
        "for name in there(): ask(name)\n"
        f"for verb in {list(VERBS)}: ask('tree', verb)\n"
        f"print(first, sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[] []\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trian --joint", "trian: did you mean train?"),
        ("predcit", "predcit: did you mean predict?"),
        ("train --imagnet x", "--imagnet: did you mean --imagenet?"),
        ("train --imagnet=x", "--imagnet: did you mean --imagenet?"),
        ("train --no-jiont", "--no-jiont: did you mean --no-joint?"),
        ("train --wibble", "--wibble: is none of the options; yolo9000 train --help lists them"),
        ("train --steps many", "--steps many: a whole number is needed"),
        ("train --lr fast", "--lr fast: a number is needed"),
        ("train --steps", "--steps: a value is missing"),
        ("train photo.jpg", "photo.jpg: belongs to no option"),
        (
            "train --recipe papr",
            "--recipe papr: did you mean paper? "
            "(constant, darknet, max-size, mil, objectness, overlap, paper, paper-literal)",
        ),
        ("evaluate runs/joint --imges 5", "--imges: did you mean --images?"),
        ("classify --stepz 5", "--stepz: did you mean --steps?"),
        ("ladder --seedz 5", "--seedz: did you mean --seeds?"),
        ("demo --sedes 5", "--sedes: did you mean --seeds?"),
        ("doctor --jsn", "--jsn: did you mean --json?"),
        ("anchors --sizes 5", "--sizes: did you mean --size?"),
        ("anchors --size big", "--size big: a whole number is needed"),
        ("anchors --distance ou", "--distance ou: did you mean iou? (iou, euclidean)"),
        ("convert a.pt b.weights --tee x", "--tee: did you mean --tree?"),
        ("convert", "FROM, TO is missing; yolo9000 convert --help has examples"),
        ("compare a", "name two runs at least, such as runs/boxes runs/joint"),
        ("tree serach x", "serach: did you mean search?"),
        ("tree show dog --dpeth 2", "--dpeth: did you mean --depth?"),
        ("tree search dog --limit 0", "--limit 0: at least 1 is needed"),
        ("tree search dog --limit -1", "--limit -1: at least 1 is needed"),
        ("tree coverage --coco COCO_DIR --most -1", "--most -1: at least 1 is needed"),
        ("tree show dog cat", "cat: belongs to no option; yolo9000 tree show --help has examples"),
        ("tree export --form dott", "--form dott: did you mean dot? (json, csv, dot, newick, networkx)"),
    ],
)
def test_what_is_mistyped_is_answered_in_one_line(line: str, message: str) -> None:
    assert said(line.split()) == (2, "", f"error: {message}\n")


def test_options_stand_anywhere() -> None:
    shown = said(["tree", "show", "sled", "--depth", "1"])
    assert shown[0] == 0
    assert said(["tree", "show", "--depth", "1", "sled"]) == shown
    assert said(["tree", "search", "--limit", "1", "norfolk", "terrier"])[1].startswith("norfolk_terrier.n.01 ")


def test_a_word_that_is_also_the_value_of_an_option_stands_anywhere() -> None:
    for line in ("run --classes dog --threshold 0.6 dog", "run dog --threshold 0.6 --classes dog"):
        found = parse(predict.Command, line.split(), program="yolo9000 predict", about="", options=predict.Options)
        assert (found.paths, found.config.classes) == (("run", "dog"), ("dog",))


def test_an_exported_tree_is_what_its_ending_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("sled.json", "sled.json.gz"):
        assert main(["tree", "export", "sled", "--out", str(tmp_path / name)]) == 0
        assert load_tree(tmp_path / name) == load_tree("yolo9000").below("sled").tree
    assert (tmp_path / "sled.json.gz").read_bytes()[:2] == b"\x1f\x8b"  # as gzip begins
    for words in ([], ["--form", "csv"], ["--form", "json"]):
        assert main(["tree", "export", "sled", "--out", str(tmp_path / "sled.tree"), *words]) == 2
        assert "darknet's .tree is written by tree build with its --darknet-out" in capsys.readouterr().err
    assert not (tmp_path / "sled.tree").exists()
