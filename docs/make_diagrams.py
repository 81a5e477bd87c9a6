"""Draw the two diagrams of docs/architecture.md: python docs/make_diagrams.py.

A box names what it is in words and the object that does it; ``tests/test_pages.py``
asks the package for every such object.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

WIDTH, BOX, HEIGHT = 920, 220, 58
"""Of a diagram, of a box; user units of the SVG, about a pixel each."""


class Theme(NamedTuple):
    """Colours: of the page, writing, quiet writing, boxes, and of the teacher's."""

    page: str
    text: str
    muted: str
    box: str
    teacher: str


THEMES = {
    "light": Theme("#ffffff", "#1f2328", "#59636e", "#eef4f8", "#fde5c4"),
    "dark": Theme("#0d1117", "#e6edf3", "#9198a1", "#15242f", "#5a3d0c"),
}


class Box(NamedTuple):
    """A step.

    Attributes:
        x, y: of the upper left corner.
        title: what it is, in words.
        name: object below `espnet_pse_kd` that does it, ``module.object``; "" for a
            file of the user.
        training_only: whether it is gone once the network is trained.
    """

    x: int
    y: int
    title: str
    name: str = ""
    training_only: bool = False


class Arrow(NamedTuple):
    """What passes: corners of its way, and a label with its place."""

    points: Sequence[tuple[int, int]]
    label: str = ""
    at: tuple[int, int] = (0, 0)


class Frame(NamedTuple):
    """Steps that one class does: upper left corner, size, and its name."""

    x: int
    y: int
    width: int
    height: int
    name: str


class Diagram(NamedTuple):
    """A picture and what it says to those who cannot see it."""

    height: int
    description: str
    boxes: Sequence[Box]
    arrows: Sequence[Arrow]
    frames: Sequence[Frame] = ()


LEFT, MIDDLE, RIGHT = 24, 356, 688
"""Where the columns of boxes begin."""
TRAINING = Diagram(
    height=386,
    description="From a simulated mixture and an enrolment clip to the gated loss",
    boxes=(
        Box(LEFT, 10, "a simulated mixture", "simulation.simulator.Simulator"),
        Box(LEFT, 198, "an enrolment clip", "simulation.enrolment.render_clip"),
        Box(MIDDLE, 10, "who speaks when", "activity.activity"),
        Box(MIDDLE, 104, "teacher", "nets.personal_vad.PersonalVAD", True),
        Box(MIDDLE, 198, "speaker vector", "speaker.ge2e.GE2E"),
        Box(MIDDLE, 292, "student", "nets.mingru.MinGRUNet"),
        Box(RIGHT, 57, "gate", "gate.Gate", True),
        Box(RIGHT, 198, "gated loss", "espnet.criterions.GatedSolver", True),
        Box(RIGHT, 292, "loss of each frame", "losses.plcpa", True),
    ),
    arrows=(
        Arrow(((244, 30), (356, 30)), "target, interferer", (300, 23)),
        Arrow(((244, 50), (284, 50), (284, 125), (356, 125)), "mixture", (320, 118)),
        Arrow(((284, 125), (284, 321), (356, 321)), "mixture", (320, 314)),
        Arrow(((244, 227), (356, 227)), "clip", (264, 220)),
        Arrow(((466, 198), (466, 162)), "vector", (492, 184)),
        Arrow(((466, 256), (466, 292)), "vector", (492, 278)),
        Arrow(((576, 39), (632, 39), (632, 76), (688, 76)), "a(t), b(t)", (604, 32)),
        Arrow(((576, 133), (632, 133), (632, 96), (688, 96)), "q(t)", (604, 126)),
        Arrow(((576, 321), (688, 321)), "output", (632, 314)),
        Arrow(((798, 115), (798, 198)), "w(t)", (818, 160)),
        Arrow(((798, 292), (798, 256)), "l(t)", (815, 278)),
        Arrow(
            ((24, 39), (12, 39), (12, 372), (798, 372), (798, 350)),
            "target",
            (632, 366),
        ),
    ),
)
RECORDING = Diagram(
    height=424,
    description=(
        "From a clip of the voice to its profile, and from a recording to the "
        "enhanced file"
    ),
    boxes=(
        Box(LEFT, 10, "me.wav", "cli.voice.read_clip"),
        Box(MIDDLE, 10, "fit to enrol?", "runtime.enrolment_quality.measure"),
        Box(RIGHT, 10, "speaker vector", "runtime.speaker_encoder.OnnxSpeakerEncoder"),
        Box(RIGHT, 132, "me.profile", "runtime.profile.Profile"),
        Box(LEFT, 132, "meeting.wav", "sound.reading.SoundInput"),
        Box(MIDDLE, 132, "hear where the voice is", "runtime.meter.PresenceMeter"),
        Box(MIDDLE, 226, "decide what to protect", "runtime.steering.steer"),
        Box(MIDDLE, 320, "enhance hop by hop", "runtime.stream.EnhancerStream"),
        Box(RIGHT, 320, "meeting_me.wav", "sound.writing.write_sound"),
    ),
    arrows=(
        Arrow(((244, 39), (356, 39)), "samples", (300, 32)),
        Arrow(((576, 39), (688, 39)), "speech", (632, 32)),
        Arrow(((798, 68), (798, 132)), "vector", (824, 104)),
        Arrow(((244, 152), (356, 152)), "first, all of it", (296, 145)),
        Arrow(((134, 190), (134, 349), (356, 349)), "then, block by block", (240, 342)),
        Arrow(((688, 161), (576, 161)), "vector", (632, 154)),
        Arrow(((466, 190), (466, 226)), "posterior", (500, 212)),
        Arrow(((466, 284), (466, 320)), "gain, floor", (504, 306)),
        Arrow(((798, 190), (798, 255), (632, 255), (632, 340), (576, 340))),
        Arrow(((576, 362), (688, 362)), "blocks", (636, 376)),
    ),
    frames=(Frame(342, 116, 248, 298, "runtime.recording.RecordingEnhancer"),),
)
DIAGRAMS = {"training": TRAINING, "recording": RECORDING}


def box_lines(box: Box, theme: Theme) -> Iterator[str]:
    """SVG of a box: what happens, and below it the object that does it."""
    fill = theme.teacher if box.training_only else theme.box
    yield (
        f'<rect x="{box.x}" y="{box.y}" width="{BOX}" height="{HEIGHT}" rx="7" '
        f'fill="{fill}" stroke="{theme.muted}"/>'
    )
    middle = box.x + BOX // 2
    title_y = box.y + (25 if box.name else 34)
    yield (
        f'<text x="{middle}" y="{title_y}" font-weight="600" fill="{theme.text}">'
        f"{escape(box.title)}</text>"
    )
    if box.name:
        yield (
            f'<text x="{middle}" y="{box.y + 44}" class="name" fill="{theme.muted}" '
            f'textLength="{min(BOX - 14, 6.4 * len(box.name)):.0f}" '
            f'lengthAdjust="spacingAndGlyphs">{escape(box.name)}</text>'
        )


def arrow_lines(arrow: Arrow, theme: Theme) -> Iterator[str]:
    """SVG of an arrow and its label."""
    points = " ".join(f"{x},{y}" for x, y in arrow.points)
    yield (
        f'<polyline points="{points}" fill="none" stroke="{theme.muted}" '
        'stroke-width="1.4" marker-end="url(#head)"/>'
    )
    if arrow.label:
        x, y = arrow.at
        yield (
            f'<text x="{x}" y="{y}" class="label" fill="{theme.muted}">'
            f"{escape(arrow.label)}</text>"
        )


def frame_lines(frame: Frame, theme: Theme) -> Iterator[str]:
    """SVG of a frame, its name at the lower edge."""
    yield (
        f'<rect x="{frame.x}" y="{frame.y}" width="{frame.width}" '
        f'height="{frame.height}" rx="9" fill="none" stroke="{theme.muted}" '
        'stroke-dasharray="5 4"/>'
    )
    yield (
        f'<text x="{frame.x + frame.width // 2}" y="{frame.y + frame.height - 12}" '
        f'class="name" fill="{theme.muted}">{escape(frame.name)}</text>'
    )


def svg(diagram: Diagram, theme: Theme) -> str:
    """A diagram in the colours of a page."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} '
        f'{diagram.height}" role="img" text-anchor="middle" font-size="14" '
        "font-family=\"-apple-system,'Segoe UI',Helvetica,Arial,sans-serif\">",
        f"<title>{escape(diagram.description)}</title>",
        "<style>.name{font-size:10.5px;font-family:ui-monospace,Menlo,Consolas,"
        "'DejaVu Sans Mono',monospace}.label{font-size:12px}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0,0 8,4 0,8z" fill="{theme.muted}"/>'
        "</marker></defs>",
        f'<rect width="{WIDTH}" height="{diagram.height}" fill="{theme.page}"/>',
    ]
    for frame in diagram.frames:
        lines += frame_lines(frame, theme)
    for box in diagram.boxes:
        lines += box_lines(box, theme)
    for arrow in diagram.arrows:
        lines += arrow_lines(arrow, theme)
    return "\n".join([*lines, "</svg>"]) + "\n"


def main() -> None:
    """Write every diagram to the folder that the command line names."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "images"
    for name, diagram in DIAGRAMS.items():
        for colours, theme in THEMES.items():
            path = folder / f"{name}_{colours}.svg"
            path.write_text(svg(diagram, theme), encoding="utf-8")


if __name__ == "__main__":
    main()
