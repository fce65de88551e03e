"""Which row is bold, which never is, and what stands below a table about where it comes from."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks.layout import lay_out
from benchmarks.provenance import describe_provenance, shorten_hashes
from benchmarks.results import SystemResult
from benchmarks.scoring import score_all
from finetune.predictions import Provenance

CLASSES = ("angry", "calm")
SPEAKERS = 24


def system(name, right, protocol="p-2/x", folds=6, **about):
    """24 speakers with 10 clips each, of which the first ones are judged rightly.

    Args:
        right: how many of a speaker's 10 clips, by speaker or for all.
    """
    counts = np.broadcast_to(right, SPEAKERS)
    rows = []
    for speaker in range(SPEAKERS):
        for clip in range(10):
            label = clip % 2
            hit = clip < counts[speaker]
            fold = speaker % folds + 1
            rows.append((f"s{speaker}-{clip}", f"s{speaker:02d}", fold, 0, CLASSES[label], hit))
    frame = pd.DataFrame(rows, columns=["clip_id", "speaker", "fold", "seed", "label", "hit"])
    decided = (frame["label"] == CLASSES[0]) == frame.pop("hit")
    frame[CLASSES[0]], frame[CLASSES[1]] = decided * 1.0, 1.0 - decided
    return SystemResult(Provenance(system=name, protocol=protocol, classes=CLASSES, **about), frame)


def scattered(mean):
    """Right clips by speaker, some more and some less."""
    return mean + np.arange(SPEAKERS) % 2


def bold_cells(table):
    return [row[0].text for row in table.rows for cell in row if cell.bold]


def below(table):
    return " ".join(table.below(table.headings))


def test_the_row_that_beats_all_others_is_bold():
    (section,) = score_all([system("A", 9), system("B", 5), system("C", scattered(6))])
    table = lay_out(section)
    assert section.winners == ("A",)
    assert bold_cells(table) == ["A"]
    assert "Bold: its UAR beats that of every other row (p < 0.05, paired over speakers" in below(
        table
    )
    assert "Holm-corrected over the 3 pairs of the table" in below(table)


def test_nothing_is_bold_where_no_difference_survives():
    (section,) = score_all([system("A", scattered(6)), system("B", scattered(6)[::-1])])
    table = lay_out(section)
    assert bold_cells(table) == []
    assert "Nothing is bold: no row beats every other row" in below(table)


def test_nothing_is_bold_where_there_is_no_second_row():
    (section,) = score_all([system("A", 9)])
    table = lay_out(section)
    assert bold_cells(table) == [] and table.second is None
    assert "Nothing is bold: there are no two rows" in below(table)


def test_nothing_is_bold_where_speakers_are_unknown():
    rows = [system("A", 9), system("B", 5)]
    for row in rows:
        row.frame["speaker"] = None
    (section,) = score_all(rows)
    table = lay_out(section)
    assert bold_cells(table) == []
    assert "Nothing is bold: no difference could be tested over speakers." in below(table)
    assert table.second.rows[0][2].text == "\N{EN DASH}"


BARS = [
    ({"leak": "transductive"}, "transductive: the encoder saw the audio"),
    ({"contaminated": "tuned on the test actors"}, "contaminated: tuned on the test actors"),
    ({"reduced": "12 of 71 epochs"}, "reduced: 12 of 71 epochs"),
]


@pytest.mark.parametrize(("about", "note"), BARS)
def test_marked_rows_are_never_bold_and_bar_no_other(about, note):
    best = system("Best", 10, **about)
    (section,) = score_all([best, system("A", 8), system("B", 5)])
    table = lay_out(section)
    assert section.candidates == ("B", "A")
    assert bold_cells(table) == ["A"]
    assert "beats that of every other row that no mark bars" in below(table)
    (row,) = (row for row in table.rows if row[0].text == "Best")
    assert next(text for mark, text in table.legend if mark in row[0].marks).startswith(note)
    assert table.second.title == "A against every other row"
    assert table.second.rows[0][0].text == "Best"
    assert table.second.rows[0][1].text.startswith("-20.0")


def test_incomplete_rows_are_never_bold():
    part = system("Part", 10)
    part = replace(part, frame=part.frame[part.frame["fold"] < 4])
    (section,) = score_all([part, system("A", 8), system("B", 5)])
    assert section.candidates == ("B", "A")
    assert bold_cells(lay_out(section)) == ["A"]


def test_notes_that_bar_nothing_leave_a_row_a_candidate():
    (section,) = score_all([system("A", 9, notes=("random weights",)), system("B", 5)])
    assert bold_cells(lay_out(section)) == ["A"]
    assert section.rows[-1].notes == ("random weights",)


def test_nothing_is_bold_where_one_fold_judged_every_speaker():
    (section,) = score_all([system("A", 9, folds=1), system("B", scattered(5), folds=1)])
    table = lay_out(section)
    assert bold_cells(table) == []
    assert section.comparisons[0].difference.low is None
    assert section.comparisons[0].p_value is None
    assert "One fold judged every speaker: intervals are about its fits" in below(table)
    assert "no difference could be tested over speakers" in below(table)


def test_nothing_is_bold_where_every_row_lacks_folds_of_the_protocol():
    (section,) = score_all([system("A", 9, num_folds=8), system("B", 5, num_folds=8)])
    table = lay_out(section)
    assert bold_cells(table) == [] and section.comparisons[0].p_holm < 0.05
    assert "Folds 1, 2, 3, 4, 5, 6 only, of the protocol's 8: not comparable" in below(table)
    assert "Nothing is bold: rows rest on fewer than 12 speakers or on part" in below(table)
    (whole,) = score_all([system("A", 9, num_folds=6), system("B", 5, num_folds=6)])
    assert whole.winners == ("A",)


def test_nothing_is_bold_of_few_speakers():
    few = []
    for result in (system("A", 9), system("B", scattered(5))):
        frame = result.frame[result.frame["speaker"] < "s11"].reset_index(drop=True)
        few.append(replace(result, frame=frame))
    (section,) = score_all(few)
    assert section.rows[0].num_speakers == 11 and section.comparisons[0].p_holm < 0.05
    assert section.winners == ()


def test_leaky_rows_are_neither_compared_nor_bold():
    (section,) = score_all([system("A", 9, leak="leaky"), system("B", 5, leak="leaky")])
    table = lay_out(section)
    assert section.comparisons == () and table.second is None
    assert bold_cells(table) == [] and "bold" not in below(table).lower()


def test_the_leading_row_is_compared_with_every_other_one_best_first():
    (section,) = score_all([system("A", 9), system("B", 5), system("C", scattered(6))])
    second = lay_out(section).second
    assert second.title == "A against every other row"
    assert [row[0].text for row in second.rows] == ["C", "B"]
    assert second.rows[1][1].text == "+40.0 [+40.0, +40.0]"
    assert all(row[2].value < 0.001 for row in second.rows)


def test_rows_that_decide_alike_differ_by_nothing():
    (section,) = score_all([system("A", 5), system("B", 5), system("C", 4)])
    alike, less = lay_out(section).second.rows
    assert (alike[0].text, alike[1].text, alike[2].text) == ("A", "+0.0 [+0.0, +0.0]", "1.0000")
    assert less[1].text == "+10.0 [+10.0, +10.0]"


def test_the_table_says_what_it_resolves():
    (section,) = score_all([system("A", 9), system("B", scattered(5))])
    assert section.resolution.describe() in lay_out(section).remarks


def test_provenance_is_told_once_where_rows_share_it():
    digest = "0123456789abcdef" * 4
    facts = {"data": digest, "split": "f" * 64, "code": "c" * 40}
    rows = [
        system("A", 9, **facts),
        system("B", 5, **facts, weights=f"some/model sha256:{digest}"),
        system("C", 6, **facts),
    ]
    (section,) = score_all(rows)
    assert describe_provenance(section.rows) == (
        "Provenance: data 0123456789ab; split ffffffffffff; code cccccccccccc; "
        "weights none, but some/model sha256:0123456789ab for B."
    )
    assert lay_out(section).warnings == ()


def test_of_several_codes_the_most_common_needs_no_names():
    codes = {"A": "a", "B": "b", "C": "c", "D": "c"}
    rows = [system(name, 5, data="d" * 64, code=code * 40) for name, code in codes.items()]
    (section,) = score_all(rows)
    text = describe_provenance(section.rows)
    assert "code cccccccccccc, but " in text and " for C" not in text and " for D" not in text
    assert "aaaaaaaaaaaa for A" in text and "bbbbbbbbbbbb for B" in text


def test_unknown_provenance_is_called_so_and_warns_of_nothing():
    (section,) = score_all([system("A", 9, data="a" * 64), system("B", 5)])
    text = describe_provenance(section.rows)
    assert text == (
        "Provenance: data unknown for B, aaaaaaaaaaaa for A; split unknown; code unknown; "
        "weights unknown for B, none for A."
    )
    assert lay_out(section).warnings == ()


@pytest.mark.parametrize(("fact", "meaning"), [("data", "labelled clips"), ("split", "folds")])
def test_rows_of_different_data_or_folds_are_a_warning(fact, meaning):
    (section,) = score_all([system("A", 9, **{fact: "a" * 64}), system("B", 5, **{fact: "b" * 64})])
    assert lay_out(section).warnings == (
        f"These rows were not made with the same {meaning}: {fact} bbbbbbbbbbbb for B and "
        "aaaaaaaaaaaa for A.",
    )


def test_one_row_of_two_data_is_a_warning_too():
    (section,) = score_all([system("A", 9, data=f"{'a' * 64}; {'b' * 64}")])
    (warning,) = lay_out(section).warnings
    assert "data aaaaaaaaaaaa; bbbbbbbbbbbb for A" in warning


def test_only_hashes_are_shortened():
    assert shorten_hashes("resnest50d.in1k " + "ab12" * 16) == "resnest50d.in1k ab12ab12ab12"
    assert shorten_hashes("0123456789ab facade") == "0123456789ab facade"
