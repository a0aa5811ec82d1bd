"""What is installed on this machine and what is not: versions, the processor, devices, engines, extras."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimd", "sve", "bf16", "i8mm")
"""Features of processors that make a net faster, as /proc/cpuinfo calls them."""

PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
"""Where a checkout says what it needs."""

ENGINES = {
    "openvino": "openvino",
    "onnxruntime": "onnxruntime",
    "tensorrt": "tensorrt",
    "onnx": "onnx",
    "coremltools": "coremltools",
    "executorch": "executorch",
}
"""Other programs that run nets: module -> distribution."""


def take_inventory() -> dict[str, Any]:
    """What is here, as plain values; nothing that is absent is an error.

    Returns
    -------
    dict
        ``versions`` of this project, Python and what it needs; ``processor``; ``devices``; ``threads``; ``engines``:
        version of each other program that runs nets, None if it is absent; ``extras``: for each, which of its
        distributions are absent and the command that brings them; ``wordnet``; ``commit`` of a checkout.

    Examples
    --------
    >>> found = take_inventory()
    >>> found["versions"]["python"] == platform.python_version(), "openvino" in found["engines"]
    (True, True)
    """
    requirements = _requirements()
    return {
        "versions": _versions(requirements.get("", ())),
        "processor": processor(),
        "devices": _devices(),
        "threads": _threads(),
        "engines": {name: _version(distribution) for name, distribution in ENGINES.items()},
        "extras": _extras(requirements),
        "wordnet": _wordnet(),
        "commit": _commit(),
    }


def _versions(needed: Iterable[str]) -> dict[str, str | None]:
    import yolo9000

    found: dict[str, str | None] = {
        "yolo9000": yolo9000.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
    }
    return found | {name: _version(name) for name in needed}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def processor_name() -> str:
    """The processor's name, as the system has it."""
    if model := re.search(r"^model name\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE):
        return model[1].strip()
    return platform.processor() or platform.machine()


def _cpuinfo() -> str:
    file = Path("/proc/cpuinfo")
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


def processor() -> dict[str, Any]:
    """The processor: ``name``, ``features`` that make a net faster, and which instructions ``torch uses``."""
    name, flags = processor_name(), set[str]()
    if features := re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _cpuinfo(), re.MULTILINE):
        flags = set(features[1].split())
    found: dict[str, Any] = {"name": name, "features": [each for each in FEATURES if each in flags]}
    if importlib.util.find_spec("torch") is not None:
        import torch

        found["torch uses"] = torch.backends.cpu.get_cpu_capability()
    return found


def _devices() -> list[str]:
    if importlib.util.find_spec("torch") is None:
        return []
    import torch

    found = ["cpu"]
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        memory = torch.cuda.get_device_properties(number).total_memory / 2**30
        found.append(f"cuda:{number} ({torch.cuda.get_device_name(number)}, {memory:.0f} GiB)")
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def _threads() -> dict[str, Any]:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found: dict[str, Any] = {"processors": os.cpu_count(), "usable here": allowed}
    if importlib.util.find_spec("torch") is not None:
        import torch

        found["torch uses"] = torch.get_num_threads()
    return found | {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS")}


def _requirements() -> dict[str, tuple[str, ...]]:
    """Extra ("" for what is always needed) -> distributions, from the checkout or from what is installed."""
    if PROJECT.exists():
        table = tomllib.loads(PROJECT.read_text(encoding="utf-8")).get("project", {})
        if table.get("name") == "yolo9000":
            extras: Mapping[str, list[str]] = table.get("optional-dependencies", {})
            return {"": _names(table["dependencies"]), **{name: _names(lines) for name, lines in extras.items()}}
    try:
        lines = metadata.requires("yolo9000") or []
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, list[str]] = {"": []}
    for line in lines:
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        found.setdefault(extra[1] if extra else "", []).append(line)
    return {name: _names(lines) for name, lines in found.items()}


def _names(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(found[0] for line in lines if (found := re.match(r"[\w.-]+", line)))


def _extras(requirements: Mapping[str, tuple[str, ...]]) -> dict[str, dict[str, Any]]:
    is_checkout = PROJECT.exists()
    found = {}
    for extra, names in requirements.items():
        absent = [name for name in names if _version(name) is None]
        what = f'-e ".[{extra}]"' if is_checkout else f'"yolo9000[{extra}]"'
        if not extra:
            what = "-e ." if is_checkout else "yolo9000"
        found[extra or "always needed"] = {"absent": absent, "get": f"pip install {what}" if absent else None}
    return found


def _wordnet() -> str:
    from wordtree.wordnet import NOUN_ARCHIVE

    if importlib.util.find_spec("nltk") is None:
        return "its reader, nltk, is absent: bundled trees work, building others does not"
    return f"3.0, {NOUN_ARCHIVE}" if NOUN_ARCHIVE.exists() else f"absent: {NOUN_ARCHIVE}"


def _commit() -> str | None:
    """The commit of the checkout that this file is in, with a plus if files were changed since."""
    root = PROJECT.parent
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short", "HEAD")
        return commit + ("+" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def format_inventory(found: Mapping[str, Any]) -> str:
    """The same for people.

    Examples
    --------
    >>> print(format_inventory({
    ...     "versions": {"yolo9000": "0.1.0", "torch": None}, "processor": {"name": "Z80", "features": []},
    ...     "devices": ["cpu"], "threads": {"processors": 1}, "engines": {"onnx": None, "openvino": "2025.2"},
    ...     "extras": {"demo": {"absent": ["resvg-py"], "get": 'pip install "yolo9000[demo]"'}},
    ...     "wordnet": "3.0", "commit": None,
    ... }))
    versions   yolo9000 0.1.0
    absent     torch
    processor  Z80
    devices    cpu
    threads    processors 1
    engines    openvino 2025.2; absent: onnx
    extras     demo lacks resvg-py: pip install "yolo9000[demo]"
    wordnet    3.0
    """
    versions = found["versions"]
    rows = [("versions", ", ".join(f"{name} {version}" for name, version in versions.items() if version))]
    if absent := [name for name, version in versions.items() if version is None]:
        rows.append(("absent", ", ".join(absent)))
    processor = found["processor"]
    facts = [processor["name"], *processor["features"]]
    if "torch uses" in processor:
        facts.append(f"torch uses {processor['torch uses']}")
    rows.append(("processor", ", ".join(facts)))
    rows.append(("devices", ", ".join(found["devices"]) or "torch is absent"))
    rows.append(
        ("threads", ", ".join(f"{name} {value}" for name, value in found["threads"].items() if value is not None))
    )
    engines = found["engines"]
    there = ", ".join(f"{name} {version}" for name, version in engines.items() if version) or "none but torch"
    lacking = ", ".join(name for name, version in engines.items() if version is None)
    rows.append(("engines", there + (f"; absent: {lacking}" if lacking else "")))
    for extra, state in found["extras"].items():
        text = (
            f"{extra} lacks {', '.join(state['absent'])}: {state['get']}" if state["absent"] else f"{extra} is complete"
        )
        rows.append(("extras", text))
    rows.append(("wordnet", found["wordnet"]))
    if found["commit"]:
        rows.append(("commit", found["commit"]))
    lines, before = [], ""
    for name, text in rows:
        lines.append(f"{name if name != before else '':9}  {text}")
        before = name
    return "\n".join(lines)
