"""The linear probe, against its documented loss minimised in other ways."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime, brentq, minimize
from scipy.special import softmax

from deeploc.errors import TaskError
from deeploc.tasks import _probe
from deeploc.tasks._probe import NO_CLASS, Probe, fit


def naive_loss(flat: np.ndarray, x: np.ndarray, labels: np.ndarray, n_classes: int) -> float:
    """Return the documented loss, item by item: nothing is shared with the solver."""
    weights, intercept = flat[:-n_classes].reshape(x.shape[1], n_classes), flat[-n_classes:]
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    total = 0.5 * float((weights**2).sum())
    for item, label in zip(z, labels, strict=True):
        logits = item @ weights + intercept
        share = len(x) / (n_classes * int((labels == label).sum()))
        total += share * float(np.log(np.exp(logits).sum()) - logits[label])
    return total


def problem(seed: int, n_classes: int = 3, n_features: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return overlapping classes of unequal size over features of unequal scale."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(n_classes), 4 + 3 * np.arange(n_classes))
    centres = rng.normal(size=(n_classes, n_features))
    x = (centres[labels] + rng.normal(size=(len(labels), n_features))) * [1.0, 50.0][:n_features]
    return x + 7, labels


def weights_of(probe: Probe) -> tuple[np.ndarray, np.ndarray]:
    """Return weights ``(feature, class)`` and intercepts; scikit-learn has one vector for two."""
    fitted = probe.model[-1]
    if len(fitted.classes_) == 2:
        halves = np.array([-0.5, 0.5])
        return fitted.coef_.T * halves, fitted.intercept_ * halves
    return fitted.coef_.T, fitted.intercept_


def flat_of(probe: Probe) -> np.ndarray:
    weights, intercept = weights_of(probe)
    return np.concatenate([weights.ravel(), intercept])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_gradient_of_the_documented_loss_is_zero(seed: int) -> None:
    """The loss is convex, so this is the optimum; the slope is taken numerically."""
    x, labels = problem(seed)
    slope = approx_fprime(flat_of(fit(x, labels)), naive_loss, 1e-6, x, labels, 3)

    np.testing.assert_allclose(slope, 0, atol=2e-4)


def test_weights_are_those_of_another_solver() -> None:
    """Nelder-Mead's polytope, which knows no gradient, ends at the same decision."""
    x, labels = problem(3, n_classes=2)
    start = np.zeros(6)
    options = {"maxiter": 40_000, "maxfev": 40_000, "xatol": 1e-9, "fatol": 1e-13}
    minimum = minimize(naive_loss, start, (x, labels, 2), method="Nelder-Mead", options=options)
    probe = fit(x, labels)

    weights, intercept = weights_of(probe)

    np.testing.assert_allclose(minimum.x[:4], weights.ravel(), atol=1e-4)
    # a constant added to all intercepts changes nothing: only their differences are decided
    np.testing.assert_allclose(np.diff(minimum.x[4:]), np.diff(intercept), atol=1e-4)


def test_symmetric_case_by_hand() -> None:
    """Items at -1 and +1: the weight v solves v = n * sigmoid(-2 v), there is no intercept."""
    x = np.array([[-1.0]] * 5 + [[1.0]] * 5)
    probe = fit(x, np.repeat([0, 1], 5))
    expected = brentq(lambda v: v - 10 / (1 + np.exp(2 * v)), 0, 10)

    weights, intercept = weights_of(probe)

    np.testing.assert_allclose(weights, [[-expected, expected]], rtol=1e-6)
    np.testing.assert_allclose(intercept, 0, atol=1e-6)
    assert probe.predict(np.array([[-0.2], [0.2]])).tolist() == [0, 1]


def test_predictions_are_the_likeliest_classes() -> None:
    """Items are standardised by the mean and sd of the training items, not by their own."""
    x, labels = problem(2)
    probe = fit(x, labels)
    new = x[::3] + 0.5
    weights, intercept = weights_of(probe)
    logits = (new - x.mean(axis=0)) / x.std(axis=0) @ weights + intercept

    assert probe.predict(new).tolist() == logits.argmax(axis=1).tolist()
    assert len(set(probe.predict(new).tolist())) == 3


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_units_and_order_do_not_matter(seed: int) -> None:
    """Features in other units, items and classes in another order: the same probe."""
    x, labels = problem(seed)
    order = np.random.default_rng(seed).permutation(len(x))
    rename = np.array([2, 0, 1])
    weights, intercept = weights_of(fit(x, labels))
    other = weights_of(fit((x * [100.0, 0.25] - 3)[order], rename[labels][order]))

    np.testing.assert_allclose(other[0][:, rename], weights, atol=1e-5)
    np.testing.assert_allclose(other[1][rename], intercept, atol=1e-5)


def test_large_class_does_not_win_by_its_size() -> None:
    """Features that say nothing leave all classes equally probable, 2 items against 30."""
    probe = fit(np.full((32, 1), 5.0), np.repeat([0, 1], [2, 30]))

    np.testing.assert_allclose(weights_of(probe)[1], 0, atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 3.3, -1e6])
def test_constant_feature_gets_no_weight(constant: float) -> None:
    """Nor does float32 rounding around a constant, whatever value the feature takes later."""
    x, labels = problem(1)
    rounding = np.float32(constant) * (1 + 1e-7 * np.sin(np.arange(len(x))))
    wide = np.column_stack([x, rounding]).astype(np.float32)
    probe = fit(wide, labels)
    changed = wide + np.array([0, 0, 1e6], dtype=np.float32)

    assert (weights_of(probe)[0][2] == 0).all()
    assert (probe.predict(changed) == probe.predict(wide)).all()


def test_more_features_than_items() -> None:
    """A network has more features than there are stimuli; the optimum is still one."""
    rng = np.random.default_rng(0)
    labels = np.arange(30) % 3
    x = rng.normal(size=(3, 200))[labels] + rng.normal(size=(30, 200))

    assert (fit(x, labels).predict(x) == labels).all()


def test_features_that_are_not_finite() -> None:
    """They belong to no class; the probe is not trained on them."""
    x, labels = problem(0)
    probe = fit(x, labels)
    x[1, 0], x[2, 1] = np.nan, -np.inf
    predicted = probe.predict(x)

    assert (predicted == NO_CLASS).nonzero()[0].tolist() == [1, 2]
    with pytest.raises(TaskError, match="features of 2 of 21 stimuli are not finite"):
        fit(x, labels)


@pytest.mark.parametrize("n_classes", [2, 4])
def test_probabilities_of_a_general_optimiser(n_classes: int) -> None:
    """The documented loss minimised by SciPy's L-BFGS: the same probabilities for new items."""
    x, labels = problem(5, n_classes)
    start = np.zeros((x.shape[1] + 1) * n_classes)
    minimum = minimize(naive_loss, start, (x, labels, n_classes), tol=1e-12)
    weights, intercept = minimum.x[:-n_classes].reshape(-1, n_classes), minimum.x[-n_classes:]
    new = x + np.random.default_rng(1).normal(size=x.shape)
    expected = softmax((new - x.mean(axis=0)) / x.std(axis=0) @ weights + intercept, axis=1)

    np.testing.assert_allclose(fit(x, labels).model.predict_proba(new), expected, atol=1e-5)


def test_fit_is_deterministic() -> None:
    """The same items give the same weights to the last bit."""
    x, labels = problem(4)
    one, other = flat_of(fit(x, labels)), flat_of(fit(x, labels))

    assert one.tobytes() == other.tobytes()


def test_probe_that_does_not_converge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning of scikit-learn becomes an error in one line."""
    monkeypatch.setattr(_probe, "_STEPS", 1)
    with pytest.raises(TaskError, match=r"^a probe was not trained to its optimum: lbfgs failed"):
        fit(*problem(0))


def test_scikit_learn_is_imported_when_a_probe_is_fitted() -> None:
    """Neither the command line nor making a probe task imports it: it takes most of a second."""
    code = (
        "import sys; import deeploc.cli, deeploc.tasks.category_probe, deeploc.tasks.text_probe; "
        "print('sklearn' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert result.stdout.strip() == "False", result.stderr
