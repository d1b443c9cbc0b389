"""`completion`: scripts for bash, zsh and fish, made of the parser.

The one rule: verbs, options and their words stand in the script, so that a Tab costs nothing; the program is started
for names of pods, namespaces and contexts alone.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from handfast_operator.cli.errors import YES
from handfast_operator.cli.grammar import FILES, Grammar, Option, Values
from handfast_operator.cli.output import say

NAME: Final = "completion"
HELP: Final = "a script for bash, zsh or fish that completes verbs, options and names"


def arguments(parser: argparse.ArgumentParser) -> None:
    """For which shell."""
    parser.add_argument("shell", choices=tuple(_SCRIPTS), help="whose script to print")


def without_cluster(_args: argparse.Namespace) -> bool:
    """A script needs none."""
    return True


async def run(args: argparse.Namespace, _client: Any) -> int:
    """Exit code 0."""
    from handfast_operator.cli.main import grammars  # noqa: PLC0415 - it knows the verbs, and loads us

    say(_SCRIPTS[args.shell](grammars()))
    return YES


# --- bash


def bash(grammars: Mapping[str, Grammar]) -> str:
    """A function for `complete -F`. bash splits words at `=` and `:` (COMP_WORDBREAKS)."""
    after: list[str] = []
    options: list[str] = []
    for each in grammars.values():
        names = " ".join(name for option in each.options for name in option.names)
        options.append(f"        {each.verb}) options={_quoted(names)}; asked={int(_asks(each))} ;;")
        for option in each.options:
            if option.takes:
                cases = "|".join(_quoted(f"{each.verb} {name}") for name in option.names)
                after.append(f"        {cases}) {_bash_values(option.values)}; return ;;")
    verbs = " ".join(grammars)
    return "\n".join(
        [
            "# bash completion of handfast: source <(handfast completion bash)",
            "_handfast_names() {",
            '    compgen -W "$("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)" -- "$cur"',
            "}",
            "_handfast() {",
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb='' options='' asked=0 each",
            '    local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}")',
            "    if [[ $cur == '=' ]]; then cur=''; words+=(''); elif [[ $prev == '=' ]]; then",
            "        prev=${COMP_WORDS[COMP_CWORD-2]}; fi",
            '    for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            "        if [[ $each != -* ]]; then verb=$each; break; fi",
            "    done",
            "    COMPREPLY=()",
            "    if [[ -z $verb ]]; then",
            f'        COMPREPLY=($(compgen -W {_quoted(verbs)} -- "$cur")); return',
            "    fi",
            '    case "$verb $prev" in',
            *after,
            "    esac",
            '    case "$verb" in',
            *options,
            "    esac",
            "    if [[ $cur == -* ]]; then",
            '        COMPREPLY=($(compgen -W "$options" -- "$cur"))',
            "    elif (( asked )); then",
            "        COMPREPLY=($(_handfast_names))",
            "    fi",
            "}",
            "complete -F _handfast handfast",
        ]
    )


def _bash_values(values: Values) -> str:
    if values.source == FILES:
        return 'compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur"))'
    if values.asked:
        return "COMPREPLY=($(_handfast_names))"
    return f'COMPREPLY=($(compgen -W {_quoted(" ".join(values.words))} -- "$cur"))' if values.words else ":"


# --- zsh


def zsh(grammars: Mapping[str, Grammar]) -> str:
    """For a file `_handfast` in `fpath`, or to be sourced behind compinit. zshcompsys(1), `_arguments`."""
    verbs = [f"                {_quoted(each.verb + ':' + _zsh(each.help))}" for each in grammars.values()]
    cases: list[str] = []
    for each in grammars.values():
        specs = [_zsh_option(option) for option in each.options]
        for number, place in enumerate(each.positionals, start=1):
            start = "*" if place.repeated else str(number)
            specs.append(_quoted(f"{start}:{_zsh(place.metavar)}:{_zsh_values(place.values)}"))
        cases.append(f"                {each.verb}) _arguments {' '.join(specs)} ;;")
    return "\n".join(
        [
            "#compdef handfast",
            "# zsh completion of handfast: handfast completion zsh > a folder of fpath, as _handfast; or source it",
            "_handfast_names() {",
            '    local -a found=(${(f)"$(handfast __complete "${(@)words[1,CURRENT]}" 2>/dev/null)"})',
            "    compadd -a found",
            "}",
            "_handfast() {",
            "    local curcontext=$curcontext state line",
            "    typeset -A opt_args",
            "    _arguments -C '1: :->verb' '*:: :->words'",
            "    case $state in",
            "        verb)",
            "            local -a verbs=(",
            *verbs,
            "            )",
            "            _describe -t verbs verb verbs ;;",
            "        words)",
            "            case $words[1] in",
            *cases,
            "            esac ;;",
            "    esac",
            "}",
            'if [[ $funcstack[1] == _handfast ]]; then _handfast "$@"; else compdef _handfast handfast; fi',
        ]
    )


def _zsh_option(option: Option) -> str:
    value = f":{_zsh(option.metavar)}:{_zsh_values(option.values)}" if option.takes else ""
    long = "=" if option.takes else ""
    excluded = f"({' '.join(option.names)})" if len(option.names) > 1 else ""
    specs = [
        _quoted(f"{excluded}{name}{long if name.startswith('--') else ''}[{_zsh(option.help)}]{value}")
        for name in option.names
    ]
    return " ".join(specs)


def _zsh_values(values: Values) -> str:
    if values.source == FILES:
        return "_files"
    if values.asked:
        return "_handfast_names"
    return f"({' '.join(values.words)})" if values.words else ""


def _zsh(text: str) -> str:
    """Within a description, where brackets and colons end it."""
    return "".join(f"\\{each}" if each in "[]:\\" else each for each in text)


# --- fish


def fish(grammars: Mapping[str, Grammar]) -> str:
    """complete(1) of fish."""
    lines = [
        "# fish completion of handfast: handfast completion fish > ~/.config/fish/completions/handfast.fish",
        "function __handfast_names",
        "    set -l words (commandline -opc) (commandline -ct)",
        "    handfast __complete $words[2..-1] 2>/dev/null",
        "end",
        "complete -c handfast -f",
    ]
    lines += [
        f"complete -c handfast -n __fish_use_subcommand -a {each.verb} -d {_fish(each.help)}"
        for each in grammars.values()
    ]
    for each in grammars.values():
        there = f"complete -c handfast -n '__fish_seen_subcommand_from {each.verb}'"
        lines += [f"{there} {' '.join(_fish_option(option))} -d {_fish(option.help)}" for option in each.options]
        if _asks(each):
            lines.append(f"{there} -a '(__handfast_names)'")
    return "\n".join(lines)


def _fish_option(option: Option) -> Iterable[str]:
    for name in option.names:
        yield f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
    if option.values.source == FILES:
        yield "-r -F"
    elif option.values.asked:
        yield "-x -a '(__handfast_names)'"
    elif option.takes:
        yield f"-x -a {_fish(' '.join(option.values.words))}"


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# --- all


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _asks(grammar: Grammar) -> bool:
    """Whether what stands by its place can be completed."""
    return any(each.values.asked or each.values.words for each in grammar.positionals)


_SCRIPTS: Final[Mapping[str, Callable[[Mapping[str, Grammar]], str]]] = {"bash": bash, "zsh": zsh, "fish": fish}
