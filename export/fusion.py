"""Graph surgery for TensorRT: an exported graph with fewer kernels and the same result."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import onnx

from rvm_trt.errors import OptionError
from rvm_trt.export import fusion_decoder, fusion_encoder
from rvm_trt.export.graph_editor import GraphEditor

STEPS = ("gates", "aspp", "small-gates", "averages", "gru", "pyramid", "guided-filter")


def fuse(
    model: onnx.ModelProto, *, keep: Collection[str] = (), steps: Collection[str] = STEPS
) -> Mapping[str, int]:
    """Rewrites an FP32 graph of `export_onnx` in place so that TensorRT needs fewer kernels for it.

    Inputs, outputs and results stay the same but for rounding (parity is tested at 1e-4 in alpha over real frames).
    What each step saves is in benchmarks/LOG.md.

    Args:
        model: a core or full graph, not yet fused.
        keep: names of convolutions that must stay as they are, with constant weights: those to be quantised.
        steps: names of the steps to take, of `STEPS`.

    Returns:
        Step → number of places rewritten.

    Raises:
        OptionError: there is no such step.
    """
    if unknown := sorted(set(steps) - set(STEPS)):
        raise OptionError(
            "steps",
            got=", ".join(map(repr, unknown)),
            expected=f"some of {', '.join(STEPS)}",
            todo="Name one of these.",
        )
    rewrites: Mapping[str, Callable[[GraphEditor], int]] = {
        "gates": lambda editor: fusion_encoder.gate_weights(editor, keep=keep),
        "aspp": fusion_encoder.join_aspp,
        "small-gates": lambda editor: fusion_encoder.average_in_gates(editor, keep=keep),
        "averages": fusion_encoder.average_channels_last,
        "gru": lambda editor: fusion_decoder.join_gates(editor, keep=keep),
        "pyramid": fusion_decoder.slice_pyramid,
        "guided-filter": fusion_decoder.join_guided_filter,
    }
    done = {}
    for name, rewrite in rewrites.items():
        if name in steps:
            editor = GraphEditor(model)
            done[name] = rewrite(editor)
            editor.finish()
    return done
