"""Command lines made from configuration classes: a flag for each field, its text from the class's docstring."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

import docstring_parser
import tyro
from tyro.conf import arg
from tyro.constructors import PrimitiveConstructorSpec

from yolo9000.experiment.layouts import LAYOUTS
from yolo9000.runtime.mistakes import Mistake
from yolo9000.runtime.mistyped import one_line, unknown_option

Command = TypeVar("Command")

_FORM = (tyro.conf.OmitArgPrefixes, tyro.conf.SuppressFixed)
"""Flags are the fields' own names, whatever class they are in. A switch can be turned on and off, whatever the
configuration that a run begins with has."""

OF_OTHER_COMMANDS = {
    "first_sense": "yolo9000 tree build --first-sense",
    "skip_unreachable": "yolo9000 tree build --skip-unreachable",
    "root": "yolo9000 tree build --root",
    "extra_edges": "yolo9000 tree build --extra-edge",
}
"""Fields that messages to users of all commands name, and the commands that have them."""


if typing.TYPE_CHECKING:

    class DataSets:
        """A configuration class with a field for each layout of `LAYOUTS`."""

        def __init__(self, **paths: str | tuple[str, ...] | None) -> None: ...

    LabelSets = DataSets

else:

    def _data_sets(kind: str, *teaches: str) -> type:
        fields = []
        for name, layout in LAYOUTS.items():
            if layout.teaches not in teaches:
                continue
            about = arg(help=layout.help, metavar=layout.metavar)
            if layout.several:
                fields.append((name, Annotated[tyro.conf.UseAppendAction[tuple[str, ...]], about], ()))
            else:
                fields.append((name, Annotated[str | None, about], None))
        namespace = {"__doc__": "Data sets: a flag for each layout."}
        return dataclasses.make_dataclass(kind, fields, frozen=True, kw_only=True, namespace=namespace)

    DataSets = _data_sets("DataSets", "boxes", "image labels", "both")
    LabelSets = _data_sets("LabelSets", "image labels", "both")


def sets_of(named: DataSets) -> tuple[tuple[str, str], ...]:
    """The data sets that flags named: layout and path of each, as `DataConfig.sets` has them.

    Examples
    --------
    >>> sets_of(DataSets(coco=("a", "b"), imagenet="c"))
    (('coco', 'a'), ('coco', 'b'), ('imagenet', 'c'))
    """
    found: list[tuple[str, str]] = []
    for layout in LAYOUTS:
        paths = getattr(named, layout, None)  # `LabelSets` has some of them
        found += [(layout, path) for path in ((paths,) if isinstance(paths, str) else paths or ())]
    return tuple(found)


def some_options(kind: type, ways: Mapping[str, str | None]) -> Any:
    """A class with a part of a configuration's fields, for a command that has no use for the others.

    Parameters
    ----------
    kind : type
        A configuration class.
    ways : mapping of str to str or None
        Way of each field from the top, such as ``plan.steps`` -> its flag, if it has another than the field says.

    Returns
    -------
    type
        A dataclass of the same shape, with the types and the help of the fields.

    Examples
    --------
    >>> from yolo9000.experiment.config import RunConfig
    >>> part = some_options(RunConfig, {"plan.classification_steps": "steps", "seed": None})
    >>> flags_of(part)["classification_steps"], part().plan.classification_steps
    ('--steps', 0)
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    helps = {each.arg_name: each.description or "" for each in docstring_parser.parse(kind.__doc__ or "").params}
    inside: dict[str, dict[str, str | None]] = {}
    for way, flag in ways.items():
        name, _, rest = way.partition(".")
        inside.setdefault(name, {})[rest] = flag
    fields: list[tuple[str, Any, Any]] = []
    for each in dataclasses.fields(kind):
        if each.name not in inside:
            continue
        hint = hints[each.name]
        plain, *marks = typing.get_args(hint) if hasattr(hint, "__metadata__") else (hint,)
        if "" in inside[each.name]:
            about: Any = next((mark for mark in marks if type(mark) is type(arg())), arg())
            flag = inside[each.name][""] or about.name
            about = dataclasses.replace(about, name=flag, help=helps[each.name].replace("\n", " "))
            # what a configuration hides from other commands is asked for here
            kept = [mark for mark in marks if isinstance(mark, PrimitiveConstructorSpec)]
            hint = Annotated[(plain, about, *kept)]
            default = dataclasses.field(default=each.default)
        else:
            plain = some_options(plain, inside[each.name])
            hint, default = plain, dataclasses.field(default_factory=plain)
        fields.append((each.name, hint, default))
    first_line = (kind.__doc__ or "").partition("\n")[0]
    return dataclasses.make_dataclass(
        kind.__name__, fields, frozen=True, kw_only=True, namespace={"__doc__": first_line}
    )


def part_of(kind: Any, config: Any) -> Any:
    """An object of a class that `some_options` made, with the values of a configuration."""
    values = {}
    for each in dataclasses.fields(kind):
        value = getattr(config, each.name)
        is_part = dataclasses.is_dataclass(value) and each.default_factory is not dataclasses.MISSING
        values[each.name] = part_of(each.default_factory, value) if is_part else value
    return kind(**values)


def values_of(part: Any, above: str = "") -> dict[str, Any]:
    """Way -> value of the fields of such an object, as `override` takes them."""
    found: dict[str, Any] = {}
    for each in dataclasses.fields(part):
        value = getattr(part, each.name)
        inner = dataclasses.is_dataclass(value)
        found |= values_of(value, f"{above}{each.name}.") if inner else {f"{above}{each.name}": value}
    return found


def parse(
    kind: type[Command],
    words: Sequence[str],
    *,
    program: str,
    about: str,
    default: Command | None = None,
    options: type | None = None,
) -> Command:
    """Read a command line into a configuration.

    Parameters
    ----------
    kind : type
        A dataclass; the classes of its fields may be dataclasses as well. Their flags have no prefix.
    words : sequence of str
        What was typed after the name of the program.
    program : str
        Its name, for the help.
    about : str
        What it does, and examples, for the help.
    default : kind, optional
        Values of what is not typed.
    options : type, optional
        A base class of `kind` that has all but its positional words, which may then stand between the options.

    Returns
    -------
    kind

    Raises
    ------
    Mistake
        A word is no option, a value does not fit, or the configuration refuses it. The message is one line, and says
        which option is meant.
    """
    if not {"-h", "--help"} & set(words) and (mistyped := unknown_option(words, _all_flags(kind), program)):
        raise Mistake(mistyped)
    given: dict[str, Any] = {} if default is None else {"default": default}
    if options is not None:
        words = _words_first(options, words, program)
    found: Command = _read(kind, words, prog=program, description=about, **given)
    return found


def _words_first(options: type, words: Sequence[str], program: str) -> list[str]:
    """The same command line with the words that belong to no option in front."""
    if {"-h", "--help"} & set(words):
        return list(words)
    own = [_Word(word) for word in words]
    _, unknown = _read(options, own, prog=program, return_unknown_args=True)
    if any(word.startswith("-") for word in unknown):
        return list(words)  # a mistyped option, of which the second reading says which is meant
    in_front = set(map(id, unknown))
    return [*unknown, *(word for word in own if id(word) not in in_front)]


class _Word(str):
    """A word that is an object of its own: the value of an option and a file may be called the same."""


def parse_some(kind: type[Command], words: Sequence[str], *, program: str, default: Command | None = None) -> Command:
    """Read the options of a class out of a command line that has others, too, which are left for `parse`."""
    asked = [word for word in words if word not in ("-h", "--help")]
    given: dict[str, Any] = {} if default is None else {"default": default}
    found: Command = _read(kind, asked, prog=program, return_unknown_args=True, **given)[0]
    return found


def _read(kind: Any, words: Sequence[str], **options: Any) -> Any:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(kind, args=list(words), config=_FORM, **options)
    except SystemExit as end:
        # a value that a class refuses: tyro would name the class, and not the flag
        context: BaseException | None = end
        while context is not None:
            if isinstance(context, Mistake):
                raise context from None
            context = context.__context__
        if end.code == 0:
            raise  # the help
        raise Mistake(one_line(said.getvalue())) from None


def _all_flags(kind: Any) -> list[str]:
    """The options of a class, each once; a switch also as what turns it off."""
    flags = dict.fromkeys(flag for _, flag in _flags(kind))
    return [*flags, *(flag.replace("--", "--no-", 1) for flag in flags)]


def flags_of(*kinds: Any) -> Mapping[str, str]:
    """Field -> flag, for messages; a message may also name a field as its flag does, as `joint` for ``enabled``.

    Parameters
    ----------
    *kinds : type
        Dataclasses that command lines are made of.

    Returns
    -------
    mapping of str to str

    Examples
    --------
    >>> from yolo9000.training.config import TrainConfig
    >>> flags = flags_of(TrainConfig)
    >>> flags["batch_size"], flags["batch"], flags["log_every"]
    ('--batch', '--batch', '--log-every')
    """
    return {**OF_OTHER_COMMANDS, **{name: flag for kind in kinds for name, flag in _flags(kind)}}


def _flags(kind: Any) -> Iterator[tuple[str, str]]:
    hints = typing.get_type_hints(kind, include_extras=True)
    for each in dataclasses.fields(kind):
        hint = hints[each.name]
        told = [getattr(about, "name", None) for about in getattr(hint, "__metadata__", ())]
        plain = typing.get_args(hint)[0] if hasattr(hint, "__metadata__") else hint
        if dataclasses.is_dataclass(plain):
            yield from _flags(plain)
        else:
            name = next((name for name in told if name), each.name)
            flag = "--" + name.replace("_", "-")
            yield each.name, flag
            yield name.replace("-", "_"), flag


def typed(words: Sequence[str] | None) -> list[str]:
    """The words of a command line: those given, or those that the program was called with."""
    return list(sys.argv[1:] if words is None else words)
