"""The command line: a verb, words, options, and what follows `--`.

The one rule: what is not known is refused by its name. A kubectl that ignored an option would do something else than
was asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from handfast_lab.kubectl.refusals import Stop

_GLOBAL: Final = "kubeconfig n=namespace as request-timeout"
_MANY: Final = "A=all-namespaces! l=selector field-selector"
_CHANGE: Final = "dry-run overwrite! all! l=selector"
_OPTIONS: Final = {
    "get": f"{_MANY} o=output w=watch! raw ignore-not-found! no-headers!",
    "apply": "f=filename* server-side! force-conflicts! dry-run o=output",
    "create": "f=filename* dry-run from-literal* duration audience* type o=output",
    "delete": "f=filename* ignore-not-found! wait! now! grace-period force! all! timeout l=selector field-selector",
    "wait": f"for* timeout all! f=filename* {_MANY}",
    "rollout": "timeout l=selector",
    "scale": "replicas l=selector all!",
    "label": _CHANGE,
    "annotate": _CHANGE,
    "patch": "type p=patch subresource dry-run",
    "logs": "c=container p=previous! f=follow! tail",
    "exec": "c=container i=stdin! t=tty!",
    "describe": "l=selector",
    "version": "",
    "api-resources": "",
    "auth": "A=all-namespaces!",
}
"""By verb: names, with the short form before `=`; `!` takes no value, `*` may be given more than once."""
_BARE: Final = {"dry-run"}
"""Without `=` these have no value, whatever the next word is (`NoOptDefVal` of pflag)."""
_ELSE: Final = "is not known to the little kubectl of the lab: install kubectl for it"


@dataclass(frozen=True, slots=True)
class Line:
    """A command, taken apart."""

    verb: str
    words: tuple[str, ...]
    options: Mapping[str, tuple[str, ...]]
    command: tuple[str, ...]
    """What follows `--`."""

    def one(self, name: str, default: str = "") -> str:
        """The last value given."""
        return self.options[name][-1] if name in self.options else default

    def all(self, name: str) -> tuple[str, ...]:
        """Every value given."""
        return self.options.get(name, ())

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Whether it is set. Raises Stop."""
        value = self.one(name, str(default)).lower()
        if value not in ("true", "false"):
            raise Stop(f'error: invalid argument "{value}" for "--{name}": it is true or false')
        return value == "true"

    def number(self, name: str) -> int | None:
        """A whole number. Raises Stop."""
        try:
            return int(self.one(name)) if name in self.options else None
        except ValueError:
            raise Stop(f'error: invalid argument "{self.one(name)}" for "--{name}": it is a whole number') from None


def parse(arguments: Sequence[str]) -> Line:
    """Raises Stop."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    before = list(arguments[:end])
    options: dict[str, list[str]] = {}
    words: list[str] = []
    while before:
        word = before.pop(0)
        if word.startswith("-") and word != "-":
            _option(word, before, words[0] if words else "", options)
        elif not words and word not in _OPTIONS:
            raise Stop(f'error: the verb "{word}" {_ELSE}')
        else:
            words.append(word)
    if not words:
        raise Stop(f"error: a verb is missing: one of {', '.join(_OPTIONS)}")
    values = {name: tuple(each) for name, each in options.items()}
    return Line(words[0], tuple(words[1:]), values, tuple(arguments[end + 1 :]))


def _option(word: str, rest: list[str], verb: str, options: dict[str, list[str]]) -> None:
    known = _known(verb)
    if word.startswith("--"):
        name, given, value = word[2:].partition("=")
    elif len(word) > 2 and known.get(word[1], "").endswith("!") and "=" not in word:
        _option(word[:2], rest, verb, options)  # -it is -i -t
        return _option(f"-{word[2:]}", rest, verb, options)
    else:
        name, given, value = word[1], word[2:], word[2:].removeprefix("=")
    if name not in known:
        where = f' of "{verb}"' if verb else ""
        raise Stop(f'error: the option "{word.partition("=")[0]}"{where} {_ELSE}')
    kind = known[name]
    if not given:
        if kind.endswith("!") or kind in _BARE:
            value = "true"
        elif rest:
            value = rest.pop(0)
        else:
            raise Stop(f"error: flag needs an argument: {word}")
    options.setdefault(kind.rstrip("!*"), []).append(value)
    return None


def _known(verb: str) -> dict[str, str]:
    """What each name or letter stands for."""
    found = {}
    for each in f"{_GLOBAL} {_OPTIONS.get(verb, '')}".split():
        short, _, long = each.rpartition("=")
        found[long.rstrip("!*")] = long
        if short:
            found[short] = long
    return found
