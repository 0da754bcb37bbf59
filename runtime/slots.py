"""What a schedule prepares at start-up: the memory, events and operations of every frame to come.

Frames repeat: what differs between them is which of two turns the network takes (state set read, state set written)
and which slot holds the frame. Operations are prepared for every pair of the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rvm_trt.runtime.device import Borrowed, Device, Event, Inlet, Operation, Outlet, Span
from rvm_trt.runtime.stages import Background, Sizes, Stages, Tensors

Operations = tuple[Operation, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """One of the two turns of the network. Tuples of tuples are by lane.

    Attributes:
        src: the network's input.
        coefficients: what ``compose`` reads.
        network: the core, the head where there is one, and what clears coefficients that are not wanted.
        ran: recorded when the network has run: ``src`` is free and the coefficients are there.
        composed: recorded when the coefficients are free again.
        zero, keep, put: operations on the state that this turn reads: set to zero, copy out, copy in.
    """

    src: Tensors
    coefficients: Tensors
    network: Operations
    ran: Event
    composed: Event
    zero: tuple[Operations, ...]
    keep: tuple[Operations, ...]
    put: tuple[Operations, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Work:
    """The operations at frame size, by turn and then by lane."""

    sample: tuple[Operations, ...]
    compose: tuple[Operations, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Slot:
    """Room for one frame that comes from the host and goes back there.

    Attributes:
        inlets, outlets: by lane.
        ready: recorded when the outputs are in host memory.
    """

    inlets: tuple[Inlet, ...]
    outlets: tuple[Outlet, ...]
    ready: Event
    work: Work


@dataclass(frozen=True, kw_only=True, eq=False)
class Loan:
    """A frame that stays in the caller's device memory.

    Attributes:
        sources: by lane.
        outputs: by lane, then by output.
        given: recorded on the caller's stream when the frame is there.
    """

    sources: tuple[Borrowed, ...]
    outputs: tuple[tuple[Borrowed, ...], ...]
    given: Event
    work: Work


@dataclass(frozen=True, kw_only=True, eq=False)
class Staging:
    """The way of one lane's states into host memory and back."""

    outlet: Outlet
    inlet: Inlet


def make_staging(device: Device, sizes: Sizes) -> Staging:
    """Returns the staging memory for states."""
    size = sum(sizes.state)
    return Staging(outlet=device.outlets("kept", size, 1)[0], inlet=device.inlet("restored", size))


def make_turns(
    device: Device, stages: Stages, staging: Staging, *, spill_suppression: bool
) -> tuple[Turn, Turn]:
    """Returns the two turns: each reads the states that the other writes."""
    sizes = stages.sizes
    states = [_tensors(device, f"state.{turn}", sizes.state, sizes.lanes) for turn in range(2)]
    # One is enough: the network runs in one stream, and nothing else touches it.
    hidden = _tensors(device, "hidden", (sizes.hidden,), sizes.lanes) if sizes.hidden else ()
    first, second = (
        _turn(device, stages, staging, turn, states, hidden, spill_suppression=spill_suppression)
        for turn in range(2)
    )
    return first, second


def make_slots(
    device: Device, stages: Stages, turns: Sequence[Turn], backgrounds: Sequence[Background], depth: int
) -> tuple[Slot, ...]:
    """Returns ``depth`` slots."""
    sizes = stages.sizes
    lanes = range(sizes.lanes)
    rings = [device.outlets(f"output.{lane}", sum(sizes.outputs), depth) for lane in lanes]
    slots = []
    for index in range(depth):
        inlets = tuple(device.inlet(f"source.{index}.{lane}", sizes.source) for lane in lanes)
        outlets = tuple(ring[index] for ring in rings)
        work = _work(
            stages,
            turns,
            backgrounds,
            sources=[inlet.buffer.span() for inlet in inlets],
            outputs=[_divide(outlet.buffer.span(), sizes.outputs) for outlet in outlets],
        )
        slots.append(Slot(inlets=inlets, outlets=outlets, ready=device.event(f"ready.{index}"), work=work))
    return tuple(slots)


def make_loan(
    device: Device, stages: Stages, turns: Sequence[Turn], backgrounds: Sequence[Background]
) -> Loan:
    """Returns the room for frames in the caller's memory. One serves all: addresses are arguments by value."""
    sizes = stages.sizes
    sources = tuple(device.borrowed(f"lent.{lane}", sizes.source) for lane in range(sizes.lanes))
    outputs = tuple(
        tuple(device.borrowed(f"given.{lane}.{index}", size) for index, size in enumerate(sizes.outputs))
        for lane in range(sizes.lanes)
    )
    work = _work(
        stages,
        turns,
        backgrounds,
        sources=[source.buffer.span() for source in sources],
        outputs=[tuple(output.buffer.span() for output in lane) for lane in outputs],
    )
    return Loan(sources=sources, outputs=outputs, given=device.event("given"), work=work)


def _turn(
    device: Device,
    stages: Stages,
    staging: Staging,
    index: int,
    states: Sequence[Tensors],
    hidden: Tensors,
    *,
    spill_suppression: bool,
) -> Turn:
    sizes = stages.sizes
    state, next_state = states[index], states[1 - index]
    src = _tensors(device, f"src.{index}", (sizes.src,), sizes.lanes)
    coefficients = _tensors(device, f"coefficients.{index}", sizes.coefficients, sizes.lanes)
    network = [
        stages.core(
            f"core.{index}", src=src[0], state=state, next_state=next_state, results=hidden or coefficients
        )
    ]
    if hidden:
        network.append(stages.head(src=src[0], hidden=hidden[0], coefficients=coefficients))
    if not spill_suppression:
        network += [device.fill(span) for span in _of_colours(coefficients, sizes.lanes)]
    kept = _divide(staging.outlet.buffer.span(), sizes.state)
    restored = _divide(staging.inlet.buffer.span(), sizes.state)
    lanes = [tuple(tensor.part(lane, sizes.lanes) for tensor in state) for lane in range(sizes.lanes)]
    return Turn(
        src=src,
        coefficients=coefficients,
        network=tuple(network),
        ran=device.event(f"ran.{index}"),
        composed=device.event(f"composed.{index}"),
        zero=tuple(tuple(map(device.fill, lane)) for lane in lanes),
        keep=tuple(tuple(map(device.copy, lane, kept)) for lane in lanes),
        put=tuple(tuple(map(device.copy, restored, lane)) for lane in lanes),
    )


def _work(
    stages: Stages,
    turns: Sequence[Turn],
    backgrounds: Sequence[Background],
    *,
    sources: Sequence[Span],
    outputs: Sequence[tuple[Span, ...]],
) -> Work:
    lanes = range(len(sources))
    return Work(
        sample=tuple(
            tuple(stages.sample(sources[lane], turn.src[0].part(lane, len(lanes))) for lane in lanes)
            for turn in turns
        ),
        compose=tuple(
            tuple(
                stages.compose(
                    source=sources[lane],
                    coefficients=tuple(tensor.part(lane, len(lanes)) for tensor in turn.coefficients),
                    background=backgrounds[lane],
                    outputs=outputs[lane],
                )
                for lane in lanes
            )
            for turn in turns
        ),
    )


def _of_colours(coefficients: Tensors, lanes: int) -> list[Span]:
    """Returns the coefficients of red, green and blue; where they are 0, the foreground is the frame itself."""
    parts = [tensor.part(lane, lanes) for tensor in coefficients for lane in range(lanes)]
    return [Span(part.buffer, part.start, part.start + part.size_bytes * 3 // 4) for part in parts]


def _tensors(device: Device, name: str, sizes: Sequence[int], lanes: int) -> Tensors:
    return tuple(device.buffer(f"{name}.{index}", size * lanes) for index, size in enumerate(sizes))


def _divide(span: Span, sizes: Sequence[int]) -> tuple[Span, ...]:
    spans, start = [], span.start
    for size in sizes:
        spans.append(Span(span.buffer, start, start + size))
        start += size
    return tuple(spans)
