"""Measure what sets and models reveal: `results/privacy_attacks.json`.

    python -m tools.results_privacy [noise rebuilt phases digits members]

Random models and the digits of scikit-learn: no data folder is needed. Names restrict the run; what is measured
replaces its part of the file and leaves the rest.
"""


import numpy as np
import torch

from ddref import datasets, krr, measure, privacy
from ddref.maps.fourier import gaussian_features
from ddref.nonsurjective import OneLayer
from tools.results import save_parts

EPS = 2.0**-52
LAM = 0.1


def tensor(A):
    return torch.from_numpy(np.asarray(A))


# -- the paper's noise


def noisy_set(rng, W, Y_S, sigma):
    """X_S = D^+ with D = W Y_S^+ + Z (I - Y_S Y_S^+): model and noise in columns of their own, so that neither is
    rounded by the other."""
    m, k = Y_S.shape
    Q, R = np.linalg.qr(Y_S, mode="complete")
    D = np.hstack([W @ np.linalg.inv(R[:k]), sigma * rng.normal(size=(len(W), m - k))])
    size = np.linalg.norm(D, axis=0)
    return Q @ (np.linalg.pinv(D / size) / size[:, None])


def turned(X_S, Y_S):
    """W from rows turned so that k of them carry the labels, each divided by its norm."""
    Q = np.linalg.qr(Y_S, mode="complete")[0]
    size = np.linalg.norm(Q.T @ X_S, axis=1, keepdims=True)
    return np.linalg.pinv(Q.T @ X_S / size) @ (Q.T @ Y_S / size)


def noise(say):
    """The largest error of the recovered model over 20 sets, noise sigma times the root mean square of W."""
    found = []
    for p, k, m in ((40, 3, 9), (784, 10, 30)):
        for sigma in (1.0, 1e2, 1e4, 1e6):
            plain, best, lost = [], [], []
            for seed in range(20):
                rng = np.random.default_rng(seed)
                W, Y_S = rng.normal(size=(p, k)), np.eye(k)[np.arange(m) % k]
                X_S = noisy_set(rng, W, Y_S, sigma)
                plain.append(measure.relative_error(privacy.recover_model(X_S, Y_S), W))
                best.append(measure.relative_error(turned(X_S, Y_S), W))
                lost.append(EPS * float(np.linalg.cond(X_S)))
            found.append({"p": p, "k": k, "m": m, "sigma": sigma, "error_trained": max(plain),
                          "error_turned": max(best), "eps_condition": max(lost)})  # fmt: skip
            say(p, sigma, max(plain), max(best))
    return {"sets": 20, "rows": found}


# -- training data from the model


def tanh_model(rng, d, k, n, p):
    """A random layer, n inputs, their dual coefficients for random targets, and the ridge model."""
    phi = OneLayer(tensor(rng.normal(size=(d, p)) / d**0.5), tensor(rng.normal(size=p)))
    X, Y = tensor(rng.normal(size=(n, d))), tensor(rng.normal(size=(n, k)))
    alpha = krr.fit_dual(phi(X) @ phi(X).T, Y, LAM)
    return phi, X, alpha, krr.fit(phi(X), Y, LAM)


def start(rng, X, kind):
    """The truth with noise of 10 % of its norm, or numbers that know nothing of it."""
    noise = tensor(rng.normal(size=X.shape))
    return X + 0.1 * noise * (X.norm() / noise.norm()) if kind == "local" else noise


def missed(X, alpha, found):
    """The larger relative error of inputs and of coefficients, each rebuilt point beside the nearest true one."""
    order = torch.cdist(X, found.X).argmin(dim=1)
    pairs = ((found.X[order], X), (found.alpha[order], alpha))
    return max(measure.relative_error(*pair) for pair in pairs)


def searches(d, k, n, p, models, starts, kind):
    """Every search: its error, whether it explains W, and whether it says that no data near by do."""
    found = []
    for seed in range(models):
        rng = np.random.default_rng(seed)
        phi, X, alpha, W = tanh_model(rng, d, k, n, p)
        for _ in range(starts):
            one = privacy.reconstruct(phi, W, start(rng, X, kind))
            found.append((missed(X, alpha, one), one.converged, one.determined))
    return found


def rates(found):
    errors = np.array([error for error, *_ in found])
    good = errors[errors <= 1e-9]
    return {
        "starts": len(found),
        "rebuilt_to_1e_12": float(np.mean(errors <= 1e-12)),
        "rebuilt_to_1e_9": float(np.mean(errors <= 1e-9)),
        "median_error_where_rebuilt": float(np.median(good)) if len(good) else None,
        "explain_the_model": float(np.mean([one[1] for one in found])),
        "determined": float(np.mean([one[2] for one in found])),
        "determined_and_wrong": int(sum(one[2] and one[0] > 1e-6 for one in found)),
    }


def rebuilt(say):
    """Eight inputs of a random tanh ridge model and their coefficients: ten models, ten starts each."""
    d, k, n, p = 5, 3, 8, 40
    part = {"d": d, "k": k, "n": n, "p": p, "ratio": k * p / (n * (d + k)), "lam": LAM}
    for kind in ("local", "random"):
        part[kind] = rates(searches(d, k, n, p, 10, 10, kind))
        say(kind, part[kind])
    return part


def phases(say):
    """Rates against k p / (n (d + k)), local and random starts; n = 8."""
    found = []
    for d, k in ((5, 3), (10, 3), (4, 1)):
        for ratio in (0.7, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0):
            n = 8
            p = round(ratio * n * (d + k) / k)
            row = {"d": d, "k": k, "n": n, "p": p, "ratio": k * p / (n * (d + k))}
            row["local"] = rates(searches(d, k, n, p, 10, 4, "local"))
            row["random"] = rates(searches(d, k, n, p, 10, 2, "random"))
            found.append(row)
            say(d, k, row["ratio"], *(row[kind]["rebuilt_to_1e_9"] for kind in ("local", "random")))
    return {"rows": found}


def digits(say):
    """Eight digits of different classes from the model alone: 64 pixels, tanh features, starts that know nothing."""
    data = datasets.digits()
    X = tensor(datasets.standardize(data.X_train, data.X_test, max_value=16)[0])
    found = []
    for p in (128, 256, 512):
        errors = []
        for seed in range(10):
            rng = np.random.default_rng(seed)
            rows = [rng.choice(np.flatnonzero(data.y_train == c)) for c in range(8)]
            phi = OneLayer(tensor(rng.normal(size=(64, p)) / 8), tensor(rng.normal(size=p)))
            Y = tensor(datasets.one_hot(data.y_train[rows], 10))
            alpha = krr.fit_dual(phi(X[rows]) @ phi(X[rows]).T, Y, LAM)
            X_0 = 0.1 * tensor(rng.normal(size=(8, 64)))
            errors.append(missed(X[rows], alpha, privacy.reconstruct(phi, krr.fit(phi(X[rows]), Y, LAM), X_0)))
        rate = float(np.mean(np.array(errors) <= 1e-12))
        found.append({"p": p, "ratio": p / (64 + 8), "rebuilt_to_1e_12": rate, "starts": len(errors)})
        say(p, found[-1])
    return {"n": 8, "d": 64, "rows": found}


# -- who was trained on


def area(inside, outside):
    """Under the ROC curve: how often a member scores above an outsider."""
    return float(np.mean(inside[:, None] > outside) + 0.5 * np.mean(inside[:, None] == outside))


def found_at_1_percent(inside, outside):
    """The share of members above all but one outsider in a hundred."""
    return float(np.mean(inside > np.quantile(outside, 0.99)))


def members(say):
    """Digits, 450 members, as many outsiders, and the rest, from which the adversary guesses G and the variance."""
    data = datasets.digits()
    X = datasets.standardize(data.X_train, data.X_test, max_value=16)[0]
    Y, n, found = datasets.one_hot(data.y_train), 450, []
    for p in (150, 600):
        for lam in (1e-6, 1e-4, 1e-2, 1e-1, 1.0, 10.0, 1e2):
            areas, residuals, far, far_alone, accuracies = [], [], [], [], []
            for seed in range(5):
                order = np.random.default_rng(seed).permutation(len(X))
                Phi = gaussian_features(64, p, 8.0, seed=seed)(X)
                own, other, similar = order[:n], order[n : 2 * n], order[2 * n :]
                W = krr.fit(Phi[own], Y[own], lam)
                G = n / len(similar) * (Phi[similar].T @ Phi[similar])
                variance = float(np.mean((Y[similar] - Phi[similar] @ W) ** 2))
                scores = [privacy.membership(Phi[rows], Y[rows], W, G, lam, variance=variance) for rows in (own, other)]
                areas.append(area(*scores))
                alone = [-np.sum((Y[rows] - Phi[rows] @ W) ** 2, axis=1) for rows in (own, other)]
                residuals.append(area(*alone))
                far.append(found_at_1_percent(*scores))
                far_alone.append(found_at_1_percent(*alone))
                accuracies.append(measure.accuracy(Phi[other] @ W, data.y_train[other]))
            found.append({"p": p, "lam": lam, "area": float(np.mean(areas)), "spread": float(np.std(areas)),
                          "area_residual_alone": float(np.mean(residuals)), "found_at_1_percent": float(np.mean(far)),
                          "found_at_1_percent_residual_alone": float(np.mean(far_alone)),
                          "accuracy": float(np.mean(accuracies))})  # fmt: skip
            say(p, lam, found[-1])
    return {"members": n, "splits": 5, "map": "random Fourier features", "rows": found}


PARTS = {"noise": noise, "rebuilt": rebuilt, "phases": phases, "digits": digits, "members": members}



if __name__ == "__main__":
    save_parts("privacy_attacks", PARTS)
