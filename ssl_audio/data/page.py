"""``corpus.html``: one offline page that shows what is in a prepared corpus."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np

from ssl_audio.data import thumbnails
from ssl_audio.data.corpora import Quarantined
from ssl_audio.data.manifest import SAMPLE_RATE, Clip
from ssl_audio.data.prepared import PreparedCorpus

GENDERS = ("female", "male", "unknown")
UNLABELLED = "unlabelled"
MOST_EXAMPLES = 12
MOST_SPEAKERS = 96
MOST_SET_ASIDE = 50
_MOST_BINS = 30


@dataclass(frozen=True)
class Bar:
    """A group of clips, one row of a chart."""

    name: str
    num_clips: int
    minutes: float
    by_gender: dict[str, int]
    """Clips of each of ``GENDERS``."""


@dataclass(frozen=True)
class Histogram:
    """Clips by duration."""

    edges: tuple[float, ...]
    """Seconds; one more than counts."""
    counts: tuple[int, ...]
    ticks: tuple[thumbnails.Tick, ...]
    shortest: float
    median: float
    longest: float


@dataclass(frozen=True)
class Example:
    """What a class looks like: its clip of median duration."""

    name: str
    clip: Clip
    pictures: tuple[thumbnails.Picture, ...]


def write_page(
    corpus: PreparedCorpus, output: Path, quarantined: Sequence[Quarantined] = ()
) -> None:
    """Writes totals, charts, what was set aside, and pictures of a clip of each class.

    Args:
        corpus: holds at least one clip.
        output: the HTML file; it needs no other file and no network.
        quarantined: what was set aside, with reasons.
    """
    clips = corpus.clips
    classes = _count(clips, lambda clip: clip.emotions or (UNLABELLED,))
    speakers = _count(clips, lambda clip: (clip.speaker,) if clip.speaker else ())
    page = _load_template().render(
        corpus=corpus,
        minutes=corpus.num_samples.sum() / SAMPLE_RATE / 60,
        num_classes=len({emotion for clip in clips for emotion in clip.emotions}),
        genders=[gender for gender in GENDERS if any(bar.by_gender[gender] for bar in classes)],
        classes=classes,
        speakers=speakers[:MOST_SPEAKERS],
        num_speakers=len(speakers),
        num_without_speaker=sum(clip.speaker is None for clip in clips),
        num_copies=len(clips) - len({clip.audio_sha256 for clip in clips}),
        parts=Counter(clip.split for clip in clips if clip.split),
        sources=_count_sources(clips),
        histogram=_bin_durations(corpus),
        examples=_draw_examples(corpus, classes),
        quarantined=quarantined[:MOST_SET_ASIDE],
        num_quarantined=len(quarantined),
    )
    output.write_text(page, encoding="utf-8")


def _load_template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    text = files("ssl_audio.data").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(text)


def _count(clips: Iterable[Clip], groups_of: Callable[[Clip], Iterable[str]]) -> list[Bar]:
    """A bar for each group, by name; numbers in names count as numbers."""
    groups: dict[str, list[Clip]] = {}
    for clip in clips:
        for group in groups_of(clip):
            groups.setdefault(group, []).append(clip)
    bars = []
    for name in sorted(groups, key=_in_natural_order):
        genders = Counter(clip.gender or "unknown" for clip in groups[name])
        minutes = sum(clip.duration_seconds for clip in groups[name]) / 60
        by_gender = {gender: genders[gender] for gender in GENDERS}
        bars.append(Bar(name, len(groups[name]), minutes, by_gender))
    return bars


def _in_natural_order(name: str) -> list[tuple[bool, int, str]]:
    parts = re.findall(r"\d+|\D+", name)
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _count_sources(clips: Iterable[Clip]) -> list[tuple[str, str, str, int]]:
    """Sample rate, channels and format of the files, with their number of clips."""
    sources = Counter(
        (
            f"{clip.source_sample_rate:,} Hz" if clip.source_sample_rate else "unknown",
            f"{clip.source_channels or 'unknown'}",
            clip.source_format or "unknown",
        )
        for clip in clips
    )
    return [(*source, count) for source, count in sources.most_common()]


def _bin_durations(corpus: PreparedCorpus) -> Histogram:
    shortest, median, longest = np.percentile(corpus.num_samples, [0, 50, 100]) / SAMPLE_RATE
    width = next(w for w in thumbnails.NICE_STEPS if (longest - shortest) / w < _MOST_BINS - 1)
    bins = corpus.num_samples // round(width * SAMPLE_RATE)
    counts = np.bincount(bins - bins.min()).tolist()
    edges = ((bins.min() + np.arange(len(counts) + 1)) * width).tolist()
    ticks = thumbnails.tick(edges[0], edges[-1])
    return Histogram(tuple(edges), tuple(counts), ticks, shortest, median, longest)


def _draw_examples(corpus: PreparedCorpus, classes: Sequence[Bar]) -> list[Example]:
    """One clip of each class, of the largest ones if there are many."""
    largest = sorted(classes, key=lambda bar: -bar.num_clips)[:MOST_EXAMPLES]
    examples = []
    for bar in (bar for bar in classes if bar in largest):
        of_class = [
            index
            for index, clip in enumerate(corpus.clips)
            if bar.name in (clip.emotions or (UNLABELLED,))
        ]
        of_class.sort(key=lambda index: (corpus.num_samples[index], corpus.clips[index].clip_id))
        median = of_class[len(of_class) // 2]
        pictures = thumbnails.draw(corpus.views[median])
        examples.append(Example(bar.name, corpus.clips[median], pictures))
    return examples
