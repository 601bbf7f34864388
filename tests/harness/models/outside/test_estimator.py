"""A fitted scikit-learn estimator is a model without gradients, known by what it has learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, Perceptron
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neighbors import NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import harness
from attacks.errors import BadInput
from harness.models.checkpoint import weight_hash
from harness.models.outside.estimator import Estimator
from harness.tasks import Task


def some_task(classes: int = 2) -> Task:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % classes
    centres = 2 * torch.randn(classes, 7, generator=draws)
    both = centres[labels] + 0.5 * torch.randn(60, 7, generator=draws)
    splits = ["train"] * 36 + ["test"] * 24
    return Task.from_arrays({"a": both[:, :4], "b": both[:, 4:]}, labels, splits=splits, name="some")


def table(task: Task) -> tuple[Any, Any]:
    batch = task.splits["train"].take(range(36))
    return torch.cat([batch.inputs["a"], batch.inputs["b"]], 1).numpy(), batch.targets.numpy()


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("kind", [LogisticRegression, RandomForestClassifier, Perceptron, NearestCentroid])
def test_it_answers_as_the_estimator_does(kind: Any, classes: int) -> None:
    task = some_task(classes)
    options = {"n_estimators": 5, "random_state": 0} if kind is RandomForestClassifier else {}
    fitted = make_pipeline(StandardScaler(), kind(**options)).fit(*table(task))
    batch = task.splits["test"].take(range(24))
    answer = Estimator(fitted, task)(batch.inputs)
    assert answer.shape == (24, classes)
    both = torch.cat([batch.inputs["a"], batch.inputs["b"]], 1).double().numpy()
    assert answer.argmax(1).tolist() == fitted.predict(both).tolist()


def test_its_curve_is_that_of_its_formula() -> None:
    """A logistic regression is linear, so its critical strengths are known."""
    task = some_task()
    fitted = LogisticRegression().fit(*table(task))
    options: dict[str, Any] = {"scenarios": ["a@l2:1"], "schedule": "none", "search": "blackbox?queries=300"}
    run = harness.evaluate(task, {"logistic": harness.wrap(fitted)}, trust=False, limit=100, **options)
    ledger = run.ledger[(run.ledger.scenario == "a@l2:1") & (run.ledger.strength > 0)].set_index("sample")
    batch = task.splits["test"].take(range(24))
    both = torch.cat([batch.inputs["a"], batch.inputs["b"]], 1).double().numpy()
    exact = np.abs(fitted.decision_function(both)) / np.linalg.norm(fitted.coef_[0, :4])
    known = dict(zip(batch.samples, exact, strict=True))
    ratio = np.array([row.strength / known[sample] for sample, row in ledger.iterrows()])
    assert len(ratio) > 12 and (ratio > 1 - 1e-4).all() and (ratio < 1.1).all()


def test_another_fit_is_another_model() -> None:
    task = some_task()
    fits = [LogisticRegression(C=c).fit(*table(task)) for c in (1.0, 1.0, 0.5)]
    hashes = [weight_hash(Estimator(each, task)) for each in fits]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_regression_answers_with_its_prediction() -> None:
    task = some_task()
    values, labels = table(task)
    fitted = LinearRegression().fit(values, labels.astype(float))
    assert Estimator(fitted, task)(task.splits["test"].take(range(3)).inputs).shape == (3,)


def test_what_does_not_fit_is_one_sentence() -> None:
    task = some_task()
    values, labels = table(task)
    with pytest.raises(BadInput, match=r"was fitted on 4 values, and a sample of task 'some' has 7 \(a 4, b 3\)"):
        harness.wrap(LogisticRegression().fit(values[:, :4], labels))(task)
    with pytest.raises(BadInput, match="was fitted on the classes 1, 2: fit it on the labels of the task"):
        harness.wrap(LogisticRegression().fit(values, labels + 1))(task)
    with pytest.raises(BadInput, match="an ONNX file or a fitted scikit-learn estimator, got 3"):
        harness.wrap(3)


@pytest.mark.parametrize(
    ("make", "classes"),
    [
        (lambda: SVC(decision_function_shape="ovo"), 3),
        (lambda: SVC(decision_function_shape="ovo"), 4),
        (lambda: FixedThresholdClassifier(LogisticRegression(), threshold=0.9), 2),
    ],
)
def test_it_chooses_what_the_estimator_predicts(make: Callable[[], Any], classes: int) -> None:
    """Votes of one class against one are no scores of classes, and a threshold moves them."""
    task = some_task(classes)
    x, y = table(task)
    noise = np.random.default_rng(0).normal(0, 2, x.shape)
    fitted = make().fit(x + noise, y)
    batch = task.splits["test"].take(range(24))
    both = torch.cat([batch.inputs["a"], batch.inputs["b"]], 1).double().numpy()
    assert Estimator(fitted, task)(batch.inputs).argmax(1).tolist() == fitted.predict(both).tolist()


def test_a_detector_of_outliers_is_no_classifier() -> None:
    task = some_task()
    with pytest.raises(BadInput, match="IsolationForest was fitted without classes: take a classifier"):
        Estimator(IsolationForest(n_estimators=5).fit(table(task)[0]), task)
