"""Engines on disk under damage, full disks, two builds at once and kill -9: never used when wrong, always mended."""

from __future__ import annotations

import copy
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from rvm_trt import Engine, Profile, build_engine
from rvm_trt.cli import main
from rvm_trt.engines import recipe_cache
from rvm_trt.engines.build import find_engine
from rvm_trt.engines.footage import CalibrationFootage
from rvm_trt.engines.manifest import NAME, Manifest
from rvm_trt.engines.provision import provide_engine
from rvm_trt.engines.quantise import InputRange
from rvm_trt.engines.recipe import Layer, Recipe
from rvm_trt.engines.tensorrt_options import TensorRtOptions
from rvm_trt.errors import EngineError, RvmTrtError
from rvm_trt.export.graph_info import read_graph_info

ODD = Profile(width=161, height=97, ratio=0.6)
TWIN = replace(ODD, width=160)  # another profile, the same 96×58 network
RTX = {"backend": "tensorrt-rtx", "precision": "fp16", "options": TensorRtOptions(targets=("sm_89",))}
CPU = {"backend": "cpu", "precision": "fp32"}
MIB = 1 << 20
# Arguments: graph, folder, backend, precision, how often. Waits for a line, then builds anew each time.
BUILDER = """
import sys
import onnx
from rvm_trt import build_engine
from rvm_trt.engines.tensorrt_options import TensorRtOptions
graph, engines, backend, precision, times = sys.argv[1:]
options = TensorRtOptions(targets=("sm_89",))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(times)):
    build_engine(graph, backend=backend, precision=precision, engines=engines, options=options, force=True)
"""
# Arguments: a folder, an engine, how often. Writes small files under its manifest: only the renaming takes time.
WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from rvm_trt import Engine
from rvm_trt.engines.artifact import write_engine
source = Engine.load(sys.argv[2])
def write(folder):
    for name in source.manifest.files:
        (folder / name).write_bytes(b"small")
    return {}
print("ready", flush=True)
sys.stdin.readline()
for _ in range(int(sys.argv[3])):
    write_engine(sys.argv[1], replace(source.manifest, files={}), write)
"""


@pytest.fixture(scope="module")
def graph(exported: Callable[..., Path]) -> Path:
    return exported(ODD)


@pytest.fixture(scope="module")
def whole(graph: Path, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """A TensorRT-RTX engine that no test alters."""
    return build_engine(graph, engines=tmp_path_factory.mktemp("whole"), **RTX)


@pytest.fixture
def engine(whole: Engine, tmp_path: Path) -> Engine:
    """A copy of it that a test may damage."""
    return Engine.load(shutil.copytree(whole.path, tmp_path / "engines" / whole.path.name))


@pytest.fixture
def builds(whole: Engine, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Takes TensorRT's place with a copy of its plan, which a build gives again anyway; lists what was built."""
    built: list[Path] = []

    def build(_network: Path, plan: Path, **_: Any) -> None:
        built.append(plan)
        shutil.copyfile(whole.path / "engine.plan", plan)

    monkeypatch.setattr("rvm_trt.engines.tensorrt_engine.build_in_process", build)
    return built


@pytest.fixture
def twin(graph: Path, tmp_path: Path) -> Path:
    """The graph as it is exported for the twin profile: the same network, another description."""
    return described(graph, tmp_path / "twin.onnx", profile=json.dumps(TWIN.to_json()))


def described(graph: Path, path: Path, **changes: str) -> Path:
    model = onnx.load_model(graph)
    notes = {entry.key: entry.value for entry in model.metadata_props}
    notes.update({f"rvm_trt.{name}": value for name, value in changes.items()})
    onnx.helper.set_model_props(model, notes)
    onnx.save_model(model, path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(engine: Engine) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in engine.path.iterdir()}


def flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        value = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([value ^ 1 << bit % 8]))


def edit(engine: Engine, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads((engine.path / NAME).read_text())
    change(data)
    (engine.path / NAME).write_text(json.dumps(data))


def unnoticed(engine: Engine, wanted: Manifest) -> bool:
    """Whether neither loading nor the next build notices that the manifest was changed."""
    try:
        loaded = Engine.load(engine.path)
    except EngineError as error:
        assert engine.path.name in str(error)
        assert error.todo.startswith("Build the engine")
        return False
    differences = loaded.mismatches(wanted)
    assert (find_engine(engine.path, wanted) is None) == bool(differences)
    return not differences


# Damage.


@pytest.mark.parametrize("name", ["engine.plan", "network.onnx"])
def test_one_altered_bit_anywhere_in_a_file_is_noticed(name: str, engine: Engine) -> None:
    draw, path = random.Random(name), engine.path / name
    size = path.stat().st_size
    for bit in [0, 8 * size - 1, *(draw.randrange(8 * size) for _ in range(30))]:
        flip(path, bit)
        with pytest.raises(
            EngineError, match=f"got {name} does not have the SHA-256 that the manifest names,"
        ):
            Engine.load(engine.path)
        flip(path, bit)
    assert Engine.load(engine.path) == engine


@pytest.mark.parametrize("name", ["engine.plan", "network.onnx"])
def test_a_file_cut_anywhere_or_lengthened_is_noticed(name: str, engine: Engine) -> None:
    draw, path = random.Random(name), engine.path / name
    content = path.read_bytes()
    sizes = sorted((draw.randrange(len(content)) for _ in range(15)), reverse=True)
    path.write_bytes(content + b"\0")
    for size in [len(content) + 1, len(content) - 1, *sizes, 0]:
        os.truncate(path, size)
        with pytest.raises(EngineError, match=f"{name} does not have the SHA-256"):
            Engine.load(engine.path)


def test_a_damaged_plan_is_built_again_by_tensorrt(engine: Engine, graph: Path) -> None:
    before = contents(engine)
    flip(engine.path / "engine.plan", 8_000_000)
    again = build_engine(graph, engines=engine.path.parent, **RTX)
    # Not its bytes: a plan lists its outputs in an order that is not always the same.
    assert Engine.load(engine.path) == again
    assert again.manifest.key() == engine.manifest.key()
    assert contents(again).keys() == before.keys()
    assert names(engine.path.parent) == [engine.path.name]


def test_one_altered_bit_anywhere_in_the_manifest_is_noticed(engine: Engine) -> None:
    draw, path = random.Random("manifest"), engine.path / NAME
    for _ in range(120):
        bit = draw.randrange(8 * path.stat().st_size)
        flip(path, bit)
        assert not unnoticed(engine, engine.manifest), bit
        flip(path, bit)


def test_a_manifest_cut_anywhere_is_refused(engine: Engine) -> None:
    path, text = engine.path / NAME, (engine.path / NAME).read_bytes()
    draw = random.Random("cut")
    for size in [0, len(text) - 2, *(draw.randrange(len(text) - 2) for _ in range(60))]:
        path.write_bytes(text[:size])
        with pytest.raises(EngineError, match=r"manifest.json: got no JSON \("):
            Engine.load(engine.path)


def edits(data: Any, where: str = "") -> Iterator[tuple[str, Callable[[Any], Any]]]:
    """Every value of a manifest changed into another of its kind, and every entry removed."""
    for key, value in list(data.items()) if isinstance(data, dict) else list(enumerate(data)):
        place = f"{where}/{key}"
        yield f"without {place}", lambda holder, key=key: holder.pop(key)
        if isinstance(value, (dict, list)):
            for words, change in edits(value, place):
                yield words, lambda holder, key=key, change=change: change(holder[key])
        else:
            yield place, lambda holder, key=key, value=value: holder.__setitem__(key, other(value))


def other(value: Any) -> Any:
    if isinstance(value, str):
        return {"fp16": "int8", "tensorrt-rtx": "tensorrt", "core": "full"}.get(
            value, value[:-1] + ("0" if value[-1] != "0" else "1")
        )
    return 7 if value is None else value + 1 if isinstance(value, int) else value + 1e-4


def test_every_changed_or_missing_value_of_the_manifest_is_noticed(engine: Engine) -> None:
    data = json.loads((engine.path / NAME).read_text())
    missed = []
    for words, change in edits(data):
        changed = copy.deepcopy(data)
        change(changed)
        (engine.path / NAME).write_text(json.dumps(changed))
        if unnoticed(engine, engine.manifest):
            missed.append(words)
    assert missed == []


def test_figures_of_accuracy_that_were_changed_are_noticed(engine: Engine) -> None:
    edit(engine, lambda data: data["accuracy"].update(pha_mad=0.0))
    with pytest.raises(EngineError, match="manifest"):
        Engine.load(engine.path)


def test_a_plan_that_the_manifest_does_not_name_is_no_engine(
    engine: Engine, graph: Path, builds: list[Path]
) -> None:
    (engine.path / "engine.plan").unlink()
    edit(engine, lambda data: data["files"].pop("engine.plan"))
    with pytest.raises(EngineError, match=r"engine\.plan|manifest"):
        Engine.load(engine.path)
    assert build_engine(graph, engines=engine.path.parent, **RTX) == engine
    assert len(builds) == 1


def test_a_file_that_cannot_be_read_is_an_error_of_the_engine(engine: Engine) -> None:
    plan = engine.path / "engine.plan"
    plan.unlink()
    plan.symlink_to("/proc/self/mem")  # a regular file whose first byte cannot be read
    if not plan.is_file():
        pytest.skip("no /proc")
    with pytest.raises(EngineError, match=r"engine\.plan .*Input/output error"):
        Engine.load(engine.path)


# Engines of other inputs.


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"backend_version": "1.3.0.1"}, r"backend_version is '1\.3\.0\.1', expected '1\."),
        ({"targets": ["sm_86", "sm_89"]}, r"targets is \['sm_86', 'sm_89'\], expected \['sm_89'\]"),
        ({"checkpoint_sha256": "e" * 64}, "checkpoint_sha256 is 'eeee.*', expected '"),
        ({"onnx_sha256": "e" * 64}, "onnx_sha256 is 'eeee.*', expected '"),
        ({"made": {}}, "made is {}, expected {"),
        ({"schema": 1}, "schema 1, expected schema 2"),
    ],
    ids=["version", "targets", "checkpoint", "onnx", "made", "schema"],
)
def test_an_engine_of_other_inputs_is_built_again(
    changes: dict[str, Any], words: str, engine: Engine, graph: Path, builds: list[Path]
) -> None:
    wanted = engine.manifest
    if "schema" in changes:
        edit(engine, lambda data: data.update(changes))
        with pytest.raises(EngineError, match=words):
            Engine.load(engine.path)
    else:
        fields = {name: tuple(value) if name == "targets" else value for name, value in changes.items()}
        replace(wanted, **fields).write(engine.path)
        (difference,) = Engine.load(engine.path).mismatches(wanted)
        assert (
            pytest.re.search(words, difference)
            if hasattr(pytest, "re")
            else __import__("re").search(words, difference)
        )
    assert build_engine(graph, engines=engine.path.parent, **RTX) == engine
    assert Engine.load(engine.path).mismatches(wanted) == []
    assert len(builds) == 1


def test_the_command_too_notices_a_changed_hash_of_the_graph(
    engine: Engine,
    graph: Path,
    checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    builds: list[Path],
) -> None:
    monkeypatch.setattr("rvm_trt.export.onnx_graph.export_onnx", lambda *_, **__: graph)
    edit(engine, lambda data: data.update(onnx_sha256="e" * 64))
    again = provide_engine(ODD, checkpoint=checkpoint(), engines_dir=engine.path.parent, **RTX)
    assert again == engine
    assert len(builds) == 1


def test_a_graph_that_is_replaced_during_the_build_gives_no_engine_under_its_hash(
    graph: Path, tmp_path: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = described(graph, tmp_path / "core.onnx")

    def meanwhile(*_: object, **__: object) -> None:  # the last step before the graph is read
        described(graph, path, version="another export")

    monkeypatch.setattr("rvm_trt.engines.build.share_engine", meanwhile)
    with pytest.raises(RvmTrtError, match=r"core\.onnx"):
        build_engine(path, engines=tmp_path / "engines", **RTX)
    assert names(tmp_path / "engines") == []
    assert len(builds) <= 1


# Shared files.


def test_damage_to_a_shared_file_is_noticed_in_both_engines(
    engine: Engine, graph: Path, twin: Path, builds: list[Path]
) -> None:
    engines = engine.path.parent
    shared = build_engine(twin, engines=engines, **RTX)
    assert builds == []
    assert (shared.path / "engine.plan").samefile(engine.path / "engine.plan")
    flip(shared.path / "engine.plan", 1_000_000)
    for path in (engine.path, shared.path):
        with pytest.raises(EngineError, match=r"engine\.plan does not have the SHA-256"):
            Engine.load(path)
    assert build_engine(graph, engines=engines, **RTX) == engine
    assert len(builds) == 1, "the damaged neighbour must not be shared"
    assert Engine.load(build_engine(twin, engines=engines, **RTX).path) == shared
    assert len(builds) == 1


def test_a_neighbour_that_changes_while_it_is_shared_is_not_taken(
    engine: Engine, twin: Path, builds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    right, load = engine.manifest.files["engine.plan"], Engine.load

    def loaded_and_replaced(path: Path) -> Engine:
        found = load(path)
        (engine.path / "engine.plan").unlink()
        (engine.path / "engine.plan").write_bytes(b"the plan of another checkpoint")
        return found

    monkeypatch.setattr(Engine, "load", loaded_and_replaced)
    shared = build_engine(twin, engines=engine.path.parent, **RTX)
    assert shared.manifest.files["engine.plan"] == right
    assert len(builds) == 1


# Disks that are full or cannot be written.


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """A write beyond this size fails, here and in processes started here, as on a full disk."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, before)


FULL = pytest.mark.parametrize(
    ("options", "size"),
    [(CPU, 2 * MIB), (RTX, 4 * MIB), (RTX, 11 * MIB), (RTX, 1024)],
    ids=["cpu", "network", "plan", "first"],
)


@FULL
def test_a_full_disk_is_one_clear_error_and_leaves_nothing(
    options: dict[str, Any], size: int, graph: Path, tmp_path: Path
) -> None:
    with largest_file(size), pytest.raises(RvmTrtError, match=r"with room to write") as caught:
        build_engine(graph, engines=tmp_path / "engines", **options)
    assert "\n" not in str(caught.value)
    assert "Export" not in caught.value.todo, "the graph is not at fault"
    assert names(tmp_path / "engines") == []


def test_a_full_disk_keeps_the_old_engine(engine: Engine, graph: Path) -> None:
    before = contents(engine)
    with largest_file(11 * MIB), pytest.raises(RvmTrtError):
        build_engine(graph, engines=engine.path.parent, force=True, **RTX)
    assert contents(engine) == before
    assert names(engine.path.parent) == [engine.path.name]


def test_a_manifest_that_does_not_fit_leaves_nothing(engine: Engine, twin: Path) -> None:
    with largest_file(100), pytest.raises(RvmTrtError, match=r"File too large"):
        build_engine(twin, engines=engine.path.parent, **RTX)
    assert names(engine.path.parent) == [engine.path.name]


@pytest.fixture(params=["under a file", "in /proc"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "in /proc":
        return Path("/proc/rvm-trt/engines")
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "engines"


@pytest.mark.parametrize("options", [CPU, RTX], ids=["cpu", "rtx"])
def test_a_folder_that_cannot_be_written_is_one_clear_error(
    options: dict[str, Any], unwritable: Path, graph: Path
) -> None:
    with pytest.raises(RvmTrtError, match=re.escape(str(unwritable))) as caught:
        build_engine(graph, engines=unwritable, **options)
    assert "\n" not in str(caught.value)


def command(checkpoint: Path, engines: Path, backend: str) -> int:
    size = ["--size", f"{ODD.width}x{ODD.height}", "--ratio", f"{ODD.ratio}"]
    words = ["--backend", backend, "--precision", "fp32", "--checkpoint", str(checkpoint), *size]
    return main(["build", *words, "--engines", str(engines)])


@pytest.mark.parametrize("backend", ["cpu", "tensorrt-rtx"])
@pytest.mark.parametrize("case", ["full", "unwritable"])
def test_the_command_says_it_in_one_message(
    backend: str,
    case: str,
    graph: Path,
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("rvm_trt.export.onnx_graph.export_onnx", lambda *_, **__: graph)
    (tmp_path / "file").write_text("")
    engines = tmp_path / ("engines" if case == "full" else "file/engines")
    with largest_file(4 * MIB if case == "full" else 1 << 40):
        assert command(checkpoint(), engines, backend) == 1
    written = capsys.readouterr()
    assert len([line for line in written.err.splitlines() if line.startswith("rvm-trt build: ")]) == 1
    assert "Traceback" not in written.err
    assert written.out == ""


# Two builds at once, and kill -9.


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """Starts a script in a session of its own, and returns when it has imported what it needs."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), errors


@pytest.mark.parametrize("options", [CPU, RTX], ids=["cpu", "rtx"])
def test_two_builds_at_once_both_succeed(options: dict[str, Any], graph: Path, tmp_path: Path) -> None:
    words = (graph, tmp_path, options["backend"], options["precision"], 1)
    finish([start(BUILDER, *words), start(BUILDER, *words)])
    (name,) = names(tmp_path)
    engine = Engine.load(tmp_path / name)
    assert build_engine(graph, engines=tmp_path, **options) == engine


def test_engines_written_at_once_replace_each_other_whole(whole: Engine, tmp_path: Path) -> None:
    target = tmp_path / whole.path.name
    finish([start(WRITER, target, whole.path, 300) for _ in range(2)])
    assert names(tmp_path) == [target.name]
    assert Engine.load(target).mismatches(whole.manifest) == []


@pytest.mark.parametrize(
    ("script", "kills", "longest_s"),
    [("cpu", 4, 0.8), ("tensorrt-rtx", 3, 3.0), ("writer", 8, 0.3)],
)
def test_kill_9_leaves_a_whole_engine_or_none(
    script: str, kills: int, longest_s: float, whole: Engine, graph: Path, tmp_path: Path
) -> None:
    draw = random.Random(script)
    options = CPU if script == "cpu" else RTX
    engines = tmp_path / "engines"
    target = engines / (whole.path.name if options is RTX else f"{ODD.name}-core-fp32-cpu")
    for _ in range(kills):
        if script == "writer":
            process = start(WRITER, target, whole.path, 1 << 30)
        else:
            process = start(BUILDER, graph, engines, options["backend"], options["precision"], 1 << 30)
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(draw.uniform(0, longest_s))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert not target.exists() or Engine.load(target).path == target
    assert Engine.load(build_engine(graph, engines=engines, force=True, **options).path).path == target
    assert names(engines) == [target.name], "what killed builds left behind is swept"


# Recipes.


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Takes the place of the INT8 search; lists the keys searched for."""
    keys: list[dict[str, Any]] = []

    def find(*_: object, key: dict[str, Any], mad_budget: float, **__: object) -> Recipe:
        keys.append(key)
        layer = Layer(name="a", macs=1000, mad_alone=0.25, dtssd_alone=0.5, int8=True, reason="within")
        return Recipe(
            ranges={"a": InputRange(largest=6.25, scales=(1.5, 2.0))},
            layers=(layer,),
            held_out={"pha_mad": 0.0005},
            mad_budget=mad_budget,
            footage={"clips": ["a.mp4"]},
            key=key,
        )

    monkeypatch.setattr(recipe_cache, "find_recipe", find)
    monkeypatch.setattr(CalibrationFootage, "divide", lambda *_: None)
    return keys


def test_a_damaged_recipe_is_searched_for_again_and_rewritten(
    searches: list[dict[str, Any]], graph: Path, tmp_path: Path
) -> None:
    info = read_graph_info(graph)
    footage = CalibrationFootage(words={"clips": "a"}, read=lambda *_: [])

    def recipe() -> Recipe:
        return recipe_cache.recipe_for(info, footage, mad_budget=1e-3, folder=tmp_path)

    right = recipe()
    (path,) = tmp_path.iterdir()
    text, draw = path.read_bytes(), random.Random("recipe")
    assert (recipe(), len(searches)) == (right, 1)
    for _ in range(10):
        path.write_bytes(text[: draw.randrange(len(text) - 2)])
        assert (recipe(), path.read_bytes()) == (right, text)
    assert len(searches) == 11
    wrong = []
    for _ in range(100):
        bit = draw.randrange(8 * len(text))
        flip(path, bit)
        if recipe() != right:
            wrong.append(path.read_bytes()[max(bit // 8 - 20, 0) : bit // 8 + 20])
        path.write_bytes(text)
    assert wrong == []
