"""What may stand where on the command line, read from the parser, so that completion never drifts from it. Pure."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

FILES: Final = "files"
NAMESPACES: Final = "namespaces"
CONTEXTS: Final = "contexts"
PODS: Final = "pods"
_BY_METAVAR: Final[Mapping[str, str]] = {
    "FILE": FILES,
    "NAMESPACE": NAMESPACES,
    "POD": PODS,
    "[NAMESPACE/]POD": PODS,
    "FROM": PODS,
}
_BY_NAME: Final[Mapping[str, str]] = {"namespace": NAMESPACES, "context": CONTEXTS}


@dataclass(frozen=True, slots=True)
class Values:
    """What an option or a place takes: words that are known, or what is found at that moment."""

    words: tuple[str, ...] = ()
    source: str = ""
    """FILES, NAMESPACES, CONTEXTS or PODS; empty: anything, which nobody can complete."""

    @property
    def asked(self) -> bool:
        """Whether the kubeconfig or the cluster is asked for them."""
        return self.source in (NAMESPACES, CONTEXTS, PODS)


@dataclass(frozen=True, slots=True)
class Option:
    """Such as -o, --output."""

    names: tuple[str, ...]
    help: str
    takes: bool
    """Whether a value follows."""
    metavar: str = ""
    values: Values = Values()


@dataclass(frozen=True, slots=True)
class Positional:
    """What stands where by its place."""

    metavar: str
    help: str
    values: Values
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Grammar:
    """Of one verb."""

    verb: str
    help: str
    options: tuple[Option, ...] = ()
    positionals: tuple[Positional, ...] = ()

    def option(self, word: str) -> Option | None:
        """By one of its names."""
        return next((each for each in self.options if word in each.names), None)

    def place(self, words: Sequence[str]) -> Positional | None:
        """What comes behind these words of the verb; None: no place is left."""
        taken, value_follows = 0, False
        for word in words:
            option = self.option(word)
            if value_follows:
                value_follows = False
            elif option is not None or word.startswith("-"):
                value_follows = option is not None and option.takes
            else:
                taken += 1
        if taken < len(self.positionals):
            return self.positionals[taken]
        return self.positionals[-1] if self.positionals and self.positionals[-1].repeated else None


def grammar_of(verb: str, help_: str, parser: argparse.ArgumentParser) -> Grammar:
    """As the verb has filled its parser."""
    options: list[Option] = []
    positionals: list[Positional] = []
    for action in parser._actions:  # noqa: SLF001 - argparse shows them in no other way
        takes = action.nargs != 0
        metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        if action.option_strings:
            names = tuple(action.option_strings)
            values = _values(action) if takes else Values()
            options.append(Option(names, _said(action), takes, metavar if takes else "", values))
        else:
            positionals.append(Positional(metavar, _said(action), _values(action), action.nargs in ("*", "+")))
    return Grammar(verb, help_, tuple(options), tuple(positionals))


def _values(action: argparse.Action) -> Values:
    if action.choices is not None:
        return Values(tuple(str(each) for each in action.choices))
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    return Values(source=_BY_METAVAR.get(metavar) or _BY_NAME.get(action.dest, ""))


def _said(action: argparse.Action) -> str:
    """Its help, with the default filled in as argparse does."""
    text = action.help or ""
    facts: dict[str, Any] = {"default": action.default}
    return " ".join((text % facts if "%(" in text else text).replace("%%", "%").split())


def matching(words: Sequence[str], grammars: Mapping[str, Grammar]) -> tuple[str, Values, Iterator[tuple[str, str]]]:
    """For the last of the words behind the command's name: what stands before the part that is completed (as
    `--output=`), what it may become beside, and the words with their help that are known."""
    *before, last = words or [""]
    verb = next((each for each in before if not each.startswith("-")), None)
    if verb is None:
        return "", Values(), iter((each.verb, each.help) for each in grammars.values())
    grammar = grammars.get(verb)
    if grammar is None:
        return "", Values(), iter(())
    behind = before[before.index(verb) + 1 :]
    if last.startswith("-"):
        name, equals, _rest = last.partition("=")
        option = grammar.option(name)
        if equals and option is not None and option.takes:
            return f"{name}=", option.values, iter((f"{name}={word}", "") for word in option.values.words)
        return "", Values(), iter((name, each.help) for each in grammar.options for name in each.names)
    option = grammar.option(behind[-1]) if behind else None
    if option is not None and option.takes:
        return "", option.values, iter((word, "") for word in option.values.words)
    place = grammar.place(behind)
    if place is None:
        return "", Values(), iter(())
    return "", place.values, iter((word, place.help) for word in place.values.words)
