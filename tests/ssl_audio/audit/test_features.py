"""Tables of features: made-up rows, frames and constants across a split are found, others not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, QuantileTransformer, RobustScaler

from ssl_audio.audit.command import Request, audit
from ssl_audio.audit.components import find_leaked_components
from ssl_audio.audit.jittered import find_jittered
from ssl_audio.audit.normalised import find_leaked_constants
from ssl_audio.audit.oversampled import find_between, find_repeated
from ssl_audio.data.folds import Fold, Folds
from ssl_audio.data.manifest import Clip, write_manifest
from ssl_audio.errors import UserError

NUM_FEATURES = 8
NUM_SPEAKERS = 8
TESTED = ("s6", "s7")


def make_clips():
    return [
        Clip(
            **{"clip_id": f"s{speaker}-{number}", "path": f"s{speaker}-{number}.wav"},
            **{"speaker": f"s{speaker}", "audio_sha256": f"{speaker}-{number}", "num_samples": 1},
            # Unevenly, so that there is something to oversample; the name does not tell.
            emotion="a" if (7 * number + 3 * speaker) % 10 < 7 else "b",
        )
        for speaker in range(NUM_SPEAKERS)
        for number in range(15)
    ]


CLIPS = make_clips()
IS_TEST = np.array([clip.speaker in TESTED for clip in CLIPS])


@pytest.fixture
def root(tmp_path):
    """A manifest with one fold that tests two speakers."""
    folder = tmp_path / "corpus"
    (folder / "folds").mkdir(parents=True)
    # Without labels, so that nothing else is looked for.
    unlabelled = [replace(clip, emotion=None) for clip in CLIPS]
    write_manifest(unlabelled, folder / "manifest.parquet")
    test = tuple(clip.clip_id for clip in CLIPS if clip.speaker in TESTED)
    train = tuple(clip.clip_id for clip in CLIPS if clip.speaker not in (*TESTED, "s5"))
    valid = tuple(clip.clip_id for clip in CLIPS if clip.speaker == "s5")
    folds = Folds("some-2/x", ("a", "b"), (Fold(1, train, valid, test),))
    folds.save(folder / "folds" / "x.csv")
    return folder


def draw(seed=0, columns=NUM_FEATURES):
    """Features that depend on speaker and class, of very different scales."""
    rng = np.random.default_rng(seed)
    own = rng.standard_normal((NUM_SPEAKERS, columns))[[int(c.speaker[1]) for c in CLIPS]]
    values = rng.standard_normal((len(CLIPS), columns)) + own
    values += np.array([[clip.emotion == "a"] for clip in CLIPS]) * rng.standard_normal(columns)
    return values * np.exp(rng.standard_normal(columns)) + 10 * rng.standard_normal(columns)


def frame(values, ids=None, **columns):
    """A table of one row per clip."""
    ids = [clip.clip_id for clip in CLIPS] if ids is None else ids
    table = pd.DataFrame(values, columns=[f"f{n}" for n in range(values.shape[1])])
    return table.assign(clip_id=ids, **columns)


def look(root, table, name="features.csv", **options):
    """Kinds and severities of what is found in the table."""
    path = root / name
    if path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    audited = audit(Request(source=root, features=path, **options))
    told = {f.kind: f for f in audited.findings if f.evidence.startswith("feature table")}
    return audited, told


def standardise(values, rows):
    return (values - values[rows].mean(0)) / values[rows].std(0)


def squeeze(values, rows):
    least, most = values[rows].min(0), values[rows].max(0)
    return (values - least) / (most - least)


LEARNT = ~IS_TEST & np.array([clip.speaker != "s5" for clip in CLIPS])


def by_scaler(scaler):
    return lambda values, rows: scaler.fit(values[rows]).transform(values)


WAYS = {
    "standard": standardise,
    "min-max": squeeze,
    "median and quartiles": by_scaler(RobustScaler()),
    "largest magnitude": by_scaler(MaxAbsScaler()),
    "quantiles": by_scaler(QuantileTransformer(n_quantiles=15)),
    "normal quantiles": by_scaler(
        QuantileTransformer(n_quantiles=15, output_distribution="normal")
    ),
}
COMPONENTS = {
    "all": by_scaler(PCA()),
    "five": by_scaler(PCA(5)),
    "whitened": by_scaler(PCA(5, whiten=True)),
}
FORMS = {
    "float64": lambda values: values,
    "float32": lambda values: values.astype(np.float32),
    "6 decimals": lambda values: np.round(values, 6),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", WAYS)
def test_constants_of_all_clips_are_a_leak(root, way, form):
    everyone = np.ones(len(CLIPS), dtype=bool)
    for rows, population in (
        (everyone, "train, validation and test"),
        (LEARNT | IS_TEST, "train and test"),
        (IS_TEST, "test"),
    ):
        _, told = look(root, frame(FORMS[form](WAYS[way](draw(), rows))))
        assert set(told) == {"normalisation_leak"} and told["normalisation_leak"].severity == "leak"
        if "quantiles" not in way:  # what lies beyond others' quantiles is cut to their ends
            assert f" over {population}, and not over train" in told["normalisation_leak"].evidence
        assert (told["normalisation_leak"].protocol, told["normalisation_leak"].fold) == (
            *("some-2/x", 1),
        )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("way", WAYS)
def test_constants_of_training_clips_are_none(root, way, seed):
    for rows in (LEARNT, ~IS_TEST):
        _, told = look(root, frame(WAYS[way](draw(seed), rows)))
        assert told == {}
    assert look(root, frame(draw(seed)))[1] == {}


@pytest.mark.parametrize("way", COMPONENTS)
def test_components_of_all_clips_are_a_leak(root, way):
    for rows, population in ((slice(None), "train, validation and test"), (LEARNT | IS_TEST, "")):
        values = COMPONENTS[way](draw(), rows)
        for later in (values, standardise(values, LEARNT).astype(np.float32)):
            _, told = look(root, frame(later))
            assert set(told) == {"normalisation_leak"}
            assert " over " + population in told["normalisation_leak"].evidence
    for rows in (LEARNT, ~IS_TEST):
        assert look(root, frame(COMPONENTS[way](draw(), rows)))[1] == {}


def test_balanced_classes_are_uncorrelated_and_no_components():
    rows = np.arange(240)
    classes = np.stack([rows % 2, rows // 2 % 2, rows // 4 % 3, rows // 12 % 2], axis=1)
    train, everyone = {"train": rows[::7]}, {"all": rows}
    assert find_leaked_components(classes.astype(np.float64), train, everyone) is None


def test_evidence_names_features_and_test_clips(root):
    _, told = look(root, frame(standardise(draw(), slice(None))))
    finding = told["normalisation_leak"]
    assert "8 features of 8 (f0, f1, f2 and 5 more) have mean 0" in finding.evidence
    assert "computed from these 120 rows, 30 of them test" in finding.evidence
    assert finding.groups == (tuple(c.clip_id for c in CLIPS if c.speaker in TESTED),)


def test_sample_standard_deviation_counts_too(root):
    table = frame(draw())
    features = [f"f{n}" for n in range(NUM_FEATURES)]
    table[features] = (table[features] - table[features].mean()) / table[features].std()
    assert set(look(root, table)[1]) == {"normalisation_leak"}


def test_shares_and_classes_are_no_min_max_scaling(root):
    """Least 0 and largest 1 by nature, once in the test only."""
    rng = np.random.default_rng(0)
    values = draw()
    values[:, :3] = rng.random((len(CLIPS), 3))
    values[IS_TEST.argmax(), :3], values[IS_TEST.argmax() + 1, :3] = 0, 1
    values = np.hstack([values, rng.integers(0, 2, (len(CLIPS), 9))])
    assert look(root, frame(values))[1] == {}


def by_speaker(values, speakers, spread=True):
    values = values.copy()
    for speaker in speakers:
        rows = np.array([clip.speaker == speaker for clip in CLIPS])
        values[rows] -= values[rows].mean(0)
        if spread:
            values[rows] /= values[rows].std(0)
    return values


@pytest.mark.parametrize("spread", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_test_speakers_own_statistics_are_a_leak(root, form, spread):
    everyone = {clip.speaker for clip in CLIPS}
    for speakers in (everyone, TESTED):
        _, told = look(root, frame(FORMS[form](by_speaker(draw(), speakers, spread))))
        assert set(told) == {"speaker_statistics"}
        assert told["speaker_statistics"].severity == "leak"
        assert [len(group) for group in told["speaker_statistics"].groups] == [15, 15]
    assert look(root, frame(by_speaker(draw(), everyone - set(TESTED), spread)))[1] == {}


GROUP_WAYS = (
    *WAYS.values(),
    by_scaler(MinMaxScaler((-1, 1))),
)


@pytest.mark.parametrize("number", range(len(GROUP_WAYS)))
def test_every_scaling_by_the_speakers_own_clips_is_found(root, number):
    values = draw()
    scaled = values.copy()
    for speaker in range(NUM_SPEAKERS):
        rows = np.array([clip.speaker == f"s{speaker}" for clip in CLIPS])
        scaled[rows] = GROUP_WAYS[number](values[rows], slice(None))
    _, told = look(root, frame(scaled))
    assert set(told) == {"speaker_statistics"}
    is_learnt = np.array([[clip.speaker not in TESTED] for clip in CLIPS])
    honest = np.where(is_learnt, scaled, GROUP_WAYS[number](values, LEARNT))
    assert look(root, frame(honest))[1] == {}


def test_clips_normalised_by_themselves_are_no_leak(root):
    """Frames of each clip with mean 0: so has each speaker, who gives nothing away."""
    rng = np.random.default_rng(0)
    ids = np.repeat([clip.clip_id for clip in CLIPS], 10)
    values = rng.standard_normal((len(ids), NUM_FEATURES))
    for clip in CLIPS:
        rows = ids == clip.clip_id
        values[rows] = standardise(values[rows], slice(None))
    assert look(root, frame(values, ids))[1] == {}


def oversample(values, labels, method):
    """Values and the numbers of the rows they come from, -1 for made-up ones."""
    over = pytest.importorskip("imblearn.over_sampling")
    samplers = {
        "SMOTE": over.SMOTE(random_state=0, k_neighbors=3),
        "BorderlineSMOTE": over.BorderlineSMOTE(random_state=0, k_neighbors=3),
        "RandomOverSampler": over.RandomOverSampler(random_state=0),
    }
    more, classes = samplers[method].fit_resample(values, labels)
    assert len(more) > len(values)
    return more, classes


METHODS = ("SMOTE", "BorderlineSMOTE", "RandomOverSampler")
LABELS = np.array([clip.emotion for clip in CLIPS])
FINISHES = {
    "raw": lambda values: values,
    "scaled": lambda values: standardise(values, slice(None)),
    "scaled, float32": lambda values: standardise(values, slice(None)).astype(np.float32),
    "scaled, 6 decimals": lambda values: np.round(standardise(values, slice(None)), 6),
}


@pytest.mark.parametrize("finish", FINISHES)
@pytest.mark.parametrize("method", METHODS)
def test_oversampling_before_the_split_is_a_leak(root, method, finish):
    """Made-up rows under made-up names, all rows dealt to both sides at random."""
    values, labels = oversample(draw(), LABELS, method)
    made = len(values) - len(CLIPS)
    ids = [clip.clip_id for clip in CLIPS] + [f"synthetic {n}" for n in range(made)]
    split = np.random.default_rng(0).choice(["train", "test"], len(values), p=[0.7, 0.3])
    table = frame(FINISHES[finish](values), ids, label=labels, split=split)
    _, told = look(root, table)
    assert told["oversampled_rows"].severity == "leak"
    of_test = set(np.array(ids)[split == "test"])
    for group in told["oversampled_rows"].groups:
        assert len(of_test & set(group)) not in (0, len(group))
        assert group[0].startswith("synthetic")


@pytest.mark.parametrize("method", METHODS)
def test_oversampling_of_the_training_part_is_a_note(root, method):
    values, labels = oversample(draw()[~IS_TEST], LABELS[~IS_TEST], method)
    values = np.vstack([values, draw()[IS_TEST]])
    ids = np.array([clip.clip_id for clip in CLIPS])
    made = [f"synthetic {n}" for n in range(len(values) - len(CLIPS))]
    named = [*ids[~IS_TEST], *made, *ids[IS_TEST]]
    split = ["train"] * (len(values) - IS_TEST.sum()) + ["test"] * IS_TEST.sum()
    labels = [*labels, *LABELS[IS_TEST]]
    _, told = look(root, frame(values, named, label=labels, split=split))
    assert {kind: f.severity for kind, f in told.items()} == {"oversampled_rows": "note"}


def test_made_up_rows_of_the_corpus_own_folds(root):
    """No split in the table: rows that name no clip are learnt from."""
    values, _ = oversample(draw(), LABELS, "SMOTE")
    ids = [clip.clip_id for clip in CLIPS] + [""] * (len(values) - len(CLIPS))
    audited, told = look(root, frame(values, ids))
    assert told["oversampled_rows"].severity == "leak"
    assert any("that name no clip" in missed for missed in audited.missed)
    assert all(group[0].startswith("row 1") for group in told["oversampled_rows"].groups)


def test_normalisation_before_oversampling_is_found_beneath_it(root):
    values, labels = oversample(standardise(draw(), slice(None)), LABELS, "SMOTE")
    made = len(values) - len(CLIPS)
    ids = [clip.clip_id for clip in CLIPS] + [f"x{n}" for n in range(made)]
    split = [*np.where(IS_TEST, "test", "train"), *["train"] * made]
    _, told = look(root, frame(values, ids, label=labels, split=split))
    assert told["normalisation_leak"].severity == "leak"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_features", [2, 4, 40])
def test_measured_rows_are_not_made_up(seed, num_features):
    rng = np.random.default_rng(seed)
    clouds = rng.standard_normal((400, num_features)) @ rng.standard_normal((num_features,) * 2)
    for form in FORMS.values():
        values = form(clouds).astype(np.float64)
        assert find_between(values, ["a"] * 400) == [] and find_repeated(values) == []


def draw_correlated(seed, num_rows):
    """Of 20 features that go together, as measured ones do."""
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((num_rows, 20))
        * np.geomspace(5, 0.1, 20)
        @ np.linalg.qr(rng.standard_normal((20, 20)))[0]
    )


@pytest.mark.parametrize("size", [0.01, 0.1, 0.3])
def test_rows_repeated_with_noise_are_a_leak(root, size):
    rng = np.random.default_rng(1)
    values = draw_correlated(0, len(CLIPS))
    origins = rng.choice(len(CLIPS), 60)
    noise = size * values.std(0) * rng.standard_normal((60, 20))
    both = np.vstack([values, values[origins] + noise])
    ids = [clip.clip_id for clip in CLIPS] + [""] * 60
    _, told = look(root, frame(both, ids))
    assert told["oversampled_rows"].severity == "leak"
    assert "rows that repeat another with noise, e.g. row 1" in told["oversampled_rows"].evidence
    groups = [group for group in told["oversampled_rows"].groups]
    right = {(f"row {121 + n}", CLIPS[origin].clip_id) for n, origin in enumerate(origins)}
    assert set(groups) <= right and len(groups) > 0.9 * IS_TEST[origins].sum()
    honest = np.flatnonzero(LEARNT)[:60]
    both[120:] = values[honest] + noise[: len(honest)]
    _, told = look(root, frame(both, ids))
    assert {kind: f.severity for kind, f in told.items()} == {"oversampled_rows": "note"}


@pytest.mark.parametrize("seed", range(10))
def test_rows_without_a_name_that_were_measured_repeat_no_other(seed):
    values = draw_correlated(seed, 300)
    nameless = np.random.default_rng(seed).random(300) < 0.3
    assert find_jittered(values, [None] * 300, nameless) == []
    assert find_jittered(values, [None] * 300, np.zeros(300, dtype=bool)) == []


def test_counts_lie_on_a_grid_and_are_not_made_up():
    values = np.random.default_rng(0).integers(0, 9, (500, 6)).astype(np.float64)
    assert find_between(values, [None] * 500) == [] and find_repeated(values) == []


def test_silent_frames_and_copied_recordings_are_not_oversampled(root, tmp_path):
    values = draw()
    values[[0, 1, 100, 101]] = -13.8
    assert look(root, frame(values))[1] == {}
    copied = [replace(c, audio_sha256="x") if n in (3, 80) else c for n, c in enumerate(CLIPS)]
    write_manifest(copied, root / "manifest.parquet")
    values = draw()
    values[80] = values[3]
    _, told = look(root, frame(values))
    assert told == {}


@pytest.mark.parametrize("form", ["{}", "{}_frame{}", "{}#{}", "{}@{}.50"])
@pytest.mark.parametrize(("source", "target"), [("test", "train"), ("train", "validation")])
def test_frames_of_one_clip_on_two_sides(root, source, target, form):
    names = [clip.clip_id for clip in CLIPS for _ in range(3)]
    ids = np.array([form.format(name, row % 3) for row, name in enumerate(names)], dtype=object)
    values = np.random.default_rng(0).standard_normal((len(ids), NUM_FEATURES))
    split = np.where(np.repeat(IS_TEST, 3), "test", "train").astype(object)
    split[:45] = "validation"  # all of s0
    assert look(root, frame(values, ids, part=split))[1] == {}
    moved = np.flatnonzero(split == source)[0]
    split[moved] = target
    _, told = look(root, frame(values, ids, part=split))
    kind = "split_parent" if source == "test" else "validation_in_training"
    assert set(told) == {kind} and told[kind].severity == "leak"
    assert told[kind].groups == ((names[moved],),)


def test_folds_and_other_columns_of_a_table(root):
    """Parquet, mapped columns, columns with gaps or text, a column of folds."""
    table = frame(standardise(draw(), slice(None)), note="text", gaps=np.nan)
    table.loc[1:, "gaps"] = 1.5
    table = table.rename(columns={"clip_id": "wav"})
    table["cv"] = [f"fold {int(clip.speaker[1]) % 3}" for clip in CLIPS]
    columns = {"clip_id": "wav", "fold": "cv"}
    audited, told = look(root, table, "features.parquet", columns=columns)
    findings = [finding for finding in audited.findings if finding.kind == "normalisation_leak"]
    assert [finding.fold for finding in findings] == [0, 1, 2]
    assert told["normalisation_leak"].protocol == "the split of the feature table"
    assert any("120 rows of 8 features" in looked for looked in audited.looked_at)
    assert any("1 feature with gaps" in missed for missed in audited.missed)


def test_leaked_constants_need_two_columns_and_three_rows():
    values = np.random.default_rng(0).standard_normal((50, 6))
    values[:, 0] = standardise(values[:, :1], slice(None))[:, 0]
    train, everyone = {"train": np.arange(30)}, {"all": np.arange(50)}
    assert find_leaked_constants(values, train, everyone) is None
    assert find_leaked_constants(values, train, {"two": np.arange(2)}) is None
    values[:, 1] = standardise(values[:, 1:2], slice(None))[:, 0]
    found = find_leaked_constants(values, train, everyone)
    assert found is not None and (found.population, found.columns.tolist()) == ("all", [0, 1])


MISTAKES = {
    "no rows": ("clip_id,f0\n", "expected a header and at least one row"),
    "no names": ("f0,f1\n1,2\n", "expected a column clip_id or path"),
    "other names": (
        "clip_id,f0\nx,1\ny,2\n",
        "none of 2 rows names a clip of the corpus, first 'x'",
    ),
    "no numbers": ("clip_id,f0\ns0-0,a\ns0-1,b\n", "expected columns of numbers"),
    "constant": ("clip_id,f0\ns0-0,1\ns0-1,1\n", "expected columns of numbers"),
    "one fold": ("clip_id,fold,f0\ns0-0,1,1\ns0-1,1,2\n", "needs at least 2 folds"),
    "torn": ("clip_id,f0\ns0-0,1,2,3\n", "expected 2 cells, got 4"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(root, name):
    content, message = MISTAKES[name]
    (root / "features.csv").write_text(content)
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        audit(Request(source=root, features=root / "features.csv"))


def test_the_split_of_a_table_is_audited_as_any_other(root):
    """Dealt at random over clips: nothing in the numbers tells, but every speaker is on both."""
    rng = np.random.default_rng(0)
    split = np.where(rng.random(len(CLIPS)) < 0.3, "test", "train")
    audited, told = look(root, frame(draw(), split=split))
    assert told == {}
    (shared,) = (f for f in audited.findings if f.kind == "shared_speakers")
    assert shared.severity == "leak" and shared.protocol == "the split of the feature table"
    assert [folds.protocol for folds in audited.protocols] == ["some-2/x", shared.protocol]
    honest, _ = look(root, frame(draw(), split=np.where(IS_TEST, "test", "train")))
    assert not any(f.severity == "leak" for f in honest.findings)
    by_fold, _ = look(root, frame(draw(), fold=split))
    assert {f.kind for f in by_fold.findings if f.severity == "leak"} == {"shared_speakers"}


@pytest.mark.parametrize("mark", [1e6, -9999.0, 1e12])
def test_one_broken_row_makes_no_leak(root, mark):
    values = draw() / 100
    values[0] = mark
    _, told = look(root, frame(values))
    assert told == {}


def test_rows_without_features_are_left_out_and_told(root):
    values = draw()
    values[[3, 5]] = np.nan
    values[3, 0] = 1.0
    audited, told = look(root, frame(standardise(values, ~np.isnan(values).any(axis=1))))
    assert "normalisation_leak" in told
    assert "2 rows without most features" in audited.missed
    values[:, 0] = np.nan
    audited, _ = look(root, frame(values))
    assert "2 rows without most features" in audited.missed


@pytest.mark.parametrize("scale", [1e-300, 1e200, 1e307])
def test_features_beyond_computing_are_left_out(root, scale):
    values = draw()
    values[:, 0] *= scale
    audited, told = look(root, frame(values))
    assert told == {} and "1 feature with gaps" in audited.missed
    with pytest.raises(UserError, match="every feature has gaps, infinities, or numbers too large"):
        look(root, frame(values[:, :1]))


def test_parts_of_one_clip_are_not_made_of_each_other(root):
    halves = draw(), draw(1)
    ids = [clip.clip_id for clip in CLIPS]
    values = np.concatenate([*halves, (halves[0] + halves[1]) / 2])
    _, told = look(
        root, frame(values, [*(f"{n}_f1" for n in ids), *(f"{n}_f2" for n in ids), *ids])
    )
    assert told == {}
