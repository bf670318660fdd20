"""Long curves: what is drawn of them is what they hold, wherever one looks; smoothing and averages against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from app.widgets.metric_series import Series, Smoother, mean_and_band, standing


def series(x, y, pieces=1) -> Series:
    made = Series()
    for xs, ys in zip(np.array_split(np.asarray(x, float), pieces), np.array_split(np.asarray(y, float), pieces), strict=True):
        made.extend(xs, ys)
    return made


@pytest.mark.parametrize("n", [5, 63, 64, 1000, 100_003])
@pytest.mark.parametrize("pieces", [1, 7])
def test_every_peak_is_seen_from_everywhere(n, pieces):
    rng = np.random.default_rng(n)
    y = rng.normal(size=n)
    y[n // 3], y[-1] = 50, -70
    made = series(np.arange(n), y, pieces)
    for first, last in ((0, n - 1), (n // 4, n // 2), (n // 3, min(n // 3 + 40, n - 1))):
        xs, ys = made.seen(first, last, 100)
        wide = slice(first, last + 1)
        assert len(xs) <= 2 * 100 + 3 and (np.diff(xs) >= 0).all()
        assert ys.min() <= y[wide].min() and ys.max() >= y[wide].max()
        assert set(ys) <= set(y) and xs[0] <= first and xs[-1] >= last
    xs, ys = made.seen(0, n - 1, 100)  # no value is drawn further from its place than a group is wide
    assert 0 <= n // 3 - xs[np.argmax(ys)] < 2 * n / 100 and 0 <= n - 1 - xs[np.argmin(ys)] < 2 * n / 100


def test_growing_by_one_point_is_the_same_as_all_at_once():
    y = np.sin(np.arange(700.0))
    one, all_ = series(np.arange(700), y, 700), series(np.arange(700), y)
    for mine, theirs in zip(one.seen(0, 700, 20), all_.seen(0, 700, 20), strict=True):
        assert np.array_equal(mine, theirs)


def test_what_is_not_a_number_hides_no_peak():
    y = np.zeros(10_000)
    y[::3], y[5000] = np.nan, 9
    seen = series(np.arange(10_000), y).seen(0, 1e4, 50)[1]
    assert np.nanmax(seen) == 9 and np.isfinite(seen[:-1]).all()


def test_a_series_knows_its_own_continuation():
    made = series([0, 1, 2], [5, np.nan, 6])
    x, y = np.arange(4.0), np.array([5, np.nan, 6, 7])
    assert made.follows(x, y) and not made.follows(x[:2], y[:2]) and not made.follows(x, y + 1) and Series().follows(x, y)


@pytest.mark.parametrize("pieces", [1, 5, 300])
def test_smoothing_is_the_debiased_average_of_its_definition(pieces):
    rng = np.random.default_rng(0)
    y = rng.normal(size=300) + 10
    smoother = Smoother(19)
    assert smoother.beta == pytest.approx(0.9)
    got = np.concatenate([smoother.extend(part) for part in np.array_split(y, pieces)])
    s, want = 0.0, []
    for t, value in enumerate(y, 1):
        s = 0.9 * s + 0.1 * value
        want.append(s / (1 - 0.9**t))
    assert got == pytest.approx(np.array(want)) and got[0] == pytest.approx(y[0])


def test_smoothing_leaves_out_what_is_not_finite_and_a_span_of_one_is_the_curve():
    y = np.array([1.0, np.nan, 3.0, np.inf, 5.0])
    got = Smoother(3).extend(y)
    assert np.isnan(got[[1, 3]]).all() and got[[0, 2, 4]] == pytest.approx(Smoother(3).extend(np.array([1.0, 3.0, 5.0])))
    assert Smoother(1).extend(y)[[0, 2, 4]].tolist() == [1, 3, 5]


def test_mean_and_band_are_those_of_the_seeds_where_all_have_points():
    one, other = series([0, 100], [0, 100]), series([20, 60, 120], [40, 40, 40])
    x, mean, band = mean_and_band([one, other], -10, 500)
    assert (x[0], x[-1]) == (20, 100) and mean[0] == pytest.approx(30) and mean[-1] == pytest.approx(70)
    assert band[0] == pytest.approx(np.std([20, 40], ddof=1))
    assert not len(mean_and_band([one, series([200, 300], [1, 1])], 0, 500)[0])


def test_a_run_is_early_on_track_or_late_against_a_reference():
    x = np.array([0, 50_000, 100_000, 150_000.0])
    assert "early" in standing(500, 20, 100_000, x, np.array([10, 485, 500, 500.0])) and "50,000" in standing(500, 20, 1e5, x, x / 100)
    assert "on track" in standing(500, 0, 100_000, x, np.array([10, 300, 500, 500.0]))
    assert standing(500, 0, 100_000, x, np.zeros(4)).startswith("late") and standing(500, 0, 1e6, x, np.zeros(4)) == "not met yet"
