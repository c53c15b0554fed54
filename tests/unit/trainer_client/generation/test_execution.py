from __future__ import annotations

from typing import Any

import pytest
import torch

from market.protocol.errors import InvalidInput
from trainer_client.generation.execution import Execution, prepared, running
from trainer_client.models import build_model


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"dtype": "float8"}, "dtype is 'float8', expected one of float32, bfloat16, float16"),
        ({"kernels": "compiled"}, "kernels are 'compiled', expected plain or fused"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"threads": 0}, "threads are 0"),
    ],
)
def test_what_no_machine_does_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Execution(**values)


def test_a_device_that_is_not_here_is_refused() -> None:
    model = build_model("denoiser", {"features": 4, "hidden": [3]}, 0)
    with pytest.raises(InvalidInput, match="is not available here"):
        prepared(model, Execution(device="cuda:77"))


def test_the_model_itself_keeps_its_values_and_its_number_format() -> None:
    model = build_model("denoiser", {"features": 4, "hidden": [3]}, 0)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    copied = prepared(model, Execution("bfloat16", kernels="plain"))
    assert {parameter.dtype for parameter in copied.parameters()} == {torch.bfloat16}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_written_out_layers_give_the_same_up_to_rounding() -> None:
    model = build_model("denoiser", {"features": 4, "hidden": [30]}, 0)
    batch, times = torch.linspace(-1, 1, 12).reshape(3, 4), torch.tensor([0, 500, 999])
    found = [prepared(model, Execution(kernels=kernels))(batch, times) for kernels in ("plain", "fused")]  # type: ignore[arg-type]
    torch.testing.assert_close(*found, rtol=0, atol=1e-6)


def test_threads_are_as_asked_for_inside_and_given_back_after_a_failure_too() -> None:
    before = torch.get_num_threads()
    seen = []

    def fail() -> None:
        seen.append((torch.get_num_threads(), torch.is_grad_enabled()))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), running(Execution(threads=before + 1)):
        fail()
    assert seen == [(before + 1, False)]
    assert torch.get_num_threads() == before
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("\"addmm_impl_cpu_\" not implemented for 'Half'", "cpu cannot compute this model in float16"),
        ("[enforce fail] DefaultCPUAllocator: can't allocate memory", "batches of 9 take more memory than cpu has"),
    ],
)
def test_what_a_device_cannot_do_is_told_in_the_projects_words(words: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told), running(Execution("float16", batch_size=9)):
        raise RuntimeError(words)


def test_other_failures_are_not_hidden() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), running(Execution()):
        _ = torch.zeros(2, 3) @ torch.zeros(2, 3)
