"""Bfloat16 in an OpenVINO graph: the network in half the bytes, with FP32 islands where rounding would show.

Precision is written into the graph, not left to a hint: a hint lowers the guided filter too, whose statistics
``box(xy) − box(x)box(y)`` then cancel to noise (with the fast guided filter alpha came out wrong by up to 1).
The islands are the guided filter's statistics and what follows them; the states' update ``(1 − z)·h + z·c``, whose
rounding would add up over frames; the full graph's first downsampling; the first blocks of MobileNetV3, whose rounding
tips the network where it cannot decide whether something is a person; and what is computed from weights alone, such as
an island's biases. In an INT8 model the quantised convolutions are islands as well, from the quantiser to the
activation. (Figures: benchmarks/LOG.md.)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rvm_trt.contract import STATE_OUTPUTS
from rvm_trt.engines.openvino_library import import_openvino

_PROJECTION = "project_mat"
_NETWORK = ("backbone", "aspp", "decoder")
_BLOCK = re.compile(r"backbone\.features\.(\d+)[./]")
# MobileNetV3's blocks before those that work at 1/16 with dilation.
_FIRST_BLOCKS = 13


def lower_to_bfloat16(model: Any) -> None:
    """Changes an FP32 OpenVINO model of ours in place: bfloat16 but for the islands; inputs and outputs stay FP32."""
    openvino = import_openvino()
    half, single = openvino.Type.bf16, openvino.Type.f32
    islands = {node.get_friendly_name() for node in _islands(model)}
    for node in model.get_ordered_ops():
        if node.get_type_name() in ("Parameter", "Constant"):
            continue
        wants_single = node.get_friendly_name() in islands or node.get_type_name() == "Result"
        for port in _value_ports(node):
            source = port.get_source_output()
            if source.get_element_type() != single:
                continue  # an integer, or a conversion that was just put in
            producer = source.get_node()
            is_single = (
                producer.get_type_name() in ("Parameter", "Constant")
                or producer.get_friendly_name() in islands
            )
            if is_single != wants_single:
                convert = openvino.opset13.convert(source, single if wants_single else half)
                port.replace_source_output(convert.output(0))
    model.validate_nodes_and_infer_types()


def guard_quantisers(model: Any) -> None:
    """Keeps OpenVINO from moving an INT8 convolution's quantiser above the concatenation that feeds it.

    It would quantise the parts before they are upsampled, and interpolate between levels: alpha came out wrong by 2e-3
    where the graph as written gives 0.03e-3. A rounding to bfloat16, which costs 8 bits nothing, holds it in place.
    """
    openvino = import_openvino()
    for node in model.get_ordered_ops():
        if (
            node.get_type_name() == "FakeQuantize"
            and node.input_value(0).get_node().get_type_name() != "Convert"
        ):
            rounded = openvino.opset13.convert(node.input_value(0), openvino.Type.bf16)
            widened = openvino.opset13.convert(rounded.output(0), openvino.Type.f32)
            node.input(0).replace_source_output(widened.output(0))
    model.validate_nodes_and_infer_types()


def _value_ports(node: Any) -> Iterator[Any]:
    """Yields the inputs that carry values: not the sizes, scales and axes that some operators take as well."""
    ports = node.inputs()
    if node.get_type_name() in (
        "Interpolate",
        "Split",
        "VariadicSplit",
        "StridedSlice",
        "Slice",
        "ReduceMean",
    ):
        ports = ports[:1]
    yield from ports


def _islands(model: Any) -> list[Any]:
    nodes = [
        n for n in model.get_ordered_ops() if n.get_type_name() not in ("Parameter", "Constant", "Result")
    ]
    chosen = {n.get_friendly_name(): n for n in nodes if n.get_friendly_name().startswith(_PROJECTION)}
    for node in nodes:  # in order, so that one pass finds every descendant
        if any(producer.get_friendly_name() in chosen for producer in _producers(node)):
            chosen[node.get_friendly_name()] = node
    for node in reversed(nodes):  # what only the islands read: the guided filter's statistics of the image
        consumers = [target.get_node() for output in node.outputs() for target in output.get_target_inputs()]
        if not node.get_friendly_name().startswith(_NETWORK) and all(
            consumer.get_friendly_name() in chosen for consumer in consumers
        ):
            chosen[node.get_friendly_name()] = node
    for node in nodes:
        if (
            node.get_type_name() == "Interpolate"
            and node.input_value(0).get_node().get_type_name() == "Parameter"
        ):
            chosen[node.get_friendly_name()] = node
    chosen.update({n.get_friendly_name(): n for n in (*_of_weights_alone(nodes), *_quantised(nodes))})
    chosen.update({n.get_friendly_name(): n for n in nodes if _is_among_first(n.get_friendly_name())})
    for name in STATE_OUTPUTS:
        for node in _state_update(model.output(name).get_node().input_value(0).get_node()):
            chosen[node.get_friendly_name()] = node
    return list(chosen.values())


def _is_among_first(name: str) -> bool:
    found = _BLOCK.match(name)
    return name.startswith("backbone/") or (found is not None and int(found[1]) < _FIRST_BLOCKS)


def _of_weights_alone(nodes: list[Any]) -> Iterator[Any]:
    """Yields what no value of a frame reaches, only shapes: the reader's arithmetic around weights and biases."""
    names = set()
    for node in nodes:  # in order
        producers = _producers(node)
        if node.get_type_name() == "ShapeOf" or all(
            _is_constant(each) or each.get_friendly_name() in names for each in producers
        ):
            names.add(node.get_friendly_name())
            yield node


def _quantised(nodes: list[Any]) -> Iterator[Any]:
    """Yields what belongs to INT8 convolutions: equalisation, quantiser, convolution, sum with the bias, activation."""
    for node in nodes:
        if node.get_type_name() != "Convolution":
            continue
        chain = _quantising_chain(node)
        if chain:
            yield from (*chain, node)
            (biased,) = _consumers(node)
            yield biased
            yield from (each for each in _consumers(biased) if each.get_type_name() == "Relu")


def _quantising_chain(convolution: Any) -> list[Any]:
    """Returns the nodes above a convolution's input up to the quantiser and its equalisation; none without one."""
    chain = []
    node = convolution.input_value(0).get_node()
    while node.get_type_name() in ("Multiply", "Subtract", "Convert"):
        chain.append(node)
        node = node.input_value(0).get_node()
    if node.get_type_name() != "FakeQuantize":
        return []
    chain.append(node)
    factor = node.input_value(0).get_node()
    if factor.get_type_name() == "Multiply" and _is_constant(factor.input_value(1).get_node()):
        chain.append(factor)
    return chain


def _is_constant(node: Any) -> bool:
    return bool(node.get_type_name() == "Constant")


def _consumers(node: Any) -> list[Any]:
    """Returns the nodes that read a node's values; those that read only its shape are none."""
    targets = [target.get_node() for output in node.outputs() for target in output.get_target_inputs()]
    return [each for each in targets if each.get_type_name() != "ShapeOf"]


def _producers(node: Any) -> list[Any]:
    return [value.get_node() for value in node.input_values()]


def _state_update(node: Any) -> Iterator[Any]:
    """Yields the arithmetic above a state output, up to the gates' activations."""
    if node.get_type_name() in ("Add", "Subtract", "Multiply"):
        yield node
        for producer in _producers(node):
            yield from _state_update(producer)
