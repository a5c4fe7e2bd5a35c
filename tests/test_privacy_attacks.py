"""What a set and its model reveal: the attacks find what the statements say, and nothing where a hypothesis is missing."""

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
    assert separation(rng, 0.1) > 0.85
    assert abs(separation(rng, 1e5) - 0.5) < 0.1


def test_a_membership_score_without_lam_or_variance_is_refused(rng):
    Phi, Y, W, _ = twin_models(rng, 1.0)
    for lam, variance in ((0.0, 1.0), (1.0, 0.0)):
        with pytest.raises(ValueError, match="= 0"):
            privacy.membership(Phi, Y, W, Phi.T @ Phi, lam, variance=variance)
    with pytest.raises(ValueError, match="G is not symmetric"):
        privacy.membership(Phi, Y, W, np.triu(Phi.T @ Phi), 1.0, variance=1.0)


# -- training data from the model

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


def test_more_samples_than_the_count_allows_are_not_determined(rng):
    phi, X, _, _, W = trained(rng, n=20)  # 120 equations, 160 unknowns
    found = privacy.reconstruct(phi, W, near(rng, X))
    assert found.converged and not found.determined and found.rank == 120
    assert error(found.X, X) > 1e-3  # other data that explain the model exactly


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
