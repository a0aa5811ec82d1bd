"""Darknet's ``.cfg`` files as values: sections of options, every one with the line that it stands in.

A cfg is a list of ``[section]`` lines with ``key=value`` lines under them; ``#`` and ``;`` begin comments. The first
section is ``[net]``, the others are layers. Where a key is repeated in a section the first one counts, as in darknet.
"""

from __future__ import annotations

import difflib
import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from yolo9000.runtime.mistakes import Mistake

log = logging.getLogger(__name__)

ALIASES = {"network": "net", "conv": "convolutional", "max": "maxpool", "avg": "avgpool", "soft": "softmax"}
ALIASES |= {"conn": "connected"}
"""Other spellings that darknet takes for a section."""

_ANY_LAYER = "stopbackward"
_KEYS = {
    "net": (
        "batch subdivisions width height channels learning_rate momentum decay policy burn_in power max_batches steps "
        "scales step scale gamma seq_scales angle aspect saturation exposure hue max_crop min_crop max_ratio min_ratio "
        "center random notruth inputs time_steps B1 B2 eps"
    ),
    "convolutional": f"filters size stride pad padding groups activation batch_normalize dot {_ANY_LAYER}",
    "maxpool": f"size stride padding {_ANY_LAYER}",
    "route": f"layers {_ANY_LAYER}",
    "reorg": f"stride {_ANY_LAYER}",
    "avgpool": _ANY_LAYER,
    "softmax": f"tree {_ANY_LAYER}",
    "cost": f"type scale ratio noobj thresh {_ANY_LAYER}",
    "region": (
        "anchors num classes softmax tree map thresh rescore bias_match object_scale noobject_scale class_scale "
        f"coord_scale mask_scale jitter absolute random max log sqrt {_ANY_LAYER}"
    ),
    "detection": (
        "classes coords rescore num side softmax sqrt max reorg forced random jitter object_scale noobject_scale "
        f"class_scale coord_scale {_ANY_LAYER}"
    ),
    "connected": f"output activation batch_normalize {_ANY_LAYER}",
    "local": f"filters size stride pad activation {_ANY_LAYER}",
    "dropout": f"probability {_ANY_LAYER}",
    "crop": f"crop_height crop_width flip noadjust angle saturation exposure shift {_ANY_LAYER}",
}
"""Keys that are understood, or that darknet reads and that change nothing here."""

_OF_LAYERS = {"truth": 0, "onlyforward": 0, "smooth": 0, "clip": 0, "learning_rate": 1}
_OF_LAYERS |= {"dontload": 0, "dontsave": 0, "dontloadscales": 0, "numload": 0}
_ONLY = {
    "net": {"adam": 0, "clip": 0},
    "convolutional": {"binary": 0, "xnor": 0, "flipped": 0, **_OF_LAYERS},
    "maxpool": _OF_LAYERS,
    "route": _OF_LAYERS,
    "reorg": {"reverse": 0, "flatten": 0, "extra": 0, **_OF_LAYERS},
    "avgpool": _OF_LAYERS,
    "softmax": {"groups": 1, "temperature": 1, "spatial": 0, "noloss": 0, **_OF_LAYERS},
    "cost": _OF_LAYERS,
    "region": {"background": 0, "coords": 4, "classfix": 0, **_OF_LAYERS},
    "detection": {"coords": 4, **_OF_LAYERS},
    "connected": _OF_LAYERS,
    "local": _OF_LAYERS,
    "dropout": _OF_LAYERS,
    "crop": _OF_LAYERS,
}
"""Keys of which one value is supported; any other is refused by name."""

_NO_OPTIONS = ("avgpool", "cost")  # sections whose options change nothing: an unknown key is only warned of
_MOST_BYTES, _MOST_SECTIONS = 4 << 20, 1000
_INTEGER = re.compile(r"[+-]?[0-9]{1,9}")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


class CfgError(Mistake):
    """A cfg that makes no net; the message begins with ``file:line``."""


@dataclass(frozen=True)
class Option:
    """Value of a key, and its line (from 1)."""

    value: str
    line: int


@dataclass(frozen=True)
class Section:
    """One ``[section]``.

    Parameters
    ----------
    file : str
        The name of the file, for messages.
    name : str
        Its name without brackets; darknet's short forms (``conv``) are written out.
    line : int
        The line where it begins, from 1.
    options : mapping of str to Option
        Key -> value; of repeated keys the first counts.
    """

    file: str
    name: str
    line: int
    options: Mapping[str, Option]

    def error(self, message: str, key: str | None = None) -> CfgError:
        """An error at this section, or at the line of one of its keys."""
        if key is not None and key in self.options:
            return CfgError(f"{self.file}:{self.options[key].line}: [{self.name}] {key}={message}")
        return CfgError(f"{self.file}:{self.line}: [{self.name}] {message}")

    def text(self, key: str, default: str = "") -> str:
        """Value as it is written."""
        return self.options[key].value if key in self.options else default

    def integer(self, key: str, default: int, *, at_least: int | None = None) -> int:
        """Value as a whole number of at most nine digits."""
        return self.integers(key, (default,), at_least=at_least, count=1)[0]

    def flag(self, key: str, default: bool = False) -> bool:
        """Value as 0 or 1; as in darknet any other whole number is a 1."""
        return self.integer(key, int(default)) != 0

    def real(self, key: str, default: float) -> float:
        """Value as a finite number."""
        return self.reals(key, (default,), count=1)[0]

    def integers(
        self, key: str, default: tuple[int, ...] = (), *, at_least: int | None = None, count: int | None = None
    ) -> tuple[int, ...]:
        """Value as whole numbers with commas between them."""
        if key not in self.options:
            return default
        words = self._words(key, count)
        if not all(_INTEGER.fullmatch(word) for word in words):
            raise self.error(f"{self.text(key)}: {'a whole number is' if count == 1 else 'whole numbers are'} due", key)
        if at_least is not None and min(map(int, words)) < at_least:
            raise self.error(f"{self.text(key)}: at least {at_least} is needed", key)
        return tuple(map(int, words))

    def reals(self, key: str, default: tuple[float, ...] = (), *, count: int | None = None) -> tuple[float, ...]:
        """Value as finite numbers with commas between them."""
        if key not in self.options:
            return default
        words = self._words(key, count)
        if not all(_REAL.fullmatch(word) and math.isfinite(float(word)) for word in words):
            raise self.error(f"{self.text(key)}: {'a number is' if count == 1 else 'numbers are'} due", key)
        return tuple(map(float, words))

    def _words(self, key: str, count: int | None) -> list[str]:
        words = [word.strip() for word in self.text(key).split(",")]
        words = words[:-1] if len(words) > 1 and not words[-1] else words  # "1, 2," is seen in the wild
        if count is not None and len(words) != count:
            raise self.error(f"{self.text(key)}: {count} value is due, not {len(words)}", key)
        return words

    def with_options(self, **values: object) -> Section:
        """The section with some values replaced or added."""
        changed = {key: Option(str(value), self.options.get(key, self).line) for key, value in values.items()}
        return replace(self, options={**self.options, **changed})


@dataclass(frozen=True)
class DarknetCfg:
    """A whole cfg.

    Parameters
    ----------
    file : str
        The name of the file, for messages.
    net : Section
        The first section, ``[net]``.
    layers : tuple of Section
        The others in order; darknet's layer numbers are positions in this tuple.
    folder : Path, optional
        The folder of the file, from which its paths are tried; None for a built-in net.

    Examples
    --------
    >>> cfg = parse_cfg("[net]\\nwidth=32\\nheight=32\\nchannels=3\\nwidth=64\\n\\n[maxpool]\\nsize=2 # half\\n")
    >>> cfg.net.integer("width", 0), cfg.layers[0].line, cfg.layers[0].text("size")
    (32, 7, '2')
    """

    file: str
    net: Section
    layers: tuple[Section, ...]
    folder: Path | None = None

    def to_text(self) -> str:
        """The cfg as darknet reads it, without comments."""
        blocks = [
            "\n".join([f"[{section.name}]", *(f"{key}={option.value}" for key, option in section.options.items())])
            for section in (self.net, *self.layers)
        ]
        return "\n\n".join(blocks) + "\n"


def read_cfg(path: str | Path) -> DarknetCfg:
    """Read a ``.cfg`` file.

    Parameters
    ----------
    path : str or Path
        The file; paths inside it are tried from its folder.

    Returns
    -------
    DarknetCfg
        Its sections, see `parse_cfg`.

    Raises
    ------
    CfgError
        If a line cannot be read, or a section or key is unknown; see `parse_cfg`.
    OSError
        If there is no such file.
    """
    path = Path(path)
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise CfgError(f"{path}:1: more than {_MOST_BYTES >> 20} MB, no cfg; are cfg and weights in the wrong order?")
    if b"\0" in content:
        raise CfgError(f"{path}:1: a binary file, not a cfg; are cfg and weights in the wrong order?")
    # only comments and paths may hold other letters, and what is in a comment does not matter
    return parse_cfg(content.decode("utf-8-sig", errors="replace"), str(path), path.resolve().parent)


def parse_cfg(text: str, file: str = "cfg", folder: Path | None = None) -> DarknetCfg:
    """Split a cfg into sections and check their names and keys.

    Parameters
    ----------
    text : str
        The content of the file.
    file : str
        Its name for messages.
    folder : Path, optional
        The folder from which paths inside it are tried.

    Returns
    -------
    DarknetCfg
        Its sections, with a line for every option.

    Raises
    ------
    CfgError
        If a line is neither a section nor ``key=value``, a section or key is unknown (where it can matter), or an
        option has a value that is not supported.
    """
    sections: list[Section] = []
    options: dict[str, Option] = {}
    # not splitlines(): that one also ends a line where no editor counts one
    for number, line in enumerate(text.split("\n"), start=1):
        line = re.sub(r"\s[#;].*", "", line).strip()
        if not line or line[0] in "#;":
            continue
        if line[0] == "[":
            options = {}
            sections.append(_section(file, number, line, options, first=not sections))
        elif not sections:
            raise CfgError(f"{file}:{number}: {_short(line)} stands before the first section; a cfg begins with [net]")
        else:
            _add_option(sections[-1], number, line, options)
        if len(sections) > _MOST_SECTIONS:
            raise CfgError(f"{file}:{number}: more than {_MOST_SECTIONS} sections; the deepest nets have some hundred")
    if not sections:
        raise CfgError(f"{file}:1: no section; a cfg begins with [net]")
    for section in sections:
        for key, only in _ONLY[section.name].items():
            if section.real(key, only) != only:
                raise section.error(f"{section.text(key)} is not supported, only {key}={only}", key)
    return DarknetCfg(file, sections[0], tuple(sections[1:]), folder)


def _section(file: str, number: int, line: str, options: Mapping[str, Option], *, first: bool) -> Section:
    name = "".join(line[1:].partition("]")[0].split())
    name = ALIASES.get(name, name)
    if not line.endswith("]") or name not in _KEYS:
        known = ", ".join(f"[{section}]" for section in _KEYS)
        raise CfgError(
            f"{file}:{number}: unknown section {_short(line)}; a net of YOLO's or YOLOv2's time is made of {known}"
        )
    if first != (name == "net"):
        place = "the first section must be [net]" if first else "[net] comes once, at the beginning"
        raise CfgError(f"{file}:{number}: {place}; this is {_short(line)}")
    return Section(file, name, number, options)


def _add_option(section: Section, number: int, line: str, options: dict[str, Option]) -> None:
    key, equals, value = (part.strip() for part in line.partition("="))
    place = f"{section.file}:{number}: [{section.name}]"
    if not equals or not value:
        raise CfgError(f"{place} expected key=value, not {_short(line)}")
    known = [*_KEYS[section.name].split(), *_ONLY[section.name]]
    if key not in known:
        if section.name in _NO_OPTIONS:
            log.warning("%s unknown key %s; nothing depends on it here", place, _short(key))
            return
        raise CfgError(f"{place} unknown key {_short(key)}{_suggestion(key, known)}")
    if key in options:
        level = logging.INFO if options[key].value == value else logging.WARNING
        log.log(level, "%s %s again; the first one, in line %d, counts", place, key, options[key].line)
        return
    options[key] = Option(value, number)


def _suggestion(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(key[:40], list(known), n=1)
    return f"; is {close[0]} meant?" if close else ""


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
