import functools
import shutil
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text
from PIL import Image
from scipy import stats

from benchmarks.comparisons import Comparison
from benchmarks.figures import draw_figures, name_files
from benchmarks.figures.confusion import draw_confusion
from benchmarks.figures.cost import draw_cost
from benchmarks.figures.critical_difference import (
    draw_critical_difference,
    find_comparable,
    find_groups,
)
from benchmarks.figures.label_efficiency import draw_label_efficiency, name_of_share
from benchmarks.figures.placement import Box, place_labels
from benchmarks.figures.recall import draw_recall
from benchmarks.figures.reliability import draw_reliability
from benchmarks.figures.style import FONT_PT
from benchmarks.genders import score_genders
from benchmarks.results import SystemResult
from benchmarks.scoring import score_all
from benchmarks.statistics import Estimate
from finetune import metrics
from finetune.predictions import Provenance

CLASSES = ("angry", "calm", "happy")
GENDERS = {f"{number:02d}": ("female", "male")[number % 2] for number in range(8)}
LONG = "MFCC statistics + logistic regression with seed ensembles, variant {} of $many$"


def judge(system, skill=0.5, speakers=8, takes=4, protocol="p-3/x", seed=0, **about):
    """A made-up system on some clips of every class and speaker; female ones are easier."""
    rng = np.random.default_rng([len(system), int(100 * skill), seed])
    names = [f"{number:02d}" for number in range(speakers)]
    labels = np.tile(np.repeat(np.arange(3), takes), speakers)
    ease = np.repeat([skill + 0.3 * (number % 2 == 0) for number in range(speakers)], 3 * takes)
    probabilities = rng.dirichlet(np.ones(3), len(labels))
    probabilities[np.arange(len(labels)), labels] += ease
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    frame = pd.DataFrame(probabilities, columns=list(CLASSES))
    frame.insert(0, "clip_id", [f"clip{number}" for number in range(len(labels))])
    frame.insert(1, "speaker", np.repeat(names, 3 * takes))
    frame.insert(2, "fold", np.repeat(np.arange(speakers) % 2 + 1, 3 * takes))
    frame.insert(3, "seed", seed)
    frame.insert(4, "label", [CLASSES[label] for label in labels])
    facts = {"genders": GENDERS, **about}
    return SystemResult(
        Provenance(system=system, protocol=protocol, classes=CLASSES, **facts), frame
    )


def score_one(*systems):
    (section,) = score_all(systems)
    return section


def without_speakers(result):
    return SystemResult(result.about, result.frame.assign(speaker=None))


@functools.cache
def five():
    return score_one(*(judge(name, 0.1 * number) for number, name in enumerate("ABCDE")))


def large(count):
    """A table of systems with long names: some scored, the others their twins."""
    scored = five()
    rows = []
    for number in range(count):
        about = Provenance(
            system=LONG.format(number),
            protocol="p-3/x",
            classes=CLASSES,
            parameters=1000 * (number % 5 + 1),
            train_seconds=0.5 * (number % 4 + 1),
            real_time_factor=1e-3 * (number % 3 + 1),
            genders=GENDERS,
        )
        barred = ("reduced: one pass",) if number % 3 == 0 else ()
        rows.append(replace(scored.rows[number % 5], about=about, barred=barred))
    pairs = [
        compare(first.about.system, second.about.system, 0.5 if place % 4 else 0.01)
        for place, (first, second) in enumerate(combinations(rows, 2))
    ]
    return replace(scored, rows=tuple(rows), comparisons=tuple(pairs))


def compare(first, second, p_holm):
    return Comparison(first, second, Estimate(0.1), p_holm, p_holm, None, 8)


def texts_of(figure):
    """What is to be read: ticks beyond the ends of an axis exist and are not drawn."""
    figure.draw_without_rendering()
    beyond = [
        label
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    ]
    return [
        text
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and text not in beyond
    ]


def words_of(figure):
    return "\n".join(text.get_text() for text in texts_of(figure))


DRAWINGS = (draw_recall, draw_reliability, draw_cost, draw_critical_difference)


def test_every_kind_is_drawn_and_drawn_alike(tmp_path):
    facts = {"parameters": 10, "train_seconds": 1.0, "real_time_factor": 0.1}
    systems = [
        judge(name, skill, **facts) for name, skill in zip("ABC", (0, 0.3, 0.6), strict=True)
    ]
    for folder in ("one", "two"):
        draw_figures(score_all(systems), tmp_path / folder)
    names = {path.name for path in (tmp_path / "one").iterdir()}
    overviews = {"recall", "reliability", "cost", "critical-difference"}
    assert names == {f"{kind}__p-3-x.png" for kind in overviews} | {
        f"confusion__p-3-x__{name}.png" for name in "abc"
    }
    for name in names:
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
        assert first == second
        with Image.open(tmp_path / "one" / name) as picture:
            assert round(picture.info["dpi"][0]) == 200
            # A column or a page of a paper.
            assert round(picture.size[0] / 200 * 25.4) in (85, 175)
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50


def test_pictures_that_can_not_be_drawn_go_and_other_files_stay(tmp_path):
    (tmp_path / "mine.png").write_bytes(b"kept")
    draw_figures(score_all([judge("A"), judge("B", 0.1), judge("C", 0.9)]), tmp_path)
    assert (tmp_path / "critical-difference__p-3-x.png").exists()
    (pictures,) = draw_figures(score_all([without_speakers(judge("A"))]), tmp_path)
    here = {"mine.png", "reliability__p-3-x.png", "confusion__p-3-x__a.png"}
    assert {path.name for path in tmp_path.iterdir()} == here
    assert [picture.path.name for picture in pictures.overviews] == ["reliability__p-3-x.png"]
    assert [picture.text for picture in pictures.confusions] == ["Confusion matrix of A"]


def test_names_of_files_differ_wherever_names_do(tmp_path):
    names = ["A + B", "A/B", "a b", "C", "x" * 300, "x" * 299 + "y", "p__q"]
    files = name_files(names)
    assert len(set(files)) == len(names)
    assert files[3] == "c" and "__" not in files[6]
    assert max(map(len, files)) < 100
    assert name_files(names[:3])[0] == files[0]
    systems = [
        judge("A + B"),
        judge("A/B"),
        judge("A/B", leak="leaky"),
        judge("A/B", task="multilabel"),
    ]
    every = draw_figures(score_all(systems), tmp_path)
    paths = [one.path for pictures in every for one in (*pictures.overviews, *pictures.confusions)]
    assert len(set(paths)) == len(paths) == len(list(tmp_path.iterdir()))


def confuse(count):
    """A matrix of so many classes with long names, and shared votes."""
    (row,) = score_one(judge("A")).rows
    classes = tuple(f"female and surprised, {number}" for number in range(count))
    confusion = np.full((count, count), 33.5) + 150 * np.eye(count)
    about = replace(row.about, classes=classes, system=LONG)
    return draw_confusion(replace(row, about=about, confusion=confusion))


@pytest.mark.parametrize("draw", DRAWINGS)
@pytest.mark.parametrize("count", [3, 20])
def test_letters_are_large_enough_whole_and_apart(draw, count):
    check_letters(draw(large(count)), count)


@pytest.mark.parametrize("count", [2, 8, 16])
def test_letters_of_a_confusion_matrix_likewise(count):
    check_letters(confuse(count), 2 * count)


def check_letters(figure, least):
    width, height = figure.bbox.size
    texts = texts_of(figure)
    boxes = [text.get_window_extent() for text in texts]
    assert len(texts) > least
    for text, box in zip(texts, boxes, strict=True):
        assert text.get_fontsize() >= FONT_PT
        inside = box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        assert inside, text.get_text()
    # Slanted names lie between each other's corners.
    upright = [place for place, text in enumerate(texts) if text.get_rotation() in (0, 90)]
    texts, boxes = [texts[place] for place in upright], [boxes[place] for place in upright]
    for index, first in enumerate(boxes):
        for other, second in zip(texts[index + 1 :], boxes[index + 1 :], strict=True):
            across = min(first.x1, second.x1) - max(first.x0, second.x0)
            up = min(first.y1, second.y1) - max(first.y0, second.y0)
            assert across < 1 or up < 1, (texts[index].get_text(), other.get_text())


@pytest.mark.parametrize("draw", [draw_recall, draw_cost, draw_critical_difference])
def test_marked_rows_are_hollow_and_the_picture_says_so(draw):
    facts = {"parameters": 10, "train_seconds": 1.0, "real_time_factor": 0.1}
    honest = [judge(name, 0.1 * len(name), **facts) for name in ("A", "BB", "CCC")]
    marked = judge("D", 0.7, reduced="1 of 9 passes", **facts)
    assert "hollow" not in words_of(draw(score_one(*honest))).lower()
    assert "hollow" in words_of(draw(score_one(*honest, marked))).lower()


def test_speakers_stand_in_the_lane_of_their_gender_at_their_uar():
    section = score_one(judge("A"))
    figure = draw_recall(section)
    (row,) = section.rows
    panel = figure.axes[0]
    for gender, mark in (("female", "o"), ("male", "^")):
        (line,) = [line for line in panel.lines if line.get_marker() == mark]
        expected = [
            100 * metrics.uar(confusion)
            for speaker, confusion in row.by_speaker.items()
            if GENDERS[speaker] == gender
        ]
        assert sorted(line.get_xdata()) == pytest.approx(sorted(expected))
    assert len(figure.axes) == 3
    assert "Gap, points" in words_of(figure)


def test_unknown_genders_leave_one_panel():
    figure = draw_recall(score_one(judge("A", genders={"01": "male"})))
    assert len(figure.axes) == 1
    words = words_of(figure)
    assert "male speaker" in words and "female" not in words


def test_genders_said_by_one_row_serve_all():
    figure = draw_recall(score_one(judge("A"), judge("Imported", genders={})))
    assert len(figure.axes) == 3


def test_scores_by_gender_equal_welchs_interval_on_speakers():
    (row,) = score_one(judge("A")).rows
    scores = score_genders(row, GENDERS)
    uars = {
        gender: [
            float(metrics.uar(confusion))
            for speaker, confusion in row.by_speaker.items()
            if GENDERS[speaker] == gender
        ]
        for gender in ("female", "male")
    }
    # Every speaker has equally many clips of each class, so pooling is averaging.
    for gender, values in uars.items():
        half = stats.t.ppf(0.975, 3) * stats.sem(values)
        assert scores.by_gender[gender].value == pytest.approx(np.mean(values))
        assert scores.by_gender[gender].low == pytest.approx(np.mean(values) - half)
    welch = stats.ttest_ind(uars["female"], uars["male"], equal_var=False).confidence_interval()
    assert scores.gap.value == pytest.approx(np.mean(uars["female"]) - np.mean(uars["male"]))
    assert (scores.gap.low, scores.gap.high) == pytest.approx((welch.low, welch.high))


def test_a_gap_without_spread_has_no_width():
    result = judge("A")
    frame = result.frame.assign(angry=1.0, calm=0.0, happy=0.0)
    (row,) = score_one(SystemResult(result.about, frame)).rows
    assert score_genders(row, GENDERS).gap == Estimate(0.0, 0.0, 0.0)
    assert score_genders(row, {**GENDERS, "00": "male"}) is not None
    assert score_genders(row, {speaker: "female" for speaker in GENDERS}) is None
    assert score_genders(row, {}) is None


def test_a_reliability_diagram_stands_at_the_means_of_its_bins():
    section = score_one(judge("A"), judge("B", 0.1))
    figure = draw_reliability(section)
    first = section.rows[0]
    used = first.calibration[first.calibration[:, 0] > 0]
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    x = np.concatenate([line.get_xdata() for line in points])
    y = np.concatenate([line.get_ydata() for line in points])
    assert sorted(x) == pytest.approx(sorted(100 * used[:, 1] / used[:, 0]))
    assert sorted(y) == pytest.approx(sorted(100 * used[:, 2] / used[:, 0]))
    error = first.estimates["calibration_error"].value
    assert f"ECE {100 * error:.1f}" in words_of(figure)
    shares = [bar.get_height() for bar in figure.axes[1].patches]
    assert sum(shares) == pytest.approx(100)


def test_a_cost_that_one_system_states_has_no_panel():
    stated = {"parameters": 10, "train_seconds": 1.0}
    section = score_one(judge("A", **stated), judge("B", 0.2, parameters=20, train_seconds=0.0))
    figure = draw_cost(section)
    (panel,) = figure.axes
    assert panel.get_xlabel() == "weights"
    assert draw_cost(score_one(judge("A", **stated), judge("B"))) is None
    third = judge("C", 0.4)
    words = words_of(draw_cost(score_one(*(judge(n, 0.1, **stated) for n in ("A", "BB")), third)))
    assert "not shown (unknown or zero): C" in words


def test_labels_cover_no_point_and_no_label():
    rng = np.random.default_rng(0)
    points = [(float(x), float(y)) for x, y in rng.uniform(20, 180, (20, 2))]
    sizes = [(30.0, 6.0)] * 20
    bounds = Box(0, 0, 200, 200)
    boxes = place_labels(points, sizes, [], bounds, gap=2)
    for index, box in enumerate(boxes):
        assert bounds.holds(box)
        assert not any(box.overlaps(other) for other in boxes[index + 1 :])
        assert not any(box.overlaps(Box(x, y, x + 1e-6, y + 1e-6)) for x, y in points)
    assert boxes == place_labels(points, sizes, [], bounds, gap=2)
    # A lone label stands to the right of its point, on its height.
    (alone,) = place_labels([(50.0, 50.0)], [(30.0, 6.0)], [], bounds, gap=2)
    assert alone.left > 50 and (alone.bottom + alone.top) / 2 == pytest.approx(50)
    with pytest.raises(ValueError, match="does not fit"):
        place_labels([(50.0, 50.0)], [(300.0, 6.0)], [], bounds, gap=2)


def test_mean_ranks_are_those_of_the_speakers():
    section = score_one(judge("A", 0.9), judge("BB", 0.3), judge("CCC", 0.0))
    uars = {
        row.about.system: [metrics.uar(one) for one in row.by_speaker.values()]
        for row in section.rows
    }
    ranks = stats.rankdata(-np.round(list(uars.values()), 10), axis=0).mean(axis=1)
    words = words_of(draw_critical_difference(section))
    for name, rank in zip(uars, ranks, strict=True):
        assert f"{name}  {rank:.1f}" in words
    p_value = stats.friedmanchisquare(*uars.values()).pvalue
    said = f"p = {p_value:.2g}" if p_value >= 1e-4 else "p < 0.0001"
    assert f"over 8 speakers, 1 is best; Friedman {said}" in words
    assert "Holm-corrected over the 3 pairs" in words.replace("\n", " ")


def test_groups_are_the_largest_sets_without_a_difference():
    section = score_one(*(judge(name) for name in "ABCD"))
    p_values = {"AB": 0.5, "AC": 0.01, "AD": 0.2, "BC": 0.3, "BD": 0.04, "CD": 0.05}
    pairs = tuple(compare(*names, p_value) for names, p_value in p_values.items())
    section = replace(section, comparisons=pairs)
    # A and D are joined across B and C, which differ from one of them.
    assert find_groups(section, "ABCD") == [[0, 1], [0, 3], [1, 2], [2, 3]]
    different = tuple(replace(pair, p_holm=0.001) for pair in pairs)
    assert find_groups(replace(section, comparisons=different), "ABCD") == []
    alike = tuple(replace(pair, p_holm=1.0) for pair in pairs)
    assert find_groups(replace(section, comparisons=alike), "ABCD") == [[0, 1, 2, 3]]


def test_ranks_need_three_systems_on_the_same_clips_of_six_speakers():
    whole = [judge(name, 0.2 * len(name)) for name in ("A", "BB", "CCC")]
    part = judge("D", 0.7)
    part = SystemResult(part.about, part.frame.iloc[12:])
    section = score_one(*whole, part)
    assert [row.about.system for row in find_comparable(section)] == ["A", "BB", "CCC"]
    words = words_of(draw_critical_difference(section)).replace("\n", " ")
    assert "Not shown, as not tested on the same clips: D." in words
    assert draw_critical_difference(score_one(*whole[:2])) is None
    few = [judge(name, 0.2 * len(name), speakers=5) for name in ("A", "BB", "CCC")]
    assert draw_critical_difference(score_one(*few)) is None
    unknown = [without_speakers(system) for system in whole]
    assert draw_critical_difference(score_one(*unknown)) is None
    same = [SystemResult(replace(whole[0].about, system=name), whole[0].frame) for name in "XYZ"]
    assert draw_critical_difference(score_one(*same)) is None


def test_a_confusion_matrix_shows_shares_and_counts():
    (row,) = score_one(judge("A")).rows
    words = words_of(draw_confusion(row))
    count = row.confusion[0, 0]
    assert f"{100 * count / 32:.0f}\n({count:g})" in words
    assert "angry\nn = 32" in words


def test_a_dollar_is_a_dollar(tmp_path):
    systems = [judge(f"$x_{number}$", 0.2 * number, parameters=10 + number) for number in range(3)]
    for draw in DRAWINGS:
        assert r"\$x_1\$" in words_of(draw(score_one(*systems)))
    draw_figures(score_all(systems), tmp_path)
    shutil.rmtree(tmp_path)


def test_label_efficiency_has_a_line_for_each_system_with_several_shares():
    shares = (0.05, 0.25, 1.0)
    systems = [
        judge(
            name + (name_of_share(share) if share < 1 else ""),
            skill=share * skill,
            training_share=share,
        )
        for name, skill in (("pretrained", 0.5), ("from scratch", 0.3))
        for share in shares
    ]
    section = score_one(*systems, judge("chance", skill=0))
    figure = draw_label_efficiency(section)
    (axes,) = figure.axes
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert [line.get_label() for line in lines] == ["from scratch", "pretrained"]
    by_name = {row.about.system: row for row in section.rows}
    for line in lines:
        wanted = [
            100
            * by_name[line.get_label() + (name_of_share(s) if s < 1 else "")].estimates["uar"].value
            for s in shares
        ]
        assert np.allclose(line.get_ydata(), wanted)
        assert np.allclose(line.get_xdata(), [5, 25, 100], rtol=0.05)
    assert len(axes.lines) == 2 + 6  # each point has its interval
    assert draw_label_efficiency(score_one(judge("a"), judge("b"))) is None
