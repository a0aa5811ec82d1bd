"""Words of a command line that are not known, and the word that was meant."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from yolo9000.runtime.mistakes import Mistake


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that is spelled most like another one; None if none is alike.

    Examples
    --------
    >>> closest("--imagnet", ["--imagenet", "--image", "--coco"]), closest("--xyz", ["--coco"])
    ('--imagenet', None)
    >>> closest("--lrr", ["--lr", "--flat"]), closest("--seedz", ["--seed", "--seeds"])
    ('--lr', '--seeds')
    """
    plain = {each.strip("-"): each for each in known}  # hyphens that all have make nothing alike
    found = difflib.get_close_matches(word.strip("-"), plain, n=2, cutoff=0.6)
    # of two that are as good as each other, the one of the same length: a wrong letter, and not one too many
    same_length = [each for each in found if len(each) == len(word.strip("-"))]
    return plain[(same_length or found)[0]] if found else None


def unknown_word(word: str, known: Iterable[str], what: str = "options", *, ask: str = "") -> str:
    """One line about a word that is not known: which one was meant, or else which there are.

    Parameters
    ----------
    word : str
        What was typed.
    known : iterable of str
        The words that would do.
    what : str
        The word for them.
    ask : str
        What tells more, such as another command line; it stands in place of a list of many words.

    Examples
    --------
    >>> unknown_word("trian", ["train", "predict"], "commands")
    'trian: did you mean train?'
    >>> unknown_word("foo", ["train", "predict"], "commands")
    'foo: is none of the commands train, predict'
    """
    known = list(known)
    meant = closest(word, known)
    if meant is not None:
        return f"{word}: did you mean {meant}?"
    if ask and len(known) > 8:
        return f"{word}: is none of the {what}; {ask}"
    return f"{word}: is none of the {what} {', '.join(known)}"


def unknown_option(words: Sequence[str], flags: Iterable[str], program: str) -> str | None:
    """One line about the first word that looks like an option and is none; None if there is none.

    Parameters
    ----------
    words : sequence of str
        What was typed.
    flags : iterable of str
        The options, with their hyphens.
    program : str
        The command, for a message that knows no better.

    Examples
    --------
    >>> unknown_option(["--joint", "--imagnet", "DIR"], ["--joint", "--imagenet"], "yolo9000 train")
    '--imagnet: did you mean --imagenet?'
    >>> unknown_option(["--scale=-1", "-1"], ["--scale"], "yolo9000 train") is None
    True
    """
    known = [*flags, "--help"]
    for word in words:
        if word == "--":
            return None
        name = word.partition("=")[0].replace("_", "-")
        if re.match(r"--[a-zA-Z]", name) and name not in known:
            return unknown_word(word.partition("=")[0], known, "options", ask=f"{program} --help lists them")
    return None


def one_line(said: str) -> str:
    """What a box of a parser's says, as a line without the box.

    Examples
    --------
    >>> one_line('''
    ... ╭─ Value error ────────────────────────╮
    ... │ Error parsing --steps: invalid literal │
    ... │ for int() with base 10: 'many'       │
    ... │ ──────────────────────────────────── │
    ... │ For full helptext, see train --help  │
    ... ╰──────────────────────────────────────╯''')
    '--steps many: a whole number is needed'
    """
    sections: list[list[str]] = [[]]
    for line in said.splitlines():
        text = line.strip().strip("│").strip()
        if text.startswith(("╭", "╰")):
            continue
        if re.fullmatch("[-─]{6,}", text):
            sections.append([])
        elif text:
            sections[-1].append(text)
    # where characters for boxes are missing, the title is a section of its own
    is_plain = "╭" not in said and len(sections) > 1
    return _in_our_words(" ".join(sections[1 if is_plain else 0]))


_ENDINGS = (
    (r"Error parsing (\S+): invalid literal for int\(\) with base 10: '(.*)'", r"\1 \2: a whole number is needed"),
    (r"Error parsing (\S+): could not convert string to float: '(.*)'", r"\1 \2: a number is needed"),
    (r"Error parsing (\S+): (.*)", r"\1: \2"),
    (r"Missing value for argument '(\S+)'\..*", r"\1: a value is missing"),
    (r"Unrecognized options: (.*)", r"\1: belongs to no option"),
)


def _in_our_words(text: str) -> str:
    for pattern, ours in _ENDINGS:
        if found := re.fullmatch(pattern, text):
            return found.expand(ours)
    choice = re.fullmatch(r"invalid choice '(.*)' for argument '(\S+)'\. Expected one of \((.*)\)\.", text)
    if choice is None:
        return text
    known = sorted(word for word in re.findall(r"'([^']*)'", choice[3]) if word != "None")
    return f"{choice[2]} " + unknown_choice(choice[1], known)


def unknown_choice(value: str, known: Sequence[str]) -> str:
    """One line about a value that is not among the few that an option takes.

    Examples
    --------
    >>> unknown_choice("papr", ["mil", "paper"]), unknown_choice("yolo", ["mil", "paper"])
    ('papr: did you mean paper? (mil, paper)', 'yolo: one of mil, paper is needed')
    """
    meant, listed = closest(value, known), ", ".join(known)
    return f"{value}: did you mean {meant}? ({listed})" if meant else f"{value}: one of {listed} is needed"


class OneLineParser(argparse.ArgumentParser):
    """A parser whose options stand anywhere, and which says in one line what was mistyped.

    It raises `Mistake` in place of ending the program, so a command parses inside of `run`.

    Examples
    --------
    >>> parser = OneLineParser(prog="yolo9000 tree show")
    >>> _ = parser.add_argument("--depth", type=int)
    >>> parser.read(["--depht", "3"])
    Traceback (most recent call last):
    yolo9000.runtime.mistakes.Mistake: --depht: did you mean --depth?
    >>> parser.read(["--depth", "x"])
    Traceback (most recent call last):
    yolo9000.runtime.mistakes.Mistake: --depth x: a whole number is needed
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(**options, allow_abbrev=False)

    def read(self, words: Sequence[str] | None = None) -> argparse.Namespace:
        """Read a command line; without words, that of the program. Raises `Mistake`."""
        words = sys.argv[1:] if words is None else list(words)
        if not {"-h", "--help", "--version"} & set(words):
            mistyped = unknown_option(words, self.flags, self.prog)
            if mistyped is not None:
                raise Mistake(mistyped)
        return self.parse_intermixed_args(words)

    @property
    def flags(self) -> list[str]:
        """The long options."""
        return [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]

    @property
    def fields(self) -> dict[str, str]:
        """Field -> option, for the messages of `run`."""
        return {
            action.dest: next(
                (flag for flag in action.option_strings if flag.startswith("--")), action.option_strings[0]
            )
            for action in self._actions
            if action.option_strings
        }

    def error(self, message: str) -> NoReturn:
        """Raise the mistake that argparse found, in our words."""
        raise Mistake(self._say(message))

    def _say(self, message: str) -> str:
        if found := re.fullmatch(r"argument (\S+?)(?:/\S+)?: invalid (int|float) value: '(.*)'", message):
            return f"{found[1]} {found[3]}: a {'whole ' if found[2] == 'int' else ''}number is needed"
        if found := re.fullmatch(r"argument (\S+?)(?:/\S+)?: invalid choice: '(.*)' \(choose from (.*)\)", message):
            return f"{found[1]} {unknown_choice(found[2], [word.strip(chr(39)) for word in found[3].split(', ')])}"
        if found := re.fullmatch(r"argument (\S+?)(?:/\S+)?: (.*)", message):
            return f"{found[1]}: {found[2]}"
        if found := re.fullmatch(r"the following arguments are required: (.*)", message):
            return f"{found[1]} is missing; {self.prog} --help has examples"
        if found := re.fullmatch(r"unrecognized arguments: (.*)", message):
            return f"{found[1]}: belongs to no option; {self.prog} --help has examples"
        return message
