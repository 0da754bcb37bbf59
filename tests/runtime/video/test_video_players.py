"""Our videos in a player that is not ours: Chromium shows each frame at its time, and what lies behind its alpha.

Without Chromium and playwright these are skipped, or with RVM_TRT_REQUIRE_BROWSER=1 fail.
"""

from __future__ import annotations

import base64
import runpy
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from rvm_trt.runtime.video.output import EncodeOptions
from rvm_trt.runtime.video.sink import open_sink
from rvm_trt.runtime.video.source import Clip

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HELPERS = Path(__file__).parents[2] / "benchmarks" / "report_helpers.py"
browser_or_skip = runpy.run_path(str(HELPERS))["browser_or_skip"]
WIDTH, HEIGHT, FRAMES, RATE = 96, 64, 5, 5
TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}
# Frame after frame of a video as (H, W, 4) values over nothing.
SHOWN = """
async ([address, count, rate]) => {
  const video = document.createElement("video");
  const told = (name) => new Promise((done, failed) => {
    video.addEventListener(name, done, { once: true });
    video.addEventListener("error", () => failed(video.error.message), { once: true });
  });
  // A frame that was sought is not always there to be copied when the player says so.
  const painted = (index) => new Promise((done, failed) => {
    setTimeout(() => failed(new Error(`frame ${index} is not shown`)), 60000);
    const look = (_, frame) => {
      if (Math.abs(frame.mediaTime - index / rate) < 0.5 / rate) done();
      else video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  });
  const loaded = told("loadeddata");
  document.body.append(video);
  video.muted = true;
  video.src = address;
  await loaded;
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  const copy = canvas.getContext("2d", { willReadFrequently: true });
  const frames = [];
  // The first frame last: it is shown from the beginning, and would not be painted anew.
  for (let step = 1; step <= count; step += 1) {
    const index = step % count;
    const there = Promise.all([told("seeked"), painted(index)]);
    video.currentTime = (index + 0.5) / rate;
    await there;
    copy.clearRect(0, 0, canvas.width, canvas.height);
    copy.drawImage(video, 0, 0);
    frames[index] = [...copy.getImageData(0, 0, canvas.width, canvas.height).data];
  }
  return { seconds: video.duration, width: canvas.width, height: canvas.height, frames };
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browser_or_skip() as found:
        yield found


def picture(index: int) -> npt.NDArray[np.uint8]:
    """Smooth colours, and alpha in three steps, whose border moves from frame to frame; (H, W, 4)."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    alpha = np.select([x < 10 + 12 * index, x < 30 + 12 * index], [0, 128], 255)
    return np.stack([40 + 2 * x, 200 - 2 * y, 90 + x + 0 * y, alpha], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "kind", "codec"),
    [
        ("a.webm", "rgba", "vp9"),
        ("a.webm", "composite", "av1"),
        ("a.mp4", "composite", "h264"),
        ("a.mp4", "composite", "av1"),
    ],
)
def test_a_browser_shows_what_went_in(
    browser: Browser, tmp_path: Path, name: str, kind: str, codec: str
) -> None:
    pictures = [picture(index) for index in range(FRAMES)]
    source = Clip(
        path=Path("in.mp4"),
        width=WIDTH,
        height=HEIGHT,
        rate=Fraction(RATE),
        time_base=Fraction(1, RATE),
        frame_count=FRAMES,
    )
    with open_sink(tmp_path / name, clip=source, kind=kind, options=EncodeOptions(codec=codec)) as sink:
        for image in pictures:
            sink.write(
                image if kind == "rgba" else np.ascontiguousarray(image[..., :3] // 2 + image[..., 3:] // 2)
            )
    shown = shown_by(browser, tmp_path / name)
    assert (shown["width"], shown["height"]) == (WIDTH, HEIGHT)
    assert shown["seconds"] == pytest.approx(FRAMES / RATE, abs=0.01)
    for index, got in enumerate(shown["frames"]):
        apart = [distance(got, image, kind) for image in pictures]
        assert apart[index] < 4, (index, apart)
        assert min(value for place, value in enumerate(apart) if place != index) > 2 * apart[index]


def shown_by(browser: Browser, path: Path) -> dict[str, Any]:
    address = f"data:{TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
    page = browser.new_page()
    try:
        shown: dict[str, Any] = page.evaluate(SHOWN, [address, FRAMES, RATE])
    finally:
        page.close()
    shown["frames"] = [np.array(each, float).reshape(HEIGHT, WIDTH, 4) for each in shown["frames"]]
    return shown


def distance(got: npt.NDArray[Any], image: npt.NDArray[np.uint8], kind: str) -> float:
    """Mean distance in levels: of alpha, and of the colours where there are any; or of the composite."""
    if kind != "rgba":
        return float(np.abs(got[..., :3] - (image[..., :3] // 2 + image[..., 3:] // 2)).mean())
    colours = np.abs(got[..., :3] - image[..., :3])[image[..., 3] == 255].mean()
    return float(max(np.abs(got[..., 3] - image[..., 3]).mean(), colours))
