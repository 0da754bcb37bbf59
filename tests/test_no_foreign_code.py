"""Nothing that is read is run: no source file of the project evaluates, unpickles or unpacks what it was given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("rvm_trt", "export", "engines", "runtime", "benchmarks", "examples")
NAMES = {"eval", "exec", "compile", "__import__"}
ATTRIBUTES = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "marshal.loads", "marshal.load", "shelve.open"),
    *("os.system", "os.popen", "yaml.load", "torch.jit.load", "shutil.unpack_archive"),
}
UNPACKING = {"extractall", "extract"}
# Keyword that a call must have, or must not have, with this value.
NEEDED = {"torch.load": ("weights_only", True)}
FORBIDDEN = {"np.load": ("allow_pickle", True), "numpy.load": ("allow_pickle", True)}


def faults(tree: ast.AST) -> Iterator[str]:
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, keywords = ast.unparse(call.func), {entry.arg: entry.value for entry in call.keywords}
        if name in NAMES | ATTRIBUTES or name.rpartition(".")[2] in UNPACKING:
            yield f"{name}, line {call.lineno}"
        shell = keywords.get("shell")
        if shell is not None and not (isinstance(shell, ast.Constant) and shell.value is False):
            yield f"{name} through a shell, line {call.lineno}"
        for rules, wanted in ((NEEDED, True), (FORBIDDEN, False)):
            key, value = rules.get(name, ("", None))
            given = keywords.get(key)
            has = isinstance(given, ast.Constant) and given.value == value
            if key and has is not wanted:
                yield f"{name} and {key}, line {call.lineno}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_source_runs_what_it_reads(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    found = [
        f"{file.relative_to(ROOT)}: {fault}"
        for file in files
        for fault in faults(ast.parse(file.read_text()))
    ]
    assert not found


@pytest.mark.parametrize(
    "source",
    [
        "eval(x)",
        "pickle.load(file)",
        "torch.load(file)",
        "torch.load(file, weights_only=False)",
        "np.load(file, allow_pickle=True)",
        "archive.extractall(folder)",
        "subprocess.run(line, shell=True)",
        "os.system(line)",
    ],
)
def test_the_check_itself_sees_them(source: str) -> None:
    assert list(faults(ast.parse(source)))


@pytest.mark.parametrize(
    "source", ["network.eval()", "torch.load(f, weights_only=True)", "np.load(f)", "re.compile(x)"]
)
def test_the_check_lets_others_pass(source: str) -> None:
    assert not list(faults(ast.parse(source)))
