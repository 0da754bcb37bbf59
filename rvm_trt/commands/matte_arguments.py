"""The arguments of ``rvm-trt matte``, in groups as its help shows them."""

from __future__ import annotations

import argparse
from pathlib import Path

from rvm_trt.options import Refiner, Variant

DEFAULT_FIT = "cover"
EXAMPLES = """\
examples:
  rvm-trt matte talk.mp4 -o talk-green.mp4
      the person on green, ready for any player or editor
  rvm-trt matte talk.mp4 -o talk-beach.mp4 --background beach.jpg
      on a picture, which is scaled to cover the frame; a video is looped, 'blur' blurs what is behind
  rvm-trt matte talk.mp4 -o talk.mov --background transparent
      with transparency, for an editor
  rvm-trt matte talk.mp4 -o talk-green.mp4 --pha alpha.mp4 --fgr colours.mp4
      the alpha matte and the foreground colours as well, in the same pass
  rvm-trt matte long.mp4 -o long.mov --output-kind rgba --resume
      goes on where an earlier run of the same command stopped
  rvm-trt matte talk.mp4 -o cut.mp4 --from 1:30 --to 2:05
      a piece of it
  rvm-trt matte a.mp4 b.mp4 -o 'out/{name}.mp4'
      several videos, one after the other
  rvm-trt matte dance.mp4 -o dance-green.mp4 --ratio 0.4
      full bodies, small in an HD frame: a larger ratio sees more
  rvm-trt matte shots/ -o cut-outs/ --rate 25
      a folder of images to a folder of PNG images with transparency
  rvm-trt matte talk.mp4 -o - --background transparent | ffplay -f rawvideo -pixel_format rgba -video_size 1920x1080 -
      raw frames to another program
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments to its parser."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="video file, image, folder or numbered sequence of images, camera (/dev/video0), URL, or - for standard "
        "input",
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUTPUT", help="what to write, see above")
    _add_picture(parser.add_argument_group("picture"))
    _add_input(parser.add_argument_group("input"))
    _add_time(parser.add_argument_group("time"))
    _add_network(parser.add_argument_group("network"))
    _add_encoding(parser.add_argument_group("encoding"))
    parser.add_argument("--force", action="store_true", help="replace an output that is already there")
    parser.add_argument("--json", action="store_true", help="print the report as JSON on standard output")


def _add_picture(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--output-kind",
        choices=("composite", "pha", "rgba", "fgr"),
        help="composite: the person on a background; pha: alpha matte; rgba: with transparency; "
        "fgr: foreground colours (default: composite for video and with --background, otherwise rgba)",
    )
    group.add_argument("--pha", metavar="PATH", help="write the alpha matte as well, in the same pass")
    group.add_argument("--fgr", metavar="PATH", help="write the foreground colours as well, in the same pass")
    group.add_argument(
        "--background",
        metavar="WHAT",
        help="of the composite: a colour ('#78ff9b', '120,255,155', or a name such as green), an image, a video, "
        "which is looped, 'blur' or 'blur:RADIUS', or 'transparent', which is --output-kind rgba (default: green)",
    )
    group.add_argument(
        "--fit",
        choices=("cover", "contain"),
        help="how a background picture or video of another shape fills the frame: cut off, or whole on black "
        f"(default: {DEFAULT_FIT})",
    )
    group.add_argument(
        "--no-spill-suppression",
        action="store_true",
        help="keep the source's own colours at the edges, instead of those that the network predicts without the old "
        "background",
    )


def _add_input(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--rate", metavar="FPS", help="of an image folder, as 25 or 30000/1001 (default: 30)")
    group.add_argument("--deinterlace", action="store_true", help="make whole frames of interlaced video")
    group.add_argument(
        "--hdr",
        choices=("refuse", "as-stored"),
        default="refuse",
        help="HDR video (PQ, HLG): refuse it, or take its codes as they are and tag the output alike (default: refuse)",
    )
    group.add_argument(
        "--gaps",
        choices=("refuse", "hold", "close"),
        help="missing numbers in a sequence of images: refuse them, hold the image before, or close up "
        "(default: refuse)",
    )


def _add_time(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--from", dest="start", metavar="TIME", help="where to begin, as 90, 1:30 or 0:01:30.5"
    )
    group.add_argument(
        "--warm-up",
        type=float,
        metavar="S",
        help="seconds before --from that the network sees, but that are not written (default: 1)",
    )
    group.add_argument("--to", dest="stop", metavar="TIME", help="where to end")
    group.add_argument(
        "--resume", action="store_true", help="go on where an earlier run of the same command stopped"
    )
    group.add_argument(
        "--no-cut-reset",
        action="store_true",
        help="carry the network's memory across cuts between shots, too",
    )
    group.add_argument(
        "--reset-every", type=int, metavar="N", help="forget the past every N frames (default: only at cuts)"
    )


def _add_network(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--ratio",
        type=float,
        metavar="R",
        help="downsample ratio, 0 to 1; larger for people small in the frame (default: 0.375 for 720p, "
        "0.25 for HD, 0.125 for 4K, otherwise so that the network sees 512 pixels)",
    )
    group.add_argument(
        "--precision", choices=("fp32", "bf16", "int8"), help="default: bf16 where the CPU has it"
    )
    group.add_argument("--checkpoint", metavar="PATH", help="a checkpoint of your own (default: fetched)")
    group.add_argument("--variant", choices=[v.value for v in Variant], default=Variant.MOBILENETV3.value)
    group.add_argument("--refiner", choices=[r.value for r in Refiner], default=Refiner.DEEP.value)
    group.add_argument(
        "--engines",
        type=Path,
        default=Path("build/engines"),
        metavar="DIR",
        help="where engines are kept (default: build/engines)",
    )


def _add_encoding(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--codec", metavar="NAME", help="h264, prores, vp9, av1, ffv1, png or exr (default: by the suffix)"
    )
    group.add_argument(
        "--premultiplied",
        action=argparse.BooleanOptionalAction,
        help="multiply the colours of rgba by alpha (default: of EXR only)",
    )
    group.add_argument(
        "--raw-format",
        choices=("yuva420p", "yuva444p"),
        help="of rgba on standard output (default: packed RGBA)",
    )
    group.add_argument(
        "--crf",
        type=int,
        metavar="N",
        help="quality, 0 best to 51 worst (default: visually lossless, which is 18 for a preset of libx264)",
    )
    group.add_argument(
        "--preset",
        help="of libx264, ultrafast to veryslow, for smaller files (default: the quality of veryfast in a third of its "
        "time, half as large again)",
    )
    group.add_argument(
        "--threads",
        type=int,
        default=0,
        metavar="N",
        help="threads of decoder, network and encoder (default: 0, all)",
    )
    group.add_argument("--no-audio", action="store_true", help="leave the sound out")
