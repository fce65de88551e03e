import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.planning import Aim, count_seeds, count_speakers, predict_error, resolve
from benchmarks.results import predictions_path, save_predictions
from benchmarks.variation import Spread, estimate_spread, measure_spread
from finetune.predictions import Predictions, Provenance
from ssl_audio.errors import UserError

CLASSES = ("angry", "calm")
SPEAKERS, SEEDS, TAKES = 60, 5, 40


def test_without_seeds_the_plan_is_the_power_of_a_paired_t():
    spread, aim = Spread(0.09, 0.0, 0.0, "as given"), Aim(0.05)
    exact = TTestPower().solve_power(effect_size=0.05 / 0.09, alpha=0.05, power=0.8)
    assert count_speakers(spread, aim, 1) == int(np.ceil(exact))
    resolved = 0.09 * TTestPower().solve_power(nobs=24, alpha=0.05, power=0.8)
    assert resolve(spread, aim, 24, 1) == pytest.approx(resolved, rel=1e-4)


def test_a_planned_difference_is_found_as_often_as_promised():
    difference = resolve(Spread(0.09, 0.0, 0.0, "as given"), Aim(0.05, comparisons=10), 12, 1)
    samples = difference + 0.09 * np.random.default_rng(0).standard_normal((20_000, 12))
    found = stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.005
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_neither_seeds_nor_speakers_replace_the_other():
    spread, aim = Spread(0.09, 0.02, 0.0, "as given"), Aim(0.05)
    assert count_seeds(spread, aim, 24) is None
    assert count_speakers(spread, aim, 1) is None
    needed = count_speakers(spread, aim, 3)
    assert resolve(spread, aim, needed, 3) <= 0.05 < resolve(spread, aim, needed - 1, 3)
    seeds = count_seeds(spread, aim, 48)
    assert resolve(spread, aim, 48, seeds) <= 0.05 < resolve(spread, aim, 48, seeds - 1)


def test_folds_and_comparisons_ask_for_more():
    spread = Spread(0.09, 0.0, 0.0, "as given")
    alone = resolve(spread, Aim(0.05), 24, 1)
    assert resolve(spread, Aim(0.05, comparisons=10), 24, 1) > alone
    assert resolve(spread, Aim(0.05, folds=6), 24, 1) > alone
    assert resolve(spread, Aim(0.05, folds=24), 24, 1) == alone


SPEAKER_POINTS, SEED_POINTS, REST_POINTS = 9.0, 3.0, 8.0


def draw_system(rng, num_speakers, seeds, share=1.0):
    """Contributions in points by seed, with a share of each known variance."""
    sds = np.sqrt(share) * np.array([SPEAKER_POINTS, SEED_POINTS, REST_POINTS])
    speakers, alike = rng.normal(0, sds[0], num_speakers), rng.normal(0, sds[1], len(seeds))
    rest = rng.normal(0, sds[2], (len(seeds), num_speakers))
    return dict(zip(seeds, speakers + alike[:, None] + rest, strict=True))


@pytest.mark.parametrize(
    ("first_seeds", "second_seeds"),
    [(range(5), range(5)), (range(5), range(5, 10)), (range(6), range(4))],
)
def test_known_parts_of_the_variance_are_found(first_seeds, second_seeds):
    rng = np.random.default_rng(0)
    found = [
        estimate_spread(
            draw_system(rng, 48, first_seeds, 0.5), draw_system(rng, 48, second_seeds, 0.5), ""
        )
        for _ in range(500)
    ]
    for name, true in {
        "speaker_sd": SPEAKER_POINTS,
        "seed_sd": SEED_POINTS,
        "speaker_seed_sd": REST_POINTS,
    }.items():
        variances = np.array([getattr(spread, name) for spread in found]) ** 2
        assert np.sqrt(variances.mean()) == pytest.approx(true, rel=0.03), name


def test_a_system_without_luck_leaves_the_parts_to_the_other():
    rng = np.random.default_rng(0)
    found = [
        estimate_spread(draw_system(rng, 48, range(5)), {0: np.zeros(48)}, "") for _ in range(500)
    ]
    rest = np.array([spread.speaker_seed_sd for spread in found])
    speakers = np.array([spread.speaker_sd for spread in found])
    assert np.sqrt((rest**2).mean()) == pytest.approx(REST_POINTS, rel=0.03)
    assert np.sqrt((speakers**2).mean()) == pytest.approx(SPEAKER_POINTS, rel=0.03)


def test_more_speakers_average_out_what_seeds_do_to_each_of_them():
    """24 speakers and 5 seeds foretell the error of 96 and one, where no seed moves all alike."""
    rng = np.random.default_rng(1)

    def draw_difference(num_speakers, num_seeds):
        own = rng.normal(0, SPEAKER_POINTS, num_speakers)
        return own + rng.normal(0, REST_POINTS, (num_seeds, num_speakers))

    true = np.std([draw_difference(96, 1).mean() for _ in range(5000)])
    assert true == pytest.approx(np.sqrt((9**2 + 8**2) / 96), rel=0.03)
    nothing = {seed: np.zeros(24) for seed in range(5)}
    foretold = [
        predict_error(estimate_spread(dict(enumerate(draw_difference(24, 5))), nothing, ""), 96, 1)
        for _ in range(500)
    ]
    assert np.median(foretold) == pytest.approx(true, rel=0.1)


def store(results, system, speaker_sd, seed_sd, protocol="p-2/x", known=True, seeds=SEEDS):
    """A made-up system whose recall differs from speaker to speaker and from seed to seed."""
    rng = np.random.default_rng([ord(system), 1])
    recalls = 0.6 + speaker_sd * rng.standard_normal((1, SPEAKERS))
    recalls = (recalls + seed_sd * rng.standard_normal((seeds, 1))).clip(0, 1)
    speaker, label = (part.ravel() for part in np.indices((SPEAKERS, 2 * TAKES)))
    label = label % 2
    for seed in range(seeds):
        right = rng.random(len(label)) < recalls[seed, speaker]
        decided = np.where(right, label, 1 - label)
        frame = pd.DataFrame(np.eye(2)[decided], columns=list(CLASSES))
        frame.insert(0, "clip_id", [f"{number}" for number in range(len(label))])
        frame.insert(1, "speaker", [f"s{n}" if known else None for n in speaker])
        frame.insert(2, "fold", 1 + speaker % 6)
        frame.insert(3, "seed", seed)
        frame.insert(4, "label", [CLASSES[n] for n in label])
        about = Provenance(system=system, protocol=protocol, classes=CLASSES)
        path = predictions_path(results, protocol, system, 1, seed)
        save_predictions(Predictions(about, frame), path)


def test_all_spreads_are_measured_from_predictions(tmp_path):
    store(tmp_path, "a", speaker_sd=0.08, seed_sd=0.02, seeds=15)
    store(tmp_path, "b", speaker_sd=0.06, seed_sd=0.04, seeds=15)
    spread, folds = measure_spread(tmp_path, "a", "b")
    # Speakers differ by sqrt(0.08² + 0.06²) = 0.10, seeds by sqrt(0.02² + 0.04²) = 0.045; 80 clips
    # of a speaker differ by chance from seed to seed, by sqrt(2 * 0.6 * 0.4 / 80) = 0.077.
    assert spread.speaker_sd == pytest.approx(0.10, abs=0.02)
    assert spread.seed_sd == pytest.approx(0.045, abs=0.02)
    assert spread.speaker_seed_sd == pytest.approx(0.077, abs=0.01)
    assert "60 speakers, 15 and 15 seeds" in spread.source
    assert folds == 6


def test_one_fold_is_refused_as_its_luck_cannot_be_told(tmp_path):
    for system in "ab":
        store(tmp_path, system, 0.08, 0.02, seeds=2)
        for path in (tmp_path / "predictions").glob("*.parquet"):
            predictions = Predictions.load(path)
            predictions.frame["fold"] = 1
            save_predictions(predictions, path)
    with pytest.raises(UserError, match="in the same two or more folds"):
        measure_spread(tmp_path, "a", "b")


def test_one_seed_is_said(tmp_path):
    store(tmp_path, "a", 0.08, 0.02)
    store(tmp_path, "b", 0.08, 0.02, seeds=1)
    assert "seeds of b unknown, counted as alike" in measure_spread(tmp_path, "a", "b")[0].source


def test_rows_that_cannot_be_paired_are_refused(tmp_path):
    store(tmp_path, "a", 0.08, 0.02, seeds=1)
    store(tmp_path, "b", 0.08, 0.02, known=False, seeds=1)
    with pytest.raises(UserError, match="can't be compared over speakers"):
        measure_spread(tmp_path, "a", "b")
    with pytest.raises(UserError, match="no rows 'a' and 'c' .* there are p-2/x: 'a', 'b'"):
        measure_spread(tmp_path, "a", "c")
    with pytest.raises(UserError, match="two rows, got a twice"):
        measure_spread(tmp_path, "a", "a")
    store(tmp_path, "a", 0.08, 0.02, "q-2/y", seeds=1)
    store(tmp_path, "b", 0.08, 0.02, "q-2/y", seeds=1)
    with pytest.raises(UserError, match="ran under p-2/x, q-2/y: choose with --protocol"):
        measure_spread(tmp_path, "a", "b")
    assert measure_spread(tmp_path, "a", "b", "q-2/y")[0].speaker_sd > 0


def plan(*arguments):
    return CliRunner().invoke(app, ["plan", *map(str, arguments)])


def test_the_command_prints_a_table_and_an_answer(tmp_path):
    given = ("--difference", 5, "--speaker-sd", 9, "--seed-sd", 2)
    done = plan(*given, "--json", tmp_path / "plan.json")
    assert done.exit_code == 0
    assert "with 24 speakers: more seeds can't help below 5.4 points" in done.stdout
    assert "with 3 seeds: 48 speakers" in done.stdout
    assert "9.0 over speakers, each one's mean over many seeds" in done.stdout
    assert "2.0 over seeds, each one pooled over many speakers" in done.stdout
    content = json.loads((tmp_path / "plan.json").read_text())
    row = content["resolved"][content["speakers"].index(24)]
    resolved = resolve(Spread(0.09, 0.02, 0.0, ""), Aim(0.05), 24, 1)
    assert row[content["seeds"].index(1)] == pytest.approx(resolved)
    assert content["seeds_needed"][content["speakers"].index(24)] is None


def test_the_command_measures_results(tmp_path):
    store(tmp_path, "a", 0.08, 0.02)
    store(tmp_path, "b", 0.06, 0.04)
    done = plan("--difference", 5, "--results", tmp_path, "--first", "a", "--second", "b")
    assert done.exit_code == 0
    assert ", 6 folds, points of UAR" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --speaker-sd, or --results"),
        (("--speaker-sd", 9, "--first", "a"), "need --results"),
        (("--results", "nowhere", "--first", "a"), "needs --first and --second"),
        (("--results", "nowhere", "--speaker-sd", 9), "are measured where --results is given"),
        (("--results", "nowhere", "--first", "a", "--second", "b"), "holds no predictions"),
        (("--speaker-sd", 0), "nothing to plan"),
        (("--speaker-sd", -1), "--speaker-sd must be from 0 to 100 points, got -1"),
        (("--speaker-sd", 9, "--seed-sd", 200), "--seed-sd must be"),
        (("--speaker-sd", "nan"), "--speaker-sd must be from 0 to 100 points, got nan"),
        (("--speaker-sd", 9, "--power", 1), "--power must be between 0 and 1, got 1"),
        (("--speaker-sd", 9, "--alpha", 0.9), "--power must be above --alpha"),
    ],
)
def test_mistakes_are_named(arguments, message):
    done = plan("--difference", 5, *arguments)
    assert isinstance(done.exception, UserError)
    assert message in str(done.exception)


def test_a_difference_of_nothing_is_refused():
    done = plan("--difference", 0, "--speaker-sd", 9)
    assert "--difference must be between 0 and 100 points, got 0" in str(done.exception)
