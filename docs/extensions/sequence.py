"""Sequence diagrams, drawn from text: who tells whom what, from top to bottom.

Owns the text form, and where things stand. Pure: text in, SVG out. A line it cannot read is a ValueError
that names it.

The text form, one step a line; the first line names who takes part, from left to right::

    client | follower | leader
    client -> follower: setData /a        a message
    follower --> client: version 1        an answer
    client -x leader: ping                a message that is lost
    leader: append, fdatasync             what somebody does
    client, leader: a new session         a remark across the lines of several
    freeze client                         its line is dashed from here …
    wake client                           … to here
    ...                                   time passes
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from docs.extensions.svg import LINE, box, line, picture, width_of, words

MARGIN: Final = 14.0
STEP: Final = 34.0
GAP_MIN: Final = 92.0
HEAD: Final = 30.0

_MESSAGE = re.compile(r"(?P<source>.+?) (?P<arrow>->|-->|-x) (?P<target>.+?): (?P<text>.+)")
_REMARK = re.compile(r"(?P<who>[^:]+): (?P<text>.+)")
_STATE = re.compile(r"(?P<what>freeze|wake) (?P<who>.+)")


@dataclass(frozen=True)
class Step:
    source: int
    target: int
    text: str = ""
    kind: str = "note"
    """message, answer, lost, note, pause, freeze or wake"""


@dataclass
class Sequence:
    who: list[str]
    steps: list[Step] = field(default_factory=list)


def read(text: str) -> Sequence:
    """Raises ValueError."""
    lines = [one.strip() for one in text.strip().splitlines() if one.strip()]
    sequence = Sequence([one.strip() for one in lines[0].split("|")])
    sequence.steps = [_step(one, sequence.who) for one in lines[1:]]
    return sequence


def _step(text: str, who: list[str]) -> Step:
    def place(name: str) -> int:
        if name.strip() not in who:
            raise ValueError(f"{text!r}: {name.strip()!r} is none of {', '.join(who)}")
        return who.index(name.strip())

    if text == "...":
        return Step(0, len(who) - 1, kind="pause")
    if match := _MESSAGE.fullmatch(text):
        kind = {"->": "message", "-->": "answer", "-x": "lost"}[match["arrow"]]
        return Step(place(match["source"]), place(match["target"]), match["text"], kind)
    if match := _STATE.fullmatch(text):
        return Step(place(match["who"]), place(match["who"]), kind=match["what"])
    if match := _REMARK.fullmatch(text):
        places = [place(name) for name in match["who"].split(",")]
        return Step(min(places), max(places), match["text"])
    raise ValueError(f"{text!r} is no step: source -> target: text, who: text, freeze who, wake who or ...")


def draw(sequence: Sequence, title: str, number: int = 0) -> str:
    xs, width = _columns(sequence)
    parts: list[str] = []
    frozen: dict[int, float] = {}
    spans: list[tuple[int, float, float]] = []
    y = MARGIN + HEAD + STEP * 0.8
    for step in sequence.steps:
        if step.kind == "freeze":
            frozen[step.source] = y - STEP * 0.5
        elif step.kind == "wake":
            spans.append((step.source, frozen.pop(step.source), y - STEP * 0.5))
        else:
            parts.append(_drawn(step, xs, y))
            y += STEP
    bottom = y
    spans += [(one, begin, bottom) for one, begin in frozen.items()]
    lifelines = [line(x, MARGIN + HEAD, x, bottom, "lifeline") for x in xs]
    for one, begin, end in spans:
        lifelines.append(box(xs[one] - 5, begin, 10, end - begin, "frozen", 0))
        lifelines.append(words("frozen", xs[one] + 11, (begin + end) / 2, "muted", "start"))
    heads = [_head(name, x, MARGIN) for name, x in zip(sequence.who, xs, strict=True)]
    return picture([*lifelines, *heads, *parts], width, bottom + MARGIN, title, number)


def _columns(sequence: Sequence) -> tuple[list[float], float]:
    """Where each line stands, and the width of all: each text has room between the lines it concerns."""
    count = len(sequence.who)
    names = [width_of(name) + 24 for name in sequence.who]
    gaps = [max(GAP_MIN, (a + b) / 2 + 16) for a, b in pairwise(names)]
    left = names[0] / 2
    right = names[-1] / 2
    for step in sequence.steps:
        wanted = width_of(step.text) + 26
        if step.kind in ("message", "answer", "lost") and step.source != step.target:
            low, high = sorted((step.source, step.target))
            missing = wanted - sum(gaps[low:high])
            for one in range(low, high):
                gaps[one] += max(0.0, missing) / (high - low)
        elif step.source == step.target:
            if step.source == 0:
                left = max(left, wanted / 2)
            if step.source == count - 1:
                right = max(right, wanted / 2)
            for one in (step.source - 1, step.source):
                if 0 <= one < len(gaps):
                    gaps[one] = max(gaps[one], wanted / 2 + 12)
    xs = [MARGIN + left]
    for gap in gaps:
        xs.append(xs[-1] + gap)
    return xs, xs[-1] + right + MARGIN


def _head(name: str, x: float, y: float) -> str:
    width = width_of(name) + 24
    return box(x - width / 2, y, width, HEAD, "who") + words(name, x, y + HEAD / 2, "strong")


def _drawn(step: Step, xs: list[float], y: float) -> str:
    begin, end = xs[step.source], xs[step.target]
    if step.kind == "pause":
        return "".join(box(x - 8, y - 12, 16, 24, "blank", 0) + words("⋮", x, y, "muted") for x in xs)
    if step.kind == "note":
        width = max(width_of(step.text) + 20, end - begin + 40)
        middle = (begin + end) / 2
        return box(middle - width / 2, y - 12, width, 24, "note") + words(step.text, middle, y)
    label = _label(step.text, (begin + end) / 2, y - LINE / 2)
    if step.kind == "lost":
        stop = begin + (end - begin) * 0.86
        cross = "".join(line(stop - 5, y + s * 5, stop + 5, y - s * 5, "cross") for s in (1, -1))
        return line(begin, y, stop, y, "message") + cross + label
    return line(begin, y, end, y, step.kind, arrow=True) + label


def _label(text: str, x: float, y: float) -> str:
    """On a ground of its own: lifelines pass behind it."""
    width = width_of(text)
    return box(x - width / 2, y - LINE / 2 + 1, width, LINE - 4, "blank", 0) + words(text, x, y)
