"""An ONNX file is a model without gradients, called by its inputs' names and known by its bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import harness
from attacks.errors import BadInput
from harness.models.outside.onnx_file import OnnxFile
from harness.tasks import Task

SIZES = {"a": 4, "b": 3}


def some_task() -> Task:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(24) % 2
    side = 2.0 * labels[:, None] - 1
    inputs = {name: side + 0.5 * torch.randn(24, size, generator=draws) for name, size in SIZES.items()}
    return Task.from_arrays(inputs, labels, splits="test", name="some")


def whole(path: Path) -> Path:
    """The sum of bytes."""
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["real", "weights"], ["logits"]),
        ],
        "bytes",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, ["batch", 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.eye(2, dtype=np.float32), "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


def test_whole_numbers_do_not_wrap_round(tmp_path: Path) -> None:
    x = torch.tensor([[0.0, 255.0]] * 20)
    task = Task.from_arrays({"x": x}, torch.arange(20) % 2, splits="test", name="bytes")
    model = OnnxFile(whole(tmp_path / "net.onnx"), task)
    assert model({"x": x[:1]}).tolist() == [[0.0, 255.0]]
    for value in (-20.0, 270.0):
        with pytest.raises(BadInput, match=r"takes 'x' as uint8, from 0 to 255, and it reaches"):
            model({"x": torch.full((1, 2), value)})


def written(path: Path, names: tuple[str, ...] = ("a", "b"), batch: str | int = "batch", sign: float = 1.0) -> Path:
    """A linear network of two inputs, side by side, with a batch of any or of one size."""
    weights = sign * np.array([[-1.0, 1.0]] * 7, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Concat", list(names), ["table"], axis=1),
            helper.make_node("MatMul", ["table", "weights"], ["logits"]),
            helper.make_node("Neg", ["logits"], ["other"]),
        ],
        "linear",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, size])
            for name, size in zip(names, SIZES.values(), strict=True)
        ],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, 2]) for name in ("other", "logits")],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), path)
    return path


@pytest.mark.parametrize("names", [("a", "b"), ("first", "second")])
def test_inputs_go_by_name_or_in_order(tmp_path: Path, names: tuple[str, ...]) -> None:
    task = some_task()
    model = OnnxFile(written(tmp_path / "net.onnx", names), task, "logits")
    inputs = task.splits["test"].take(range(5)).inputs
    expected = inputs["a"].sum(1) + inputs["b"].sum(1)
    torch.testing.assert_close(model(inputs), torch.stack([-expected, expected], 1))
    torch.testing.assert_close(OnnxFile(tmp_path / "net.onnx", task)(inputs), -model(inputs))


@pytest.mark.parametrize("batch", ["batch", 1])
def test_it_is_evaluated_by_queries_also_one_sample_at_a_time(tmp_path: Path, batch: str | int) -> None:
    build = harness.wrap(written(tmp_path / "net.onnx", batch=batch), answer="logits")
    options: dict[str, Any] = {"scenarios": ["a@linf:2"], "search": "blackbox?queries=50", "schedule": "none"}
    run = harness.evaluate(some_task(), {"net": build}, trust=False, samples=8, **options)
    found = run.ledger[run.ledger.scenario == "a@linf:2"]
    assert found.clean_score.mean() == 1 and set(found.queries) <= {40, 50}
    assert np.isfinite(found.strength).all()


def test_a_replaced_file_is_another_model(tmp_path: Path) -> None:
    options: dict[str, Any] = {"search": "none", "attack": ["square?steps=2"], "schedule": "none", "trust": False}
    for sign in (1.0, -1.0):
        build = harness.wrap(str(written(tmp_path / "net.onnx", sign=sign)), answer="logits")
        if sign < 0:
            with pytest.raises(BadInput, match=r"holds a run of another configuration|began with another model"):
                harness.evaluate(some_task(), {"net": build}, out=str(tmp_path / "run"), **options)
        else:
            harness.evaluate(some_task(), {"net": build}, out=str(tmp_path / "run"), **options)


def test_what_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    task, file = some_task(), written(tmp_path / "net.onnx", ("a", "sound"))
    with pytest.raises(BadInput, match=r"the inputs a, sound of the ONNX file .* are not the modalities of task"):
        OnnxFile(file, task)
    with pytest.raises(BadInput, match=r"has no output 'scores' \(outputs: other, logits\)"):
        OnnxFile(written(file), task, "scores")
    file.write_bytes(b"not a network")
    with pytest.raises(BadInput, match=r"the ONNX file .*net\.onnx cannot be loaded"):
        OnnxFile(file, task)
    with pytest.raises(BadInput, match=r"gone\.onnx cannot be read \(No such file or directory\)"):
        harness.wrap("gone.onnx")(task)
    with pytest.raises(BadInput, match="leave it out"):
        harness.wrap("gone.onnx", call="keywords")
