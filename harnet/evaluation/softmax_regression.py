"""Multinomial logistic regression with an L2 penalty, for several weightings of the same windows at once.

Minimises, for each weighting, the sum of weight · cross-entropy plus λ/2 · squared norm of the coefficients by L-BFGS
(Liu and Nocedal 1989). It is made for thousands of windows with a thousand correlated features:

- It is preconditioned: L-BFGS sees coefficients multiplied by a Cholesky factor of an approximate Hessian, which is the
  Gram matrix of the features, weighted by p(1 - p), plus λ. The minimum is the same, and takes fewer steps to find.
- All weightings are fitted together. The folds of a cross-validation are weightings, 0 where a window is held out, so
  one product of matrices serves all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MOST_ITERATIONS = 2000
LEAST_REDUCTION = 1e-9
"""A step that reduces the loss by a smaller share ends the fit too; float32 products allow no better."""
EXCLUDED = np.float32(-1e30)
"""Logit of a class that has no weight."""
_LEAST_CURVATURE = 1e-12


def fit_path(
    x: NDArray[np.float32],
    labels: NDArray[np.int64],
    weights: NDArray[np.float32],
    strengths: Sequence[float],
    tolerances: Sequence[float],
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield W (F, M, C) and b (M, C) for each λ; the logits are x · W + b. Each fit starts from the one before it.

    Args:
        x: (N, F) features with mean 0 and deviation 1, or nearly so.
        labels: (N,) class indices; C is the largest plus one.
        weights: (N, M), M weightings of the windows, each of which should sum to 1. A class that has no weight in one
            of them gets no probability there: its b is -1e30.
        strengths: each λ, strongest first.
        tolerances: for each λ the largest component of the preconditioned gradient at which a fit ends. The loss is
            then above its minimum by about half the squared norm of that gradient.
    """
    problem = _Problem(x, labels, weights)
    found = np.zeros((x.shape[1] + 1, problem.absent.size))
    for strength, tolerance in zip(strengths, tolerances, strict=True):
        found = _minimum(problem, found, strength, tolerance)
        yield found[:-1].reshape(-1, *problem.absent.shape), found[-1].reshape(problem.absent.shape) + problem.absent


class _Problem:
    """The loss without its penalty. Parameters are (F + 1, M · C), the last row being b."""

    def __init__(self, x: NDArray[np.float32], labels: NDArray[np.int64], weights: NDArray[np.float32]) -> None:
        self.x, self.labels, self.weights = x, labels, weights
        self.windows = np.arange(len(labels))
        seen = [np.bincount(labels, column) > 0 for column in weights.T]
        self.absent = np.where(np.stack(seen), np.float32(0), EXCLUDED)
        """(M, C): 0, or hugely negative where a class has no weight."""

    def _probabilities(self, parameters: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (N, M, C), and minus the log of those of the labels (N, M)."""
        coefficients = parameters.astype(np.float32)
        logits = (self.x @ coefficients[:-1] + coefficients[-1]).reshape(-1, *self.absent.shape) + self.absent
        logits -= logits.max(axis=2, keepdims=True)
        own = logits[self.windows, :, self.labels]
        np.exp(logits, out=logits)
        total = logits.sum(axis=2, keepdims=True)
        logits /= total
        return logits, np.log(total[..., 0]) - own

    def loss(self, parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The loss summed over weightings, and its gradient (F + 1, M · C)."""
        residuals, surprise = self._probabilities(parameters)
        residuals[self.windows, :, self.labels] -= 1
        residuals *= self.weights[..., None]
        flat = residuals.reshape(len(residuals), -1)
        gradient = np.concatenate([self.x.T @ flat, flat.sum(axis=0, keepdims=True)]).astype(np.float64)
        # Excluded classes have a surprise of 1e30 in windows without weight.
        surprise[self.weights == 0] = 0
        return float((self.weights * surprise).sum(dtype=np.float64)), gradient

    def curvature(self, parameters: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
        """The Hessian of the coefficients (F, F) and of b, averaged over the classes of all weightings."""
        probabilities, _ = self._probabilities(parameters)
        each = ((probabilities * (1 - probabilities)).mean(axis=2) * self.weights).mean(axis=1, keepdims=True)
        return ((self.x * each).T @ self.x).astype(np.float64), max(float(each.sum()), _LEAST_CURVATURE)


@dataclass(frozen=True)
class _Preconditioner:
    """Scaled parameters are `factor`ᵀ · W and `unit` · b, in which the Hessian is about 1."""

    factor: NDArray[np.float64]
    """(F, F), lower triangular."""
    unit: float
    """Factor of b."""

    def scaled(self, parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([self.factor.T @ parameters[:-1], self.unit * parameters[-1:]])

    def unscaled(self, scaled: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([self._solved(scaled[:-1], 1), scaled[-1:] / self.unit])

    def gradient(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """The gradient by scaled parameters, from that by parameters."""
        return np.concatenate([self._solved(gradient[:-1], 0), gradient[-1:] / self.unit])

    def _solved(self, right: NDArray[np.float64], transposed: Literal[0, 1]) -> NDArray[np.float64]:
        from scipy.linalg import solve_triangular

        found: NDArray[np.float64] = solve_triangular(
            self.factor, right, trans=transposed, lower=True, check_finite=False
        )
        return found


def _minimum(problem: _Problem, start: NDArray[np.float64], strength: float, tolerance: float) -> NDArray[np.float64]:
    from scipy.linalg import cholesky
    from scipy.optimize import fmin_l_bfgs_b

    hessian, of_intercept = problem.curvature(start)
    hessian[np.diag_indices_from(hessian)] += strength
    precondition = _Preconditioner(cholesky(hessian, lower=True), of_intercept**0.5)

    def penalised(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        parameters = precondition.unscaled(flat.reshape(start.shape))
        loss, gradient = problem.loss(parameters)
        gradient[:-1] += strength * parameters[:-1]
        penalty = strength / 2 * float((parameters[:-1] ** 2).sum())
        return loss + penalty, precondition.gradient(gradient).ravel()

    best, _, _ = fmin_l_bfgs_b(
        penalised,
        precondition.scaled(start).ravel(),
        pgtol=tolerance,
        factr=LEAST_REDUCTION / np.finfo(np.float64).eps,
        maxiter=MOST_ITERATIONS,
    )
    return precondition.unscaled(best.reshape(start.shape))
