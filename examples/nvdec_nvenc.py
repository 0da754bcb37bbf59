"""Decode, matte and encode on one GPU: frames never leave it, and the host waits for none of them.

UNVERIFIED: written against the interface of PyNvVideoCodec 2.2 and cuda.core 1.2, run only against stand-ins.

Run: python examples/nvdec_nvenc.py talk.mp4 alpha.h264
The result is the alpha matte as a grey video: ``pha`` is written straight into the luma plane that NVENC reads.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rvm_trt import MattingSession, Profile
from rvm_trt.engines.provision import provide_engine
from rvm_trt.runtime.device_arrays import DeviceArray


class Nv12:
    """A grey picture as NVENC takes it: planes of Y and of interleaved Cb, Cr, one after the other."""

    def __init__(self, memory: Any, width: int, height: int, stream: int) -> None:
        self.luma = int(memory.handle)
        chroma = self.luma + width * height
        self._planes = [
            DeviceArray(self.luma, (height, width, 1), stream=stream, owner=memory),
            DeviceArray(chroma, (height // 2, width // 2, 2), stream=stream, owner=memory),
        ]

    def cuda(self) -> list[DeviceArray]:
        """The planes: PyNvVideoCodec asks for them by this name."""
        return self._planes


def main(source: str, target: str) -> None:
    import PyNvVideoCodec as nvc  # noqa: N813
    from cuda.core import Device

    gpu = Device(0)
    gpu.set_current()  # the primary context, where the session works too
    stream = gpu.create_stream()
    handle = int(stream.handle)
    shared = {"cudacontext": int(gpu.context.handle), "cudastream": handle}
    demuxer = nvc.CreateDemuxer(filename=source)
    width, height = demuxer.Width(), demuxer.Height()
    decoder = nvc.CreateDecoder(
        gpuid=0,
        codec=demuxer.GetNvCodecId(),
        usedevicememory=True,
        outputColorType=nvc.OutputColorType.RGB,  # (H, W, 3), as the session takes it
        **shared,
    )
    encoder = nvc.CreateEncoder(width, height, "NV12", False, gpu_id=0, codec="h264", **shared)
    memory = gpu.allocate(width * height * 3 // 2, stream=stream)
    memory.fill(128, stream=stream)  # grey: the chroma plane stays so
    picture = Nv12(memory, width, height, handle)
    engine = provide_engine(
        Profile.for_size(width=width, height=height), backend="tensorrt", precision="fp16", progress=print
    )
    with MattingSession(engine, outputs=("pha",)) as session, Path(target).open("wb") as result:
        for packet in demuxer:
            for frame in decoder.Decode(packet):
                # One stream for all three: each finds what the one before it wrote, and overwrites nothing too early.
                session.enqueue(frame, {"pha": picture.luma}, stream=stream)
                result.writelines(bytes(part["data"]) for part in encoder.Encode(picture))
        result.writelines(bytes(part["data"]) for part in encoder.EndEncode())
        stream.sync()


if __name__ == "__main__":
    main(*sys.argv[1:3])
