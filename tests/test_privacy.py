"""The private release: its noise, its accounts, and an attack on its claim that would find three bugs."""

import math

import mpmath
import numpy as np
import oracle
import pytest
import torch
from dp_accounting.pld import common
from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss
from mpmath import mp

from ddref import distill, privacy, statistics
from ddref.privacy.mechanism import gaussian_noise, noisy, nonnegative, sensitivity

DELTA = 1e-5
BUDGETS = (0.1, 0.3, 1.0, 3.0, 10.0)


def sums(Phi, Y, **bounds):
    return privacy.ClippedStatistics(Phi.shape[1], Y.shape[1], **bounds).update(Phi, Y)


def digits(rng, n=400, p=6, k=3):
    Phi = rng.standard_normal((n, p)) @ rng.standard_normal((p, p))
    return privacy.clip_rows(Phi, 1.0), np.eye(k)[rng.integers(0, k, n)]


# -- accounts


@pytest.mark.parametrize("epsilon", BUDGETS)
@pytest.mark.parametrize("delta", [1e-9, 1e-5, 1e-2])
def test_the_noise_scale_is_that_of_a_library_of_accounts(epsilon, delta):
    wanted = GaussianPrivacyLoss.from_privacy_guarantee(common.DifferentialPrivacyParameters(epsilon, delta), sensitivity=1)
    scale = privacy.noise_scale(epsilon, delta)
    assert abs(scale / wanted.standard_deviation - 1) < 1e-6
    assert privacy.noise_scale(epsilon, delta, 2.5) == pytest.approx(2.5 * scale, rel=1e-14)


@pytest.mark.parametrize(("epsilon", "mu"), [(0.0, 0.3), (0.1, 0.01), (1.0, 0.268), (10.0, 2.0), (600.0, 30.0)])
def test_delta_is_the_closed_form_in_sixty_digits(epsilon, mu):
    with mp.workdps(60):
        near, far = mp.mpf(mu) / 2 - mp.mpf(epsilon) / mp.mpf(mu), mp.mpf(mu) / 2 + mp.mpf(epsilon) / mp.mpf(mu)
        wanted = mp.ncdf(near) - mp.exp(epsilon) * mp.ncdf(-far)
        assert abs(privacy.gaussian_delta(epsilon, mu) / wanted - 1) < 1e-9


@pytest.mark.parametrize("epsilon", BUDGETS)
def test_epsilon_and_noise_scale_undo_each_other(epsilon):
    mu = 1 / privacy.noise_scale(epsilon, DELTA)
    assert privacy.gaussian_epsilon(mu, DELTA) == pytest.approx(epsilon, rel=1e-9)
    assert privacy.gaussian_delta(epsilon, mu) <= DELTA * (1 + 1e-12)  # never above what was asked for
    assert privacy.gaussian_delta(epsilon, 1.001 * mu) > DELTA


def test_very_little_and_very_much_noise_is_found_too():
    for epsilon, delta in ((699.0, 0.5), (1e-4, 1e-14), (0.3, 0.2)):
        mu = 1 / privacy.noise_scale(epsilon, delta)
        assert privacy.gaussian_delta(epsilon, mu) <= delta * (1 + 1e-9)
        assert privacy.gaussian_delta(epsilon, 1.01 * mu) > delta
    assert privacy.gaussian_epsilon(0.5, 0.15) > 0  # a large delta is a delta
    assert privacy.gaussian_epsilon(0.5, 0.21) == 0


def exact_delta(epsilon, mu):
    with mpmath.workdps(200):
        epsilon, mu = mpmath.mpf(epsilon), mpmath.mpf(mu)
        near, far = (mpmath.ncdf(sign * mu / 2 - epsilon / mu) for sign in (1, -1))
        return near - mpmath.exp(epsilon) * far


@pytest.mark.parametrize("delta", [1e-100, 1e-30, 1e-16, DELTA, 0.3])
def test_the_extremes_that_are_taken_hold_in_two_hundred_digits(delta):
    for epsilon in (1e-4, 1.0, 699.0):
        mu = 1 / privacy.noise_scale(epsilon, delta)
        assert exact_delta(epsilon, mu) <= delta * (1 + 1e-3)
    for mu in (1e-17, 1e-9, 1e-6, 1e-3, 1.0):
        assert exact_delta(privacy.gaussian_epsilon(mu, delta), mu) <= delta * (1 + 1e-3)


def test_several_releases_add_as_the_library_says():
    mu = 1 / privacy.noise_scale(1.0, DELTA)
    twice = GaussianPrivacyLoss(standard_deviation=1 / math.hypot(mu, mu), sensitivity=1)
    epsilon = privacy.gaussian_epsilon(math.hypot(mu, mu), DELTA)
    assert twice.get_delta_for_epsilon(epsilon) == pytest.approx(DELTA, rel=1e-6)
    assert epsilon == pytest.approx(1.4652, abs=1e-4)
    assert privacy.gaussian_epsilon(1e-9, DELTA) == 0.0  # delta alone is enough


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: privacy.noise_scale(0.0, DELTA), "epsilon = 0.0 must be above 0"),
        (lambda: privacy.noise_scale(float("nan"), DELTA), "epsilon = nan"),
        (lambda: privacy.noise_scale(1.0, 1.0), "delta = 1.0 must be above 0 and below 1"),
        (lambda: privacy.noise_scale(1.0, DELTA, -1.0), "sensitivity = -1.0"),
        (lambda: privacy.noise_scale(1e4, DELTA), "below 700"),
        (lambda: privacy.noise_scale(1e-12, 1e-16), "epsilon = 1e-12 must be at least 0.0001"),
        (lambda: privacy.noise_scale(1.0, 1e-300), "delta = 1e-300 must be at least 1e-100"),
        (lambda: privacy.gaussian_epsilon(1.0, 1e-300), "delta = 1e-300 must be at least 1e-100"),
        (lambda: privacy.gaussian_epsilon(60.0, DELTA), "protects nothing"),
        (lambda: privacy.gaussian_epsilon(1.0, 1.5), "delta = 1.5 must be above 0 and below 1"),
        (lambda: privacy.gaussian_epsilon(1.0, 1.0), "delta = 1.0 must be above 0 and below 1"),
        (lambda: privacy.gaussian_epsilon(0.0, DELTA), "mu = 0.0 must be above 0"),
    ],
)
def test_budgets_that_mean_nothing_are_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


# -- bounds


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_clipped_rows_are_never_longer_than_the_bound_and_short_rows_stay(dtype):
    rng = np.random.default_rng(0)
    A = (rng.standard_normal((50, 7)) * 10.0 ** rng.integers(-30, 30, (50, 1))).astype(dtype)
    A[0] = 0.0
    clipped = privacy.clip_rows(A, 0.5)
    assert clipped.dtype == dtype
    lengths = np.linalg.norm(clipped.astype(float), axis=1)
    assert lengths.max() <= 0.5
    short = np.linalg.norm(A.astype(float), axis=1) < 0.49
    assert short.any() and not short.all()
    assert np.array_equal(clipped[short], A[short])
    long = clipped[~short].astype(float)
    sizes = A[~short].astype(float)
    cosines = np.sum(long * sizes, axis=1) / np.linalg.norm(long, axis=1) / np.linalg.norm(sizes, axis=1)
    assert np.allclose(cosines, 1, atol=1e-6)
    assert np.allclose(np.linalg.norm(long, axis=1), 0.5, rtol=1e-5)


def test_clipping_keeps_library_and_device_of_torch():
    A = torch.full((2, 3), 5.0)
    clipped = privacy.clip_rows(A)
    assert isinstance(clipped, torch.Tensor) and clipped.dtype == A.dtype


def test_one_sample_moves_the_sums_by_at_most_the_sensitivity():
    rng = np.random.default_rng(0)
    for clip, bound in ((1.0, 1.0), (0.3, 2.0), (5.0, 0.1)):
        moved = []
        for f, y in [(np.eye(6)[0], np.eye(3)[0]), (rng.standard_normal(6), rng.standard_normal(3)), (np.ones(6) / 9, np.ones(3))]:
            Phi, Y = digits(rng)
            without = sums(Phi, Y, clip=clip, bound=bound)
            having = privacy.ClippedStatistics(6, 3, clip=clip, bound=bound) + without
            having.update(1e3 * f[None], 1e3 * y[None])
            moved.append(math.hypot(np.linalg.norm(having.G - without.G), np.linalg.norm(having.B - without.B)))
        assert max(moved) <= sensitivity(clip, bound) * (1 + 1e-12)
        assert max(moved) == pytest.approx(sensitivity(clip, bound), rel=1e-9)  # and it is attained


def test_statistics_with_other_bounds_or_none_do_not_mix():
    Phi, Y = digits(np.random.default_rng(0))
    clipped = sums(Phi, Y)
    with pytest.raises(ValueError, match="clip = 1.0, the others clip = None"):
        clipped += statistics.Statistics(6, 3).update(Phi, Y)
    with pytest.raises(ValueError, match="clip = 1.0, the others clip = 2.0"):
        clipped += sums(Phi, Y, clip=2.0)
    with pytest.raises(ValueError, match="clip = 0"):
        privacy.ClippedStatistics(2, 2, clip=0)


def test_bounds_stay_those_the_rows_were_clipped_to():
    sums = privacy.ClippedStatistics(1, 1, clip=100.0).update(np.full((3, 1), 50.0), np.ones((3, 1)))
    for name in ("clip", "bound"):
        with pytest.raises(AttributeError):
            setattr(sums, name, 0.1)  # less noise for rows that are as long as before


def test_products_whose_rounding_no_noise_covers_are_refused():
    with pytest.raises(ValueError, match="rounding of float32"):
        privacy.ClippedStatistics(1, 1, products="float32")


def test_samples_come_and_go_and_add_up_as_clipped(tmp_path):
    Phi, Y = digits(np.random.default_rng(0))
    Phi *= 7
    whole = sums(Phi, Y)
    parts = sums(Phi[:100], Y[:100]) + sums(Phi[100:], Y[100:])
    assert np.allclose(whole.G, parts.G, rtol=1e-13) and whole.n == parts.n
    assert np.allclose(whole.remove(Phi[:100], Y[:100]).G, sums(Phi[100:], Y[100:]).G, atol=1e-10)
    whole.save(tmp_path / "sums.npz")
    with pytest.raises(ValueError, match="does not tell how its rows were clipped"):
        privacy.ClippedStatistics.load(tmp_path / "sums.npz")


# -- the release


def test_the_noise_of_a_release_has_the_size_that_was_asked_for():
    """Of G half the variance off the diagonal, and symmetric; from 4,000 releases."""
    rng = np.random.default_rng(0)
    G, B = np.diag([1e9, 1e9, 1e9]), np.zeros((3, 2))  # far from indefinite
    N, M = noisy(np.broadcast_to(G, (4000, 3, 3)), np.broadcast_to(B, (4000, 3, 2)), 2.0, gaussian_noise(rng))
    N = N - G
    assert np.array_equal(N, np.swapaxes(N, 1, 2))
    variances = np.var(N, axis=0)
    wanted = 4.0 * (0.5 + 0.5 * np.eye(3))
    assert np.all(np.abs(variances / wanted - 1) < 5 * math.sqrt(2 / 4000))
    assert np.all(np.abs(np.var(M, axis=0) / 4.0 - 1) < 5 * math.sqrt(2 / 4000))


def test_a_release_is_semidefinite_says_what_it_cost_and_its_model_is_that_of_its_sums():
    Phi, Y = digits(np.random.default_rng(0), n=30)
    made = privacy.release(sums(Phi, Y), 1.0, DELTA, np.random.default_rng(1))
    assert np.linalg.eigvalsh(made.G)[0] > -1e-12 * np.linalg.norm(made.G)
    assert made.mu == pytest.approx(1 / privacy.noise_scale(1.0, DELTA), rel=1e-14)
    assert made.rho == pytest.approx(made.mu**2 / 2, rel=1e-14)
    assert made.sigma == privacy.noise_scale(1.0, DELTA, math.sqrt(2))
    assert made.lam == pytest.approx(made.sigma * math.sqrt(6) / 2, rel=1e-14)
    W = np.linalg.solve(made.G + made.lam * np.eye(6), made.B)
    assert np.linalg.norm(made.solve() - W) < 1e-12 * np.linalg.norm(W)
    assert not hasattr(made, "n")  # the number of samples is not released


def test_any_distilled_set_of_a_release_trains_its_model_exactly():
    Phi, Y = digits(np.random.default_rng(0))
    W = privacy.release(sums(Phi, Y), 1.0, DELTA, np.random.default_rng(1)).solve()
    Phi_S = distill.features(W, np.eye(3))
    assert oracle.worst(Phi_S, np.eye(3), 0.0, W) < 1e-12


def test_a_release_keeps_the_library_of_the_statistics():
    Phi, Y = (torch.as_tensor(A) for A in digits(np.random.default_rng(0)))
    of_torch = privacy.release(sums(Phi, Y), 1.0, DELTA, np.random.default_rng(1))
    of_numpy = privacy.release(sums(Phi.numpy(), Y.numpy()), 1.0, DELTA, np.random.default_rng(1))
    assert isinstance(of_torch.G, torch.Tensor) and isinstance(of_torch.solve(), torch.Tensor)
    assert np.allclose(of_torch.G.numpy(), of_numpy.G, rtol=1e-12, atol=1e-12)


def test_the_nearest_semidefinite_matrix_is_nearest():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((5, 5))
    A = A + A.T
    found = nonnegative(A)
    w = np.linalg.eigvalsh(A)
    assert np.linalg.norm(found - A) == pytest.approx(np.linalg.norm(w[w < 0]), rel=1e-12)
    assert np.linalg.eigvalsh(found)[0] > -1e-13


def test_noise_of_another_sampler_is_taken_in_the_place_of_numpys():
    Phi, Y = digits(np.random.default_rng(0))
    seen = []

    def add_noise(values, sigma):
        seen.append((values.shape, sigma))
        return values

    made = privacy.release(sums(Phi, Y), 1.0, DELTA, None, add_noise=add_noise)
    assert seen == [((36 + 18,), made.sigma)]
    assert np.allclose(made.B, sums(Phi, Y).B, rtol=1e-15)


def test_sums_that_nobody_clipped_and_seeds_are_refused():
    Phi, Y = digits(np.random.default_rng(0))
    plain = statistics.Statistics(6, 3).update(Phi, Y)
    with pytest.raises(TypeError, match="needs ClippedStatistics"):
        privacy.release(plain, 1.0, DELTA, np.random.default_rng(1))
    with pytest.raises(TypeError, match="rng = 3 must be a numpy.random.Generator"):
        privacy.release(sums(Phi, Y), 1.0, DELTA, 3)


# -- the claim under attack


def worlds(f, y, sigma, *, clipped=True, mechanism=noisy):
    """The two worlds of the game: twenty samples, and these with one more, (f, y)."""
    f = privacy.clip_rows(f[None]) if clipped else f[None]
    few = sums(*digits(np.random.default_rng(7), n=20, p=4, k=2))
    pairs = [(few.G, few.B), (few.G + f.T @ f, few.B + f.T @ y[None])]
    return [privacy.outcomes(*pair, sigma, mechanism) for pair in pairs]


def lower_left_bare(G, B, sigma, add_noise):
    """A planted bug: noise on the upper triangle only."""
    made, M = noisy(G, B, sigma, add_noise)
    return np.triu(made) + np.tril(G, -1), M


AXIS, DENSE, LONG = np.eye(4)[0], np.full(4, 0.5), np.full(4, 2.0)
CLASS = np.eye(2)[0]
SIGMA = privacy.noise_scale(1.0, DELTA, math.sqrt(2))
SEEDS = [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20))]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("f", [AXIS, DENSE, LONG], ids=["axis", "dense", "long"])
def test_no_attack_shows_more_than_the_claim(f, seed):
    found = privacy.audit(*worlds(f, CLASS, SIGMA), DELTA, np.random.default_rng(seed))
    assert 0.6 < found.epsilon < 1.0  # below the claim, and with power to see more


@pytest.mark.parametrize("seed", SEEDS)
def test_noise_too_small_by_the_root_of_two_is_caught(seed):
    found = privacy.audit(*worlds(DENSE, CLASS, SIGMA / math.sqrt(2)), DELTA, np.random.default_rng(seed))
    assert found.epsilon > 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_row_that_nobody_clipped_is_caught(seed):
    found = privacy.audit(*worlds(LONG, CLASS, SIGMA, clipped=False), DELTA, np.random.default_rng(seed))
    assert found.epsilon > 1.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_triangle_without_noise_is_caught(seed):
    found = privacy.audit(*worlds(DENSE, CLASS, SIGMA, mechanism=lower_left_bare), DELTA, np.random.default_rng(seed))
    assert found.epsilon > 1.0


def test_the_release_itself_is_attacked():
    """All of `release`, repair of G included, run by run; a larger budget needs fewer runs."""
    rng = np.random.default_rng(7)
    Phi, Y = digits(rng, n=20, p=4, k=2)
    without = sums(Phi, Y)
    having = sums(np.vstack([Phi, LONG]), np.vstack([Y, CLASS]))

    def world(given):
        def run(runs, rng):
            made = [privacy.release(given, 8.0, DELTA, rng) for _ in range(runs)]
            return np.stack([np.concatenate([one.G.ravel(), one.B.ravel()]) for one in made])

        return run

    found = privacy.audit(world(without), world(having), DELTA, np.random.default_rng(0), runs=600)
    assert 3.0 < found.epsilon < 8.0


def test_the_bound_of_an_audit_is_near_the_truth_and_below_it():
    for mu in (0.5, 1.0, 3.0):
        without, having = (lambda runs, rng, at=at: rng.standard_normal((runs, 3)) + at for at in (0.0, mu / math.sqrt(3)))
        found = privacy.audit(without, having, DELTA, np.random.default_rng(0))
        assert 0.9 * mu < found.mu < mu
        assert found.false_positives < 0.5 < found.true_positives


def test_worlds_that_do_not_differ_show_nothing():
    same = lambda runs, rng: rng.standard_normal((runs, 2))  # noqa: E731
    assert privacy.audit(same, same, DELTA, np.random.default_rng(0), runs=2000).epsilon == 0.0
