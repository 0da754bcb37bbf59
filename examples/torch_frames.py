"""PyTorch in, PyTorch out: tensors are read and written where they are, in the order of the current stream.

Run: python examples/torch_frames.py talk.mp4
Written for tensors on the CPU and on a GPU; it has run on the CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import torch

from rvm_trt import MattingSession, Profile
from rvm_trt.engines.provision import provide_engine
from rvm_trt.runtime.video.source import open_source


def blend(session: MattingSession, clip: torch.Tensor, background: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yields each frame of ``clip``, (T, H, W, 3) uint8, over ``background``, (H, W, 3) in 0..255, as uint8.

    The session has the outputs ``pha`` and ``fgr``. What is yielded is on the clip's device.
    """
    foreground, alpha = torch.empty_like(clip[0]), torch.empty_like(clip[0, ..., 0])
    for frame in clip:
        stream = torch.cuda.current_stream(clip.device) if clip.is_cuda else None
        session.enqueue(frame, {"pha": alpha, "fgr": foreground}, stream=stream)
        # Still that stream: what PyTorch does next finds the outputs written, and no one waits for the GPU.
        share = alpha.unsqueeze(-1).float() / 255
        yield (foreground * share + background * (1 - share)).round().to(torch.uint8)


def main(path: str) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    source = open_source(path)
    profile = Profile.for_size(width=source.width, height=source.height)
    engine = provide_engine(profile, backend="auto" if device == "cuda" else "cpu", progress=print)
    clip = torch.stack([torch.from_numpy(frame.image) for frame in source]).to(device)
    sea = torch.tensor([40, 90, 140], dtype=torch.uint8, device=device).expand_as(clip[0])
    with MattingSession(engine, outputs=("pha", "fgr")) as session:
        for index, picture in enumerate(blend(session, clip, sea)):
            print(f"frame {index}: mean level {picture.float().mean():.1f}")


if __name__ == "__main__":
    main(sys.argv[1])
