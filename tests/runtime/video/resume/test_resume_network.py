"""A job with the network itself, interrupted and resumed in another session, gives the bytes of one run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from averaging import contents, stop_at
from PIL import Image

from rvm_trt import Engine, MattingSession
from rvm_trt.runtime.video.job import matte_video
from rvm_trt.runtime.video.job_options import JobOptions
from rvm_trt.runtime.video.job_report import JobReport
from rvm_trt.runtime.video.output import EncodeOptions


def test_states_at_a_boundary_are_all_that_the_rest_depends_on(
    tmp_path: Path, engine: Engine, moving_frames: Callable[..., list[npt.NDArray[np.uint8]]]
) -> None:
    for folder in ("shots", "one", "two"):
        (tmp_path / folder).mkdir()
    for index, frame in enumerate(moving_frames(161, 97, 11)):
        Image.fromarray(frame).save(tmp_path / "shots" / f"{index}.png")

    def run(folder: str, *, resume: bool = False, progress: Any = None) -> JobReport:
        # The session of one run has matted before: a job begins without a past.
        with MattingSession(engine, outputs=("rgba", "pha"), threads=1) as session:
            if folder == "one":
                session.process(moving_frames(161, 97, 1)[0])
            return matte_video(
                tmp_path / "shots",
                tmp_path / folder / "out.mkv",
                session,
                kind="rgba",
                also={"pha": tmp_path / folder / "alpha"},
                options=EncodeOptions(codec="ffv1"),
                progress=progress,
                job=JobOptions(segment_frames=4, resume=resume, facts={"engine": engine.manifest.seal()}),
            )

    run("one")
    stop = stop_at(7)
    with pytest.raises(KeyboardInterrupt, match="4 of them are kept"):
        run("two", progress=lambda done, _: stop(done))
    assert run("two", resume=True).resumed_at == 4
    for name in ("out.mkv", "alpha"):
        assert contents(tmp_path / "one" / name) == contents(tmp_path / "two" / name)
