"""Ridge regression from activations to measured responses, tested on stimuli it was not fitted to.

An encoding model: responses are predicted as a linear function of activations, one held-out fold
after the other; folds never share a passage.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

Features = Float[np.ndarray, "stimulus feature"]
Covariates = Float[np.ndarray, "stimulus covariate"]
Values = Float64[np.ndarray, "stimulus response"]
Folds = Int[np.ndarray, " stimulus"]

_ROUNDING = 1e-10
"""Predictions whose range is below this share of the largest one are constant but for rounding."""


def folds_of_groups(groups: Sequence[str], n_folds: int) -> Folds:
    """Return the fold of every stimulus, so that no group is in two folds.

    The folds are those of scikit-learn's ``GroupKFold``: groups in order of size, each to the fold
    that is smallest so far. The order of the stimuli does not matter.

    Parameters
    ----------
    groups
        The group of every stimulus.
    n_folds
        How many folds; at most as many as there are groups.
    """
    from sklearn.model_selection import GroupKFold

    labels = np.array(groups)
    folds = np.empty(len(labels), dtype=np.int64)
    splits = GroupKFold(n_folds).split(labels, groups=labels)
    for number, (_, test) in enumerate(splits):
        folds[test] = number
    return folds


def folds_of_blocks(n_stimuli: int, n_folds: int) -> Folds:
    """Return the fold of every stimulus: contiguous blocks, of equal size but for one.

    Parameters
    ----------
    n_stimuli
        How many stimuli, in their order.
    n_folds
        How many folds.
    """
    sizes = [len(part) for part in np.array_split(np.arange(n_stimuli), n_folds)]
    folds: Folds = np.repeat(np.arange(n_folds), sizes)
    return folds


@dataclass(frozen=True)
class HeldOut:
    """Measured responses and what was predicted of each without its fold.

    Parameters
    ----------
    measured
        ``(stimulus, response)``; nan where a response is missing.
    predicted
        The same from the regression; nan where it could not be fitted.
    means
        The same from the mean of the training responses.
    folds
        The fold of every stimulus.
    """

    measured: Values
    predicted: Values
    means: Values
    folds: Folds

    @property
    def is_scored(self) -> Bool[np.ndarray, "stimulus response"]:
        """Where there is a response and a prediction."""
        scored: Bool[np.ndarray, "stimulus response"] = np.isfinite(self.measured + self.predicted)
        return scored


def held_out(
    features: Features,
    responses: Values,
    folds: Folds,
    alphas: Sequence[float],
    *,
    covariates: Covariates | None = None,
) -> HeldOut:
    """Predict every response by ridge regression on the stimuli of all other folds.

    Features are standardized with mean and standard deviation of the training stimuli; the penalty
    of each response is that of ``alphas`` with the smallest leave-one-out error over the training
    stimuli (scikit-learn's ``RidgeCV``). A stimulus whose response is missing is neither fitted nor
    tested for that response. A feature that is not finite somewhere is not used.

    Parameters
    ----------
    features
        Activations of some units.
    responses
        Measured responses; nan where one is missing.
    folds
        The fold of every stimulus.
    alphas
        Penalties to choose from, above 0.
    covariates
        What is first regressed out of the responses, by least squares on the training stimuli; the
        measured responses of the result are then what remains of them.
    """
    usable = np.isfinite(features).all(axis=0)
    x = np.where(usable, features, 0.0).astype(np.float64)
    measured, predicted, means = (np.full(responses.shape, np.nan) for _ in range(3))
    patterns, owners = np.unique(np.isfinite(responses), axis=1, return_inverse=True)
    for number, present in enumerate(patterns.T):
        columns = np.flatnonzero(owners.ravel() == number)
        for fold in np.unique(folds):
            training, testing = present & (folds != fold), present & (folds == fold)
            if training.sum() < 2 or not testing.any():
                continue
            y = responses[:, columns]
            if covariates is not None:
                y = y - _explained_by(covariates, y, training)
            model = _fitted(x[training], y[training], alphas)
            place = np.ix_(testing, columns)
            measured[place] = y[testing]
            predicted[place] = model.predict(x[testing]).reshape(-1, len(columns))
            means[place] = y[training].mean(axis=0)
    return HeldOut(measured, predicted, means, folds)


def _explained_by(
    covariates: Covariates, y: Values, training: Bool[np.ndarray, " stimulus"]
) -> Values:
    """Return what covariates explain of every stimulus, by least squares on the training ones."""
    x = np.column_stack([np.ones(len(covariates)), covariates])
    coefficients, *_ = np.linalg.lstsq(x[training], y[training], rcond=None)
    fitted: Values = x @ coefficients
    return fitted


def _fitted(x: Float64[np.ndarray, "stimulus feature"], y: Values, alphas: Sequence[float]) -> Any:
    # imported where it is needed: it takes most of a second, and most commands fit no regression
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # the same numbers either way, from the smaller of the two matrices of products
    mode = "svd" if x.shape[1] <= x.shape[0] else "eigen"
    # a list: RidgeCV writes into the only one of several alphas
    ridge = RidgeCV(list(alphas), alpha_per_target=y.shape[1] > 1, gcv_mode=mode)
    return make_pipeline(StandardScaler(), ridge).fit(x, y if y.shape[1] > 1 else y[:, 0])


@dataclass(frozen=True)
class Shares:
    """What every stimulus adds to a score of every response.

    The score of a response is the sum of its amounts over that of its weights. A response that
    cannot be scored has weights of 0.

    Parameters
    ----------
    amounts, weights
        ``(stimulus, response)``.
    """

    amounts: Values
    weights: Values

    @property
    def scores(self) -> Float64[np.ndarray, " response"]:
        """The score of every response; nan where it cannot be scored."""
        with np.errstate(invalid="ignore", divide="ignore"):
            scores: Float64[np.ndarray, " response"] = self.amounts.sum(0) / self.weights.sum(0)
        return scores

    def over(self, ceilings: Float64[np.ndarray, " response"]) -> "Shares":
        """Return the shares of the scores divided by a ceiling each.

        Parameters
        ----------
        ceilings
            Above 0; nan where there is none, which leaves the response out.
        """
        known = np.isfinite(ceilings)
        amounts = np.where(known, self.amounts / np.where(known, ceilings, 1.0), 0.0)
        return Shares(amounts, np.where(known, self.weights, 0.0))

    def mean(self) -> "Shares":
        """Return the shares of the mean over the responses that can be scored."""
        total = self.weights.sum(axis=0)
        scored = total > 0
        amounts = (self.amounts[:, scored] / total[scored]).sum(axis=1, keepdims=True)
        weights = (self.weights[:, scored] / total[scored]).sum(axis=1, keepdims=True)
        return Shares(amounts, weights)


def correlation(held: HeldOut) -> Shares:
    """Return the shares of Pearson's r between prediction and response, the mean over folds.

    r of a fold is the mean product of the two in standard deviations from their means in that
    fold, which is what a stimulus adds. A prediction that is constant has r = 0; a fold in which
    fewer than two responses were measured, or all are equal, is left out.

    Parameters
    ----------
    held
        Responses and predictions.

    References
    ----------
    Schrimpf et al. (2021), doi:10.1073/pnas.2105646118: r on held-out stimuli, averaged over
    splits.
    """
    amounts, weights = (np.zeros(held.measured.shape) for _ in range(2))
    for fold in np.unique(held.folds):
        rows = held.folds == fold
        scored = held.is_scored[rows]
        n, y = scored.sum(axis=0), np.where(scored, held.measured[rows], np.nan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a response may be missing in a fold
            varies = np.nanmax(y, axis=0) > np.nanmin(y, axis=0)
            product = _standardized(y) * _standardized(
                np.where(scored, held.predicted[rows], np.nan)
            )
        used = scored & varies & (n > 1)
        share = np.broadcast_to(1 / np.maximum(n, 1), used.shape)
        amounts[rows], weights[rows] = (
            np.where(used, product * share, 0.0),
            np.where(used, share, 0.0),
        )
    return Shares(amounts, weights)


def explained(held: HeldOut) -> Shares:
    """Return the shares of R², the part of the squared error of the mean that is explained.

    R² = 1 - Σ (y - prediction)² / Σ (y - mean of the training responses)², over all folds; below 0
    where the prediction is worse than that mean.

    Parameters
    ----------
    held
        Responses and predictions.

    References
    ----------
    Campbell & Thompson (2008), doi:10.1093/rfs/hhm055.
    """
    scored = held.is_scored
    total = np.where(scored, held.measured - held.means, 0.0) ** 2
    missed = np.where(scored, held.measured - held.predicted, 0.0) ** 2
    return Shares(total - missed, total)


def _standardized(values: Values) -> Values:
    """Return columns in standard deviations from their mean, nan left out; 0 where constant."""
    span = np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
    is_constant = span <= _ROUNDING * np.nanmax(np.abs(values), axis=0)
    sd = np.where(is_constant, np.inf, np.nanstd(values, axis=0))
    z: Values = (values - np.nanmean(values, axis=0)) / sd
    return z
