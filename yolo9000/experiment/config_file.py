"""Configurations as plain values: read from files, changed field by field, compared."""

from __future__ import annotations

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from yolo9000.detection.config import RECIPES
from yolo9000.experiment.config import RunConfig
from yolo9000.experiment.presets import CLASSIFIERS, PRESETS, SHORT_NAMES
from yolo9000.runtime.mistakes import Mistake

Config = TypeVar("Config")


def override(config: RunConfig, changes: Mapping[str, Any]) -> RunConfig:
    """The same configuration with some fields changed, each named by its way from the top.

    Parameters
    ----------
    config : RunConfig
    changes : mapping of str to any
        ``{"plan.joint.mosaic": 0.0}``.

    Returns
    -------
    RunConfig

    Raises
    ------
    Mistake
        There is no such field, or a value is out of its range.

    Examples
    --------
    >>> override(RunConfig(), {"optimiser.learning_rate": 0.1, "seed": 3}).optimiser.learning_rate
    0.1
    """
    found: RunConfig = _changed(config, {tuple(way.split(".")): value for way, value in changes.items()}, ())
    return found


def _changed(config: Any, changes: Mapping[tuple[str, ...], Any], above: tuple[str, ...]) -> Any:
    """All changes of one object at once: what two of them are together may be right where one alone is not."""
    known = [each.name for each in dataclasses.fields(config)] if dataclasses.is_dataclass(config) else []
    values: dict[str, Any] = {}
    inside: dict[str, dict[tuple[str, ...], Any]] = {}
    for (name, *rest), value in changes.items():
        if name not in known:
            way = ".".join((*above, name, *rest))
            raise Mistake(f"{way}: there is no field {name}; there are {', '.join(known) or 'none'}")
        if rest:
            inside.setdefault(name, {})[tuple(rest)] = value
        else:
            values[name] = value
    for name, deeper in inside.items():
        values[name] = _changed(values.get(name, getattr(config, name)), deeper, (*above, name))
    return dataclasses.replace(config, **values)


def differences(before: RunConfig, after: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Where two configurations differ: way of each field -> the two values.

    Examples
    --------
    >>> differences(RunConfig(), RunConfig(seed=2))
    {'seed': (0, 2)}
    """
    now = dict(_leaves(after))
    return {way: (value, now[way]) for way, value in _leaves(before) if value != now[way]}


def _leaves(config: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for each in dataclasses.fields(config):
        value, way = getattr(config, each.name), f"{above}{each.name}"
        if dataclasses.is_dataclass(value):
            yield from _leaves(value, f"{way}.")
        else:
            yield way, value


def from_plain(kind: type[Config], plain: Any, where: str, *, quoted: bool = False) -> Config:
    """A configuration from plain values, as JSON and checkpoints hold them.

    Parameters
    ----------
    kind : type
        A configuration class.
    plain : mapping
        ``dataclasses.asdict`` of one; lists may stand for tuples. What is absent takes its default.
    where : str
        The file, for messages.
    quoted : bool
        Messages name each field in backquotes and by its last word, as `yolo9000.runtime.mistakes.in_flags` reads them,
        and not by its way from the top: for values that came under names of their own.

    Returns
    -------
    kind

    Raises
    ------
    Mistake
        A key is unknown or a value does not fit; the message names file and key.

    Examples
    --------
    >>> from_plain(RunConfig, {"plan": {"steps": 5}}, "config.json").plan.steps
    5
    """
    from pydantic import TypeAdapter, ValidationError

    _refuse_unknown(kind, plain, where)
    try:
        return TypeAdapter(kind).validate_python(plain)
    except ValidationError as error:
        first = error.errors()[0]
        cause, way = first.get("ctx", {}).get("error"), _way_of(kind, first["loc"])
        said = str(cause) if isinstance(cause, Mistake) else first["msg"]
        if quoted:  # a mistake of ours names its fields, and its way is the object that holds them
            way = [] if isinstance(cause, Mistake) else [f"`{each.rpartition('.')[2]}`" for each in way]
        else:  # a file has keys, and none of the flags that fields in backquotes become
            said = said.replace("`", "") if isinstance(cause, Mistake) else said
        raise Mistake(": ".join([where, *way, said])) from error


def _way_of(kind: Any, parts: tuple[Any, ...]) -> list[str]:
    """The way of a field, without what follows it: a place in a tuple, or which of several types was tried."""
    way: list[str] = []
    for part in parts:
        known = {each.name: each for each in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}
        if part not in known:
            break
        way.append(part)
        kind = _default_of(known[part])
    return [".".join(way)] if way else []


def _refuse_unknown(kind: Any, plain: Any, where: str, above: str = "") -> None:
    if not isinstance(plain, Mapping):
        raise Mistake(f"{where}: {above.rstrip('.') or 'the content'} must be an object, not {plain!r}")
    known = {each.name: each for each in dataclasses.fields(kind)}
    for key, value in plain.items():
        if key not in known:
            raise Mistake(f"{where}: unknown key {above}{key}; {_meant(kind, str(key), above)}")
        default = _default_of(known[key])
        if dataclasses.is_dataclass(default):
            _refuse_unknown(default, value, where, f"{above}{key}.")


def _meant(kind: Any, key: str, above: str) -> str:
    """Which key may be meant by an unknown one: one that is spelled alike, here or elsewhere."""
    known = [each.name for each in dataclasses.fields(kind)]
    if alike := difflib.get_close_matches(key, known, 1):
        return f"did you mean {above}{alike[0]}?"
    ways = [way for way, _ in _leaves(RunConfig())]
    last = {way.rpartition(".")[2]: way for way in reversed(ways)} | _ways_by_option(RunConfig)
    if alike := difflib.get_close_matches(key, last, 1):
        return f"did you mean {last[alike[0]]}?"
    return f"there are {', '.join(known)}"


def _ways_by_option(kind: Any, above: str = "") -> dict[str, str]:
    """The way of each field whose option has another name than the field, as `lr` of ``optimiser.learning_rate``."""
    found: dict[str, str] = {}
    hints = typing.get_type_hints(kind, include_extras=True)
    for each in dataclasses.fields(kind):
        told = [getattr(about, "name", None) for about in getattr(hints[each.name], "__metadata__", ())]
        found |= {name.replace("-", "_"): f"{above}{each.name}" for name in told if name}
        if dataclasses.is_dataclass(default := _default_of(each)):
            found |= _ways_by_option(type(default), f"{above}{each.name}.")
    return found


def _default_of(each: dataclasses.Field[Any]) -> Any:
    return each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default


@dataclasses.dataclass(frozen=True)
class Handwritten:
    """What somebody wrote of a configuration.

    Parameters
    ----------
    values : dict
        Some of the fields, nested as `RunConfig` is.
    where : str
        The file.
    preset, recipe : str, optional
        What it begins with.
    """

    values: dict[str, Any]
    where: str
    preset: str | None = None
    recipe: str | None = None

    @property
    def sets(self) -> tuple[tuple[str, str], ...]:
        """The data sets that it names."""
        return from_plain(
            RunConfig, {"data": {"sets": self.values.get("data", {}).get("sets", ())}}, self.where
        ).data.sets

    def on_top_of(self, config: RunConfig) -> RunConfig:
        """The configuration with these values in place of its own.

        Raises
        ------
        Mistake
            A value does not fit.
        """
        return from_plain(RunConfig, _merged(dataclasses.asdict(config), self.values), self.where)


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(below)
    for key, value in above.items():
        inner = below.get(key)
        both[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, Mapping) else value
    return both


def read_handwritten(path: Path) -> Handwritten | None:
    """Read a configuration that somebody wrote: a YAML or JSON file with some fields of `RunConfig`.

    Parameters
    ----------
    path : Path
        The file; its keys are those that `written_config` writes, and ``preset`` and ``recipe``.

    Returns
    -------
    Handwritten, optional
        None if it is the folder or the ``config.json`` of a run.

    Raises
    ------
    Mistake
        The file is absent or no YAML, or a key is unknown; the message says which is meant.
    """
    import yaml  # here, as only such a file needs it

    if path.is_dir():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # JSON is YAML as well
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        said = " ".join(str(error).split())
        raise Mistake(f"{path}: cannot be read ({said}); is it a configuration, or the folder of a run?") from error
    if not isinstance(content, dict):
        raise Mistake(f"{path}: a configuration has keys such as data, plan and train, not a {type(content).__name__}")
    if "config" in content:
        return None
    named = {key: content.pop(key, None) for key in ("preset", "recipe")}
    for key, choices in (("preset", [*PRESETS, *SHORT_NAMES, *CLASSIFIERS]), ("recipe", list(RECIPES))):
        if named[key] is not None and named[key] not in choices:
            raise Mistake(f"{path}: {key} {named[key]!r}: there are {', '.join(dict.fromkeys(choices))}")
    _refuse_unknown(RunConfig, content, str(path))
    return Handwritten(content, str(path), **named)


def written_config(config: RunConfig) -> str:
    """A configuration as YAML, as `read_handwritten` reads it.

    Examples
    --------
    >>> print(written_config(RunConfig(seed=3))[-8:], end="")
    seed: 3
    """
    import yaml

    return str(yaml.safe_dump(dataclasses.asdict(config), sort_keys=False, default_flow_style=None, width=110))


def read_config(path: Path) -> RunConfig:
    """The configuration in a run's ``config.json``.

    Parameters
    ----------
    path : Path
        The file, or the folder of the run.

    Returns
    -------
    RunConfig

    Raises
    ------
    Mistake
        The file is absent, is no JSON, or holds no configuration.
    """
    file = path / "config.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Mistake(f"{file}: cannot be read ({error}); is it the config.json of a run?") from error
    if not isinstance(content, dict) or "config" not in content:
        raise Mistake(f"{file}: holds no configuration of a run under the key config")
    match content["config"]:
        case {"plan": {"joint": {"image_labels": {"pick": _} as image_labels}}}:
            image_labels.setdefault("unboxed_weight", 1.0)  # a run older than this field goes on as it began
    match content["config"]:
        case {"train": {"channels_last": bool(rows), "precision": precision} as train}:  # before `settings`
            del train["channels_last"]
            layout = "channels_last" if rows else "contiguous"
            train["settings"] = f"fixed:layout={layout}" + (f",precision={precision}" if precision else "")
    return from_plain(RunConfig, content["config"], str(file))
