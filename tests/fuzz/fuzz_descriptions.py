"""Seeds of what describes an engine or a profile: plans, layers, OpenVINO's XML, kernels in the cache, profiles."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from random import Random

from fuzz_mutators import mutate_bytes, mutate_json, mutate_words
from fuzz_seeds import Seeds

from rvm_trt.profile import Profile

KEY = "a" * 64
_PLAN = """header { accelerators={ sm89 } inputs={ "x.1" "n" } outputs={ "y.1" } shape_inputs={ "n" } n_streams=2
region={ name=heap place=accelerator size=4096 } region={ name=weights place=accelerator constant=true size=512 }
region={ name=counter place=host size=8 } }
descriptors { tensor={ name="x.1" type=float dims={ 1 3 8 8 } region=heap }
tensor={ name=n type=int64 dims={ 1 } region=counter } tensor={ name=w type=half dims={ 8 3 } const_payload_size=48 }
tensor={ name="t.1" type="half" dims={ 1 8 n 8 } region=heap }
sub_tensor={ name="t.2" base="t.1" type=half dims={ 1 4 8 8 } region=heap }
tensor={ name="y.1" type=half dims={ 1 3 8 8 } region=heap } }
main { corrltn={ name=first layers="[ONNX Layer: first]" input={ "x.1" w } output={ "t.1" } stream=0 }
signal={ stream=0 } add={ input={ n } output={ n } } maxpool={ name=pool input={ "t.2" } output={ "y.1" } stream=1 }
runtime_fusion={ name=f backbone=conv layers="a\\"b" input_args={ "t.1" } output_args={ "y.1" } }
function={ name=__myl_MulAdd kernel_kind=1 input={ "t.1" } output={ "y.1" } } }
"""
_XML = """<?xml version="1.0"?><net name="core" version="11"><layers>
<layer id="0" name="src" type="Parameter" version="opset1"><output><port id="0" precision="FP32" names="src">
<dim>1</dim><dim>3</dim></port></output></layer>
<layer id="1" name="w" type="Const"><output><port id="0" precision="BF16"><dim>3</dim></port></output></layer>
<layer id="2" name="both" type="Split"><input><port id="0"/><port id="1"/></input><output>
<port id="2" precision="FP16"><dim>-1</dim></port><port id="3" precision="I64"/></output></layer>
<layer id="3" name="pha" type="Result"><input><port id="0"/></input></layer></layers>
<edges><edge from-layer="0" from-port="0" to-layer="2" to-port="0"/>
<edge from-layer="1" from-port="0" to-layer="2" to-port="1"/>
<edge from-layer="2" from-port="2" to-layer="3" to-port="0"/></edges></net>
"""


def plan(text: bytes) -> bytes:
    """Returns a plan of one program, whose sizes are right."""
    program = struct.pack("<Q4s4xQ", len(text) + 16, b"NLYM", len(text)) + text
    return struct.pack("<4s12xQ", b"vtrt", 24 + len(program)) + program


def plans() -> Seeds:
    """A plan with one statement of every kind, and two programs side by side."""
    one = plan(_PLAN.encode())
    both = one + b"NLYM" + one[24:]
    return {"one": one, "two": both[:16] + struct.pack("<Q", len(both)) + both[24:]}


def in_plan(data: bytes, rng: Random) -> bytes:
    """Changes words of a program, or bytes of the whole, whose length in the header stays right in most cases."""
    at = data.find(b"header {")
    if at >= 0 and rng.randrange(4):
        return plan(mutate_words(data[at:], rng))
    mutant = mutate_bytes(data, rng)
    return mutant[:16] + struct.pack("<Q", len(mutant)) + mutant[24:] if rng.randrange(8) else mutant


def layers() -> Seeds:
    """What TensorRT's inspector says of two layers."""
    x, w, y = (
        {"Name": name, "Location": "Device", "Dimensions": [1, 8, 4, 4], "Format/Datatype": words}
        for name, words in (("x", "Row major linear FP32"), ("w", "Half"), ("y", "Channel major FP16 format"))
    )
    shared = {"StreamId": 0, "Metadata": "[ONNX Layer: first]\x1e[ONNX Layer: second]"}
    named = [
        {"Name": "first", "LayerType": "CaskConvolution", "Inputs": [x, w], "Outputs": [y], **shared},
        {"Name": "__myl_CastMul_1", "LayerType": "kgen", "Inputs": [y], "Outputs": [x], **shared},
        {"Name": "order", "LayerType": "signal", "Inputs": [], "Outputs": []},
    ]
    return {
        "bindings-as-text": json.dumps({"Layers": named, "Bindings": ["x", "y"]}).encode(),
        "bindings-as-objects": json.dumps({"Layers": named[:1], "Bindings": [{"Name": "x"}]}).encode(),
    }


def openvino() -> Seeds:
    """OpenVINO's XML of a graph of one operation."""
    return {"one": _XML.encode()}


def kernel(body: bytes) -> bytes:
    """Returns a kernel's file with the right digest."""
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def kernels() -> Seeds:
    """A kernel as the cache keeps it."""
    head = json.dumps({"key": KEY, "log": "ptxas info : Used 40 registers"}).encode()
    return {"one": kernel(head + b"\n\x7fELF\n\0")}


def in_kernel(data: bytes, rng: Random) -> bytes:
    """Changes what a kernel's file says of itself, with the right digest in most cases."""
    head, _, cubin = data.partition(b"\n")[2].partition(b"\n")
    if rng.randrange(8) == 0:
        return mutate_bytes(data, rng)
    return kernel((mutate_json if rng.randrange(4) else mutate_bytes)(head, rng) + b"\n" + cubin)


def profiles() -> Seeds:
    """Profiles as they are kept: with and without a refiner, of each variant."""
    hd = Profile.named("hd")
    found = {"hd": hd, "square": replace(hd, width=512, height=512, ratio=1.0, batch=2)}
    return {name: json.dumps(profile.to_json()).encode() for name, profile in found.items()}
