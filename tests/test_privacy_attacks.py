"""What a set and its model reveal: the attacks find what the statements say, and nothing where a hypothesis is missing."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from conftest import conditioned, error
from ddref import distill, krr, privacy


def published(rng, W, Y_S, sigma):
    """The noisy construction of the paper: D = W Y_S^+ + Z (I - Y_S Y_S^+), and points X_S = D^+."""
    Z = sigma * rng.normal(size=(len(W), len(Y_S)))
    Y_plus = np.linalg.pinv(Y_S)
    return np.linalg.pinv(W @ Y_plus + Z @ (np.eye(len(Y_S)) - Y_S @ Y_plus))


def published_to_the_last_bit(rng, W, Y_S, sigma):
    """The same, with the noise and the model in columns of their own, so that neither is rounded by the other."""
    Q, R = np.linalg.qr(Y_S, mode="complete")
    m, k = Y_S.shape
    D = np.hstack([W @ np.linalg.inv(R[:k]), sigma * rng.normal(size=(len(W), m - k))])
    size = np.linalg.norm(D, axis=0)
    return Q @ (np.linalg.pinv(D / size) / size[:, None])


def attack(X_S, Y_S):
    """Rows turned so that k of them carry the labels and the others noise, each row divided by its norm."""
    Q = np.linalg.qr(Y_S, mode="complete")[0]
    size = np.linalg.norm(Q.T @ X_S, axis=1, keepdims=True)
    return np.linalg.pinv(Q.T @ X_S / size) @ (Q.T @ Y_S / size)


def test_one_line_recovers_the_model_of_every_exact_set(rng):
    W = conditioned(rng, 12, 3, 5)
    for lam_S in (0.0, 1e-3):
        Phi_S = distill.features(W, rng.normal(size=(6, 3)), lam_S, Z=rng.normal(size=(12, 6)))
        Y_S = distill.labels(Phi_S, W, lam_S)
        assert error(privacy.recover_model(Phi_S, Y_S, lam_S), W) < 1e-12
    assert error(privacy.recover_model(Phi_S, Y_S, 0.1), W) > 1e-3  # with another lam_S: another model


@pytest.mark.parametrize("sigma", [1.0, 1e3, 1e6])
def test_noise_in_the_null_space_of_the_labels_hides_nothing(rng, sigma):
    W, Y_S = rng.normal(size=(40, 3)), np.eye(3)[np.arange(9) % 3]
    for publish in (published, published_to_the_last_bit):
        X_S = publish(rng, W, Y_S, sigma)
        lost = 10 * 2.0**-52 * np.linalg.cond(X_S)
        assert lost < 2e-8
        assert error(np.linalg.pinv(X_S) @ Y_S, W) < lost
        assert error(privacy.recover_model(X_S, Y_S), W) < lost
    assert error(attack(X_S, Y_S), W) < 1e-9


def test_as_many_points_as_classes_leave_no_room_for_noise(rng):
    W, Y_S = conditioned(rng, 40, 3, 5), rng.normal(size=(3, 3))
    quiet, noisy = published(rng, W, Y_S, 0.0), published(rng, W, Y_S, 1e3)
    assert error(noisy, quiet) < 1e-9
    assert error(published(rng, W, Y_S[[0, 1, 2, 0]], 1e3), published(rng, W, Y_S[[0, 1, 2, 0]], 0.0)) > 0.1


def test_unknown_labels_are_what_the_noise_needs(rng):
    """The hypothesis dropped: labels that nobody was told, here drawn at random, leave W unknown."""
    W, Y_S = conditioned(rng, 40, 3, 5), rng.normal(size=(9, 3))
    assert error(privacy.recover_model(published(rng, W, Y_S, 1e3), rng.normal(size=(9, 3))), W) > 1


def test_two_models_are_told_apart_with_certainty_at_every_noise_level(rng):
    """No (epsilon, delta < 1) holds: the event X_S^+ Y_S = W has probability 1 with one sample, and 0 without it."""
    Phi, Y, W, without = twin_models(rng, 1.0)
    Y_S = rng.normal(size=(5, 2))
    for sigma in (1.0, 1e3):
        for truth, other in ((W, without), (without, W)):
            found = attack(published(rng, truth, Y_S, sigma), Y_S)
            assert error(found, truth) < 1e-9 < 1e-4 < error(found, other)


def true_delta(epsilon, sigma):
    """The exact delta of Gaussian noise for sensitivity 1 (Balle and Wang 2018)."""

    def below(t):
        return 0.5 * math.erfc(-t / 2**0.5)

    return below(0.5 / sigma - epsilon * sigma) - math.exp(epsilon) * below(-0.5 / sigma - epsilon * sigma)


def test_without_the_factor_two_under_the_root_delta_is_larger_than_claimed():
    log = math.log(1.25 / 1e-5)
    for epsilon in (0.5, 0.99):
        assert true_delta(epsilon, math.sqrt(2 * log) / epsilon) < 1e-5 < true_delta(epsilon, math.sqrt(log) / epsilon)


def twin_models(rng, lam, n=40, p=30):
    """A sample, and the models with and without it."""
    Phi, Y = rng.normal(size=(n, p)), rng.normal(size=(n, 2))
    return Phi, Y, krr.fit(Phi, Y, lam), krr.fit(Phi[1:], Y[1:], lam)


def test_training_on_a_sample_divides_its_residual_by_one_plus_its_leverage(rng):
    for lam in (0.1, 10.0):
        Phi, Y, W, without = twin_models(rng, lam)
        h = Phi[0] @ np.linalg.solve(Phi[1:].T @ Phi[1:] + lam * np.eye(30), Phi[0])
        assert error((1 + h) * (Y[0] - Phi[0] @ W), Y[0] - Phi[0] @ without) < 1e-12


def test_membership_is_the_log_likelihood_ratio_of_two_normal_densities(rng):
    Phi, Y, W, _ = twin_models(rng, 1.0)
    G, variance = Phi[1:].T @ Phi[1:], 1.7
    h = Phi[0] @ np.linalg.solve(G + np.eye(30), Phi[0])
    r = Y[0] - Phi[0] @ W

    def log_density(r, spread):
        return float(np.sum(-0.5 * (r / spread) ** 2 - np.log(spread)))

    want = log_density(r, variance**0.5 / (1 + h)) - log_density(r, variance**0.5)
    assert privacy.membership(Phi[:1], Y[:1], W, G, 1.0, variance=variance)[0] == pytest.approx(want, rel=1e-9)


def test_scores_are_the_same_in_every_library(rng, nx):
    Phi, Y, W, _ = twin_models(rng, 1.0)
    want = privacy.membership(Phi, Y, W, Phi.T @ Phi, 1.0, variance=1.0)
    arrays = (nx.asarray(A) for A in (Phi, Y, W, Phi.T @ Phi))
    got = privacy.membership(*arrays, 1.0, variance=1.0)
    assert nx.is_mine(got) and error(got, want) < 1e4 * nx.eps


def separation(rng, lam, n=200, p=150):
    """The area under the ROC curve of `membership` on a normal model, guesses from other samples."""
    V = rng.normal(size=(p, 1)) / p**0.5
    Phi = rng.normal(size=(3, n, p))
    Y = Phi @ V + rng.normal(size=(3, n, 1))
    W = krr.fit(Phi[0], Y[0], lam)
    G, variance = Phi[2].T @ Phi[2], float(np.mean((Y[2] - Phi[2] @ W) ** 2))
    inside, outside = (privacy.membership(Phi[i], Y[i], W, G, lam, variance=variance) for i in (0, 1))
    return np.mean(inside[:, None] > outside)


def test_little_regularisation_gives_members_away_and_much_does_not(rng):
    assert separation(rng, 0.1) > 0.75
    assert abs(separation(rng, 1e5) - 0.5) < 0.1


def test_a_membership_score_without_lam_or_variance_is_refused(rng):
    Phi, Y, W, _ = twin_models(rng, 1.0)
    for lam, variance in ((0.0, 1.0), (1.0, 0.0)):
        with pytest.raises(ValueError, match="= 0"):
            privacy.membership(Phi, Y, W, Phi.T @ Phi, lam, variance=variance)
    with pytest.raises(ValueError, match="G is not symmetric"):
        privacy.membership(Phi, Y, W, np.triu(Phi.T @ Phi), 1.0, variance=1.0)


def outlying(rng, lam=1.0, n=300, p=100):
    """Shares of members found at one false alarm in a hundred, by the score and by the residual alone, where the
    sizes of samples differ by a hundred."""
    Phi = rng.normal(size=(3, n, p)) * 10 ** rng.uniform(-1.5, 0.5, size=(3, n, 1))
    Y = Phi @ rng.normal(size=(p, 1)) / p**0.5 + rng.normal(size=(3, n, 1))
    W = krr.fit(Phi[0], Y[0], lam)
    G, variance = Phi[2].T @ Phi[2], float(np.mean((Y[2] - Phi[2] @ W) ** 2))
    scores = [privacy.membership(Phi[i], Y[i], W, G, lam, variance=variance) for i in (0, 1)]
    alone = [-np.abs(Y[i] - Phi[i] @ W)[:, 0] for i in (0, 1)]
    return [np.mean(inside > np.quantile(outside, 0.99)) for inside, outside in (scores, alone)]


def test_the_leverage_finds_members_that_the_residual_does_not(rng):
    with_leverage, alone = np.mean([outlying(rng) for _ in range(10)], axis=0)
    assert with_leverage > 2 * alone and with_leverage > 0.05


# -- training data from the model


def test_many_data_explain_a_model_of_many_samples_or_of_a_linear_map(rng):
    lam, W = 0.3, rng.normal(size=(4, 2))
    for n in (4, 9):  # part 1: any features that span W, with targets of their own
        Phi = np.tanh(rng.normal(size=(n, 3)) @ rng.normal(size=(3, 4)))
        alpha = np.linalg.pinv(Phi.T) @ W
        assert error(krr.fit(Phi, Phi @ W + lam * alpha, lam), W) < 1e-9
    T, X, Y = rng.normal(size=(5, 8)), rng.normal(size=(3, 5)), rng.normal(size=(3, 2))
    W, alpha = krr.fit(X @ T, Y, lam), krr.fit_dual(X @ T @ T.T @ X.T, Y, lam)
    M = conditioned(rng, 3, 3, 3)  # part 2: inputs mixed, coefficients unmixed
    mixed = M @ X @ T
    assert error(krr.fit(mixed, mixed @ W + lam * np.linalg.inv(M).T @ alpha, lam), W) < 1e-12


def test_few_samples_through_a_curved_map_have_no_such_freedom(rng):
    """The hypothesis dropped: mixed inputs of a tanh layer explain nothing, whatever the targets."""
    A = rng.normal(size=(5, 20))
    X, alpha, M = rng.normal(size=(3, 5)), rng.normal(size=(3, 2)), conditioned(rng, 3, 3, 3)
    W, mixed = np.tanh(X @ A).T @ alpha, np.tanh(M @ X @ A)
    best = mixed.T @ np.linalg.lstsq(mixed.T, W, rcond=None)[0]
    assert error(best, W) > 0.1

torch = pytest.importorskip("torch")
from ddref.nonsurjective import OneLayer  # noqa: E402


def tensor(rng, *shape):
    return torch.from_numpy(rng.normal(size=shape))


def trained(rng, d=5, k=3, n=8, p=40, lam=0.1, activation="tanh", bias=True):
    """A random layer, n inputs, their dual coefficients and the ridge model."""
    phi = OneLayer(tensor(rng, d, p) / d**0.5, tensor(rng, p) if bias else None, activation)
    X, Y = tensor(rng, n, d), tensor(rng, n, k)
    alpha = krr.fit_dual(phi(X) @ phi(X).T, Y, lam)
    return phi, X, Y, alpha, krr.fit(phi(X), Y, lam)


def near(rng, X, fraction=0.1):
    noise = tensor(rng, *X.shape)
    return X + fraction * noise * X.norm() / noise.norm()


def test_eight_inputs_and_their_coefficients_are_rebuilt_from_the_model(rng):
    for _ in range(5):
        phi, X, Y, alpha, W = trained(rng)
        found = privacy.reconstruct(phi, W, near(rng, X)[torch.randperm(8)])
        order = torch.cdist(X, found.X).argmin(dim=1)
        assert found.determined and found.rank == found.unknowns == 8 * (5 + 3)
        assert error(found.X[order], X) < 1e-12 and error(found.alpha[order], alpha) < 1e-12
        targets = phi(found.X) @ W + 0.1 * found.alpha
        assert error(targets[order], Y) < 1e-11


@pytest.mark.parametrize("d, k, n", [(5, 3, 8), (4, 2, 6), (3, 5, 7), (4, 1, 5)])
def test_almost_every_smooth_layer_determines_its_data_from_the_count_on(rng, d, k, n):
    enough, unknowns = n + -(-n // k) * d, n * (d + k)
    for activation in ("tanh", "cos"):
        for p in (enough, math.ceil(unknowns / k) - 1):
            phi, X = OneLayer(tensor(rng, d, p) / d**0.5, tensor(rng, p), activation), tensor(rng, n, d)
            for alpha in (tensor(rng, n, k), torch.eye(k).double()[torch.arange(n) % k]):
                rank = np.linalg.matrix_rank(derivative(phi, X, alpha), rtol=1e-10)
                assert rank == unknowns if p == enough else rank < unknowns


def derivative(phi, X, alpha):
    """Of phi(X)^T alpha by X and alpha, by automatic differentiation."""
    parts = torch.autograd.functional.jacobian(lambda X, alpha: (phi(X).T @ alpha).ravel(), (X, alpha))
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def test_one_hot_targets_of_few_classes_need_more_features(rng):
    """Eight samples of two classes: W has rank 2, so it is 2 p equations that count, however many columns W has."""
    Y = torch.eye(6).double()[torch.arange(8) % 2]
    for p, determined in ((24, False), (30, True)):  # 2 p against 8 (5 + 2) = 56; 6 p is far above 8 (5 + 6)
        phi, X = OneLayer(tensor(rng, 5, p) / 5**0.5, tensor(rng, p)), tensor(rng, 8, 5)
        found = privacy.reconstruct(phi, krr.fit(phi(X), Y, 0.1), X)
        assert found.converged and found.determined == determined


def test_more_samples_than_the_count_allows_are_not_determined(rng):
    phi, X, _, _, W = trained(rng, n=20)  # 120 equations, 160 unknowns
    found = privacy.reconstruct(phi, W, near(rng, X))
    assert found.converged and not found.determined and found.rank == 120
    assert error(found.X, X) > 1e-3  # other data that explain the model exactly


def test_a_point_too_many_gets_no_coefficient_and_is_not_determined(rng):
    phi, X, _, alpha, W = trained(rng)
    found = privacy.reconstruct(phi, W, torch.cat([near(rng, X), tensor(rng, 1, 5)]))
    assert found.converged and not found.determined and found.rank < found.unknowns
    assert float(found.alpha[8].norm()) < 1e-9 and error(found.X[:8], X) < 1e-9


@pytest.mark.parametrize("size, determined", [(1e-6, True), (1e-12, False)])
def test_a_sample_is_determined_as_far_as_its_coefficients_stand_out_of_rounding(rng, size, determined):
    phi, X, _, alpha, _ = trained(rng)
    alpha[0] *= size
    assert privacy.reconstruct(phi, phi(X).T @ alpha, X).determined == determined


def test_what_is_no_model_or_no_tensor_is_refused(rng):
    phi, X, _, _, W = trained(rng)
    with pytest.raises(TypeError, match="PyTorch tensor"):
        privacy.reconstruct(phi, W.numpy(), X)
    for bad in ((W[:, 0], X), (W, X[0])):
        with pytest.raises(ValueError, match="2 dimensions|2-d|shape"):
            privacy.reconstruct(phi, *bad)
    with pytest.raises(ValueError, match="rank 3"):
        privacy.reconstruct(phi, W, X[:2])


def test_a_point_too_few_explains_nothing(rng):
    phi, X, _, _, W = trained(rng)
    assert privacy.reconstruct(phi, W, near(rng, X)[:7]).residual > 1e-6


def test_homogeneous_maps_never_tell_the_size_of_an_input(rng):
    """ReLU without biases: (t x, alpha / t) does as well as (x, alpha), so one direction a point is free."""
    phi, X, _, alpha, W = trained(rng, activation="relu", bias=False)
    found = privacy.reconstruct(phi, W, X)
    assert found.converged and not found.determined and found.rank == found.unknowns - 8
    assert error(phi(2 * X).T @ (alpha / 2), W) < 1e-12


def test_a_failed_search_is_not_called_determined(rng):
    phi, X, _, _, W = trained(rng)
    found = privacy.reconstruct(phi, W, near(rng, X), max_steps=1)
    assert found.residual > 1e-6 and not found.converged and not found.determined


def test_a_derivative_that_is_too_large_is_refused_before_any_work():
    with pytest.raises(ValueError, match="entries"):
        privacy.reconstruct(None, torch.zeros(10_000, 10), torch.zeros(100, 784))


def test_float32_models_are_rebuilt_to_their_precision(rng):
    phi, X, _, _, W = trained(rng, p=64)
    phi = OneLayer(phi.A.float(), phi.b[0].float())
    start = near(rng, X, 0.05).float()
    assert not privacy.reconstruct(phi, W.float(), torch.cat([start, start[:1] + 1])).determined
    found = privacy.reconstruct(phi, W.float(), start)
    assert found.X.dtype == found.alpha.dtype == torch.float32 and found.determined
    assert error(found.X[torch.cdist(X.float(), found.X).argmin(dim=1)], X) < 1e-4


# -- what is stored


def test_the_stored_figures_are_those_promised():
    path = Path(__file__).parent.parent / "results" / "privacy_attacks.json"
    stored = json.loads(path.read_text(encoding="utf-8"))
    local = stored["rebuilt"]["local"]
    assert local["starts"] == 100 and local["rebuilt_to_1e_12"] >= 0.9
    assert max(row["error_turned"] for row in stored["noise"]["rows"]) <= 1e-9
    assert max(row["sigma"] for row in stored["noise"]["rows"]) == 1e6
    for row in stored["phases"]["rows"]:
        for kind in ("local", "random"):
            assert row[kind]["determined_and_wrong"] == 0
            assert (row[kind]["determined"] == 0) if row["ratio"] < 0.99 else (row["local"]["rebuilt_to_1e_9"] >= 0.9)
