"""Which statements an input reaches, and how often: modules are given a count per statement as they are imported.

Counts in the code itself cost a tenth of what `sys.settrace` does, and so a fuzzer tries ten times as many inputs.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Collection, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType
from typing import Any, Final

_NAME: Final = "__reached__"


class Reach(MetaPathFinder):
    """Install before the named modules are imported; `counts` then belongs to one input, `seen` to all so far."""

    def __init__(self, modules: Collection[str]) -> None:
        early = [name for name in modules if name in sys.modules]
        if early:
            raise RuntimeError(f"imported before they could be given counts: {', '.join(early)}")
        self._modules = frozenset(modules)
        self.counts: list[int] = []
        self.places: list[tuple[str, int]] = []
        self.seen: set[tuple[int, int]] = set()
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The ordinary spec, with our loader."""
        spec = PathFinder.find_spec(fullname, path) if fullname in self._modules else None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(self, fullname, spec.origin)
        return spec

    def place(self, module: str, line: int) -> int:
        """The number of a statement."""
        self.counts.append(0)
        self.places.append((module, line))
        return len(self.places) - 1

    def forget(self) -> None:
        """Before each input."""
        self.counts[:] = [0] * len(self.counts)

    def is_news(self) -> bool:
        """Whether the last input reached a statement for the first time, or twice as often as any before it."""
        features = {(number, count.bit_length()) for number, count in enumerate(self.counts) if count}
        before = len(self.seen)
        self.seen |= features
        return len(self.seen) > before

    def lines(self) -> dict[str, tuple[int, int]]:
        """By module: lines reached, and lines that there are in its functions."""
        there, reached = defaultdict(set), defaultdict(set)
        for module, line in self.places:
            there[module].add(line)
        for number, _often in self.seen:
            module, line = self.places[number]
            reached[module].add(line)
        return {module: (len(reached[module]), len(there[module])) for module in sorted(there)}


class _Loader(SourceFileLoader):
    def __init__(self, reach: Reach, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self._reach = reach

    def get_code(self, fullname: str) -> CodeType:
        """Never from a .pyc, and never written to one."""
        path = self.get_filename(fullname)
        tree = _Counter(self._reach, fullname).visit(ast.parse(self.get_data(path)))
        code: CodeType = compile(ast.fix_missing_locations(tree), path, "exec")
        return code

    def exec_module(self, module: ModuleType) -> None:
        setattr(module, _NAME, self._reach.counts)
        super().exec_module(module)


class _Counter(ast.NodeTransformer):
    """`__reached__[n] += 1` before every statement of every function."""

    def __init__(self, reach: Reach, module: str) -> None:
        self._reach, self._module, self._depth = reach, module, 0

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._depth += 1
        visited = self.generic_visit(node)
        self._depth -= 1
        return visited

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if self._depth:
            for name, value in ast.iter_fields(node):
                if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                    setattr(node, name, [each for statement in value for each in self._counted(statement)])
        return node

    def _counted(self, statement: Any) -> list[ast.stmt]:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            return [statement]  # a docstring
        number = self._reach.place(self._module, statement.lineno)
        (count,) = ast.parse(f"{_NAME}[{number}] += 1").body
        return [ast.copy_location(count, statement), statement]
