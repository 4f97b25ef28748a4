"""Rules are asked only about kinds that they know: what lets a kind pass unasked names all that they do know."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import get_args

import pytest

from ledger.bundle import contents
from ledger.statements import keyring, line_rules, list_rules, predicates, request_rules, window_rules

GATES: list[tuple[Callable[..., object], frozenset[type[predicates.Predicate]]]] = [
    (request_rules.Requests.check, request_rules.CONCERNING),
    (request_rules.Requests.add, request_rules.CONCERNING),
    (window_rules.Windows.add, window_rules.NOTED),
    (line_rules.Lines.add, line_rules.NOTED),
    (list_rules.Lists.add, list_rules.NOTED),
    (keyring.KeyRing.signers, keyring.OTHERS_SIGN),
    (keyring.KeyRing.admit, keyring.CHANGES),
    (contents.files_of, contents.NAMING_FILES),
    (contents.proof_of, contents.NAMING_FILES),
]


def told_apart(function: Callable[..., object]) -> set[type]:
    """The kinds that its `case` and `isinstance` name."""
    found: set[type] = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        asks = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
        named = node.cls if isinstance(node, ast.MatchClass) else node.args[1] if asks else None
        if named is not None:
            kinds = eval(ast.unparse(named), function.__globals__)
            found |= set(get_args(kinds) or (kinds,))
    return found


@pytest.mark.parametrize(("function", "gate"), GATES, ids=lambda one: getattr(one, "__qualname__", ""))
def test_no_kind_that_a_function_tells_apart_passes_unasked(function, gate):
    kinds = {kind for kind in told_apart(function) if issubclass(kind, predicates.Predicate)}
    assert kinds
    assert kinds <= gate
