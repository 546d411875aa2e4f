"""Every public function says what it takes and returns, and what it is."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for room in ("nets", "bounds", "experiments")
    for path in (ROOT / room).rglob("*.py")
)


def public_functions(tree, inside=()):
    """(name, function, whether it is a method) of a module and of its public classes."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node, (node.name,))
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield ".".join((*inside, node.name)), node, bool(inside)


def lacking(path):
    """What public functions of a file leave unsaid: lines."""
    found = []
    for name, node, is_method in public_functions(ast.parse(path.read_text())):
        decorators = {
            getattr(d, "id", getattr(d, "attr", "")) for d in node.decorator_list
        }
        own = node.args.posonlyargs + node.args.args
        if is_method and "staticmethod" not in decorators:
            own = own[1:]
        bare = [a.arg for a in (*own, *node.args.kwonlyargs) if a.annotation is None]
        if bare:
            found.append(f"{name}: {', '.join(bare)} have no type")
        if node.returns is None:
            found.append(f"{name}: its result has no type")
        if not ast.get_docstring(node) and node.name != "__call__":
            found.append(f"{name}: no docstring")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_public_functions_are_annotated_and_explained(path):
    assert not lacking(path)
