"""The rational arithmetic that judges theorems, against NumPy."""

import numpy as np
import pytest
from exactly import equal, eye, fractions, integers, inverse, pinv, rank, spans, train


@pytest.mark.parametrize("shape, r", [((4, 3), 3), ((3, 5), 3), ((5, 4), 2), ((2, 2), 0)])
def test_ranks_inverses_and_models_are_numpys_and_satisfy_their_equations(rng, shape, r):
    A = integers(rng, shape[0], r) @ integers(rng, r, shape[1]) if r else fractions(np.zeros(shape, dtype=int))
    while rank(A) < r:
        A = integers(rng, shape[0], r) @ integers(rng, r, shape[1])
    P, Y = pinv(A), integers(rng, shape[0], 2)
    assert rank(A) == r == np.linalg.matrix_rank(A.astype(float))
    assert equal(A @ P @ A, A) and equal(P @ A @ P, P) and equal(A @ P, (A @ P).T) and equal(P @ A, (P @ A).T)
    G = A.T @ A + eye(shape[1])
    assert equal(G @ inverse(G), eye(shape[1])) and equal(G @ train(A, Y, 1), A.T @ Y)
    assert np.allclose(train(A, Y, 0).astype(float), np.linalg.lstsq(A.astype(float), Y.astype(float), rcond=None)[0])
    assert spans(A, A.T) and (spans(A, eye(shape[1])) == (r == shape[1]))
