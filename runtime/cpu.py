"""The CPU pipeline: sample, core, compose, one after the other, without a copy of the frame."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import numpy as np
import numpy.typing as npt

from rvm_trt.engines.artifact import Engine
from rvm_trt.errors import DependencyError
from rvm_trt.resample import downsample_taps, upsample_taps
from rvm_trt.runtime.bands import Bands
from rvm_trt.runtime.frames import OUTPUTS, Image
from rvm_trt.runtime.openvino_core import OpenVinoCore


class CpuPipeline:
    """Runs one core engine on the CPU from uint8 frames to uint8 outputs.

    Rows of frames and outputs are flat here: (H, W·channels).

    Args:
        engine: a core engine of the ``cpu`` backend.
        threads: threads of the network and of the kernels, which never run at the same time.

    Raises:
        DependencyError: OpenVINO or numba is not installed.
        EngineError: OpenVINO cannot run the engine here.
    """

    def __init__(self, engine: Engine, *, threads: int) -> None:
        try:
            from rvm_trt.runtime import kernels_cpu
        except ImportError:
            raise DependencyError("numba", extra="cpu", stage="CPU session") from None
        profile = engine.profile
        self._kernels = kernels_cpu
        self._height, self._low_height = profile.height, profile.low_height
        self._core = OpenVinoCore(engine, threads=threads)
        self._bands = Bands(threads)
        rows, columns = (downsample_taps(side, profile.ratio) for side in (profile.height, profile.width))
        self._down = (rows.first, rows.second, rows.weight, columns.first, columns.second, columns.weight)
        rows = upsample_taps(profile.low_height, profile.height)
        columns = upsample_taps(profile.low_width, profile.width)
        self._up = (rows.first, rows.second, rows.weight, columns.first, columns.second, columns.weight)
        self._scratch = (
            np.empty((threads, kernels_cpu.SCRATCH_ROWS, profile.width), np.float32),
            np.empty((threads, 4, profile.width), np.uint8),
        )
        self._behind = (np.empty((0, 3 * profile.width), np.uint8), np.zeros(3, np.float32))

    def background(self, image: Image, colour: npt.NDArray[np.float32]) -> None:
        """Sets what `frames.check_background` returned."""
        self._behind = (image, colour)

    def run(self, frame: Image, outputs: Mapping[str, Image]) -> None:
        """Mattes one frame (H, W·3) into the outputs; those without rows are left out."""
        # Always read-only: to the compiler that is another type, and a new type would be compiled in mid-video.
        frame = frame.view()
        frame.flags.writeable = False
        self._bands.run(self._kernels.sample, self._low_height, frame, *self._down, self._core.src[0])
        self._core.run()
        self._compose(frame, outputs)

    def warm_up(self, outputs: Mapping[str, Image]) -> None:
        """Compiles and runs everything once on a black frame, so that the first frame costs what others cost.

        Ends with the states at zero; ``outputs`` hold that frame's matte.
        """
        black = np.zeros((self._height, self._behind[0].shape[1]), np.uint8)
        for _ in range(2):  # once for each set of states
            self.run(black, outputs)
        self.reset()

    def reset(self) -> None:
        """Sets the states to zero."""
        self._core.reset()

    def states(self) -> tuple[npt.NDArray[np.float32], ...]:
        """Returns the current states, borrowed until the next run; writing to them sets them."""
        return self._core.states()

    def close(self) -> None:
        """Releases the engine and the threads. May be called twice."""
        self._core.close()
        self._bands.close()

    def __enter__(self) -> CpuPipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _compose(self, frame: Image, outputs: Mapping[str, Image]) -> None:
        self._bands.run(
            self._kernels.compose,
            self._height,
            frame,
            self._core.slope[0],
            self._core.intercept[0],
            *self._up,
            *self._behind,
            *(outputs[name] for name in OUTPUTS),
            *self._scratch,
        )
