"""An engine as a table: one line per fact, what it is and where it runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rvm_trt.contract import LINEAR, TensorSpec
from rvm_trt.options import Backend, Precision

if TYPE_CHECKING:
    from rvm_trt.engines.artifact import Engine
    from rvm_trt.engines.manifest import Manifest


def table(engine: Engine) -> str:
    """Returns the engine's facts, one line each."""
    manifest = engine.manifest
    profile = manifest.profile
    refiner = profile.refiner.value.replace("_", " ") if profile.uses_refiner else "none (ratio 1)"
    facts = {
        "engine": str(engine.path),
        "size": _sizes(engine),
        "profile": f"{profile.width}x{profile.height}, ratio {profile.ratio:g}, network {profile.low_width}x"
        f"{profile.low_height}, {profile.variant.value}, {refiner}, batch {profile.batch}",
        "graph": manifest.graph.value,
        "precision": _precision(engine),
        "backend": f"{manifest.backend.value} {manifest.backend_version.split('-')[0]}",
        "targets": ", ".join(manifest.targets),
        "kernels": _kernels(engine),
        "runs on": _runs_on(manifest),
        "inputs": _specs(spec for spec in manifest.tensors if spec.direction == "input"),
        "outputs": _specs(spec for spec in manifest.tensors if spec.direction == "output"),
        "accuracy": _accuracy(manifest),
    }
    return "\n".join(f"{name:<10} {value}" for name, value in facts.items() if value)


def _accuracy(manifest: Manifest) -> str:
    measured = manifest.accuracy
    if not measured:
        return "not measured (give --footage CLIP or --calibration CLIP)"
    how = f", {measured['arithmetic']}" if "arithmetic" in measured else ""
    return (
        f"alpha MAD {1e3 * measured['pha_mad']:.3f}e-3, largest error {measured['pha_max']:.3f}, "
        f"{measured['frames']} frames, beside {measured['reference']}{how}"
    )


def _sizes(engine: Engine) -> str:
    sizes = {name: (engine.path / name).stat().st_size / 1e6 for name in engine.manifest.files}
    return f"{sum(sizes.values()):.1f} MB ({', '.join(f'{name} {size:.1f}' for name, size in sizes.items())})"


def _precision(engine: Engine) -> str:
    if engine.manifest.precision is not Precision.INT8:
        return str(engine.manifest.precision.value)
    from rvm_trt.engines.recipe import read_recipe

    recipe = read_recipe(engine.file("recipe.json"))
    return f"int8, {len(recipe.ranges)} convolutions with {recipe.share:.0%} of the network's multiply-accumulates"


def _kernels(engine: Engine) -> str:
    if engine.manifest.backend is not Backend.TENSORRT_RTX:
        return ""
    from rvm_trt.engines.plan import read_plan

    counts = {
        name: len(read_plan(engine.path / name).kernels)
        for name in engine.manifest.files
        if name.endswith(".plan")
    }
    found = ", ".join(f"{count} in {name}" for name, count in counts.items())
    return f"{found}; the head is one more, of the runtime" if engine.manifest.trunk else found


def _runs_on(manifest: Manifest) -> str:
    if manifest.backend is Backend.CPU:
        return f"any CPU, with OpenVINO {manifest.backend_version.split('-')[0]}"
    if manifest.backend is Backend.TENSORRT:
        return "GPUs like the one it was built on"
    gpus = ", ".join(target.removeprefix("sm_") for target in manifest.targets)
    library = f"TensorRT for RTX {manifest.backend_version}"
    return f"NVIDIA GPUs of compute capability {gpus}, with {library}; not on this CPU"


def _specs(specs: Iterable[TensorSpec]) -> str:
    return ", ".join(_spec(spec) for spec in specs)


def _spec(spec: TensorSpec) -> str:
    layout = "" if spec.layout == LINEAR else f" {spec.layout.replace('_', ' ')}"
    return f"{spec.name} {spec.shape} {spec.dtype}{layout}"
