"""`python -m pages write | links`, from the folder `tests`: make reference, make docs."""

import sys

from pages.links import broken, outside
from pages.places import ROOT
from pages.written import MADE, others, pages


def main(words: list[str]) -> int:
    """Exit code 1: a link leads nowhere; 2: not understood."""
    match words:
        case ["write"]:
            for path, render in MADE.items():
                path.write_text(render())
                print(path.relative_to(ROOT))  # noqa: T201
            return 0
        case ["links"]:
            found = broken(pages(), others())
            for each in found:
                print(each, file=sys.stderr)  # noqa: T201
            away = outside(pages())
            print(f"{len(away)} addresses outside are named, and not reached from here:")  # noqa: T201
            for address, where in sorted(away.items()):
                print(f"  {address}  ({', '.join(where)})")  # noqa: T201
            return 1 if found else 0
        case _:
            print(__doc__, file=sys.stderr)  # noqa: T201
            return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
