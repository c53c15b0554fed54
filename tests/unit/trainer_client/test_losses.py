from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from market.protocol.errors import InvalidData, InvalidTerms
from trainer_client.data import digits
from trainer_client.dataset import DataKind, Dataset
from trainer_client.generative import ConditionalDenoiser, Denoiser, draw_noise, draw_told, signal_shares
from trainer_client.losses import EXAM_DRAWS, LOSSES, batch_loss, check_loss, exam_loss
from trainer_client.models import build_model

SAMPLES, FEATURES = 9, 6
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "cross_entropy": ("mlp", {"features": FEATURES, "hidden": [5], "classes": 3}),
    "mse": ("linear_regression", {"features": FEATURES, "outputs": 2}),
    "huber": ("mlp", {"features": FEATURES, "hidden": [5], "outputs": 2}),
    "binary_cross_entropy": ("logistic_regression", {"features": FEATURES, "outputs": 2}),
    "next_token": (
        "text_transformer",
        {"vocabulary": 7, "width": 8, "layers": 2, "heads": 2, "context": FEATURES - 1},
    ),
    "reconstruction": ("autoencoder", {"features": FEATURES, "hidden": [5], "code": 2}),
    "evidence_bound": ("variational_autoencoder", {"features": FEATURES, "hidden": [5], "code": 3}),
    "noise_prediction": ("denoiser", {"features": FEATURES, "hidden": [8], "steps": 50}),
    "conditional_noise_prediction": (
        "conditional_denoiser",
        {"features": FEATURES, "hidden": [8], "steps": 50, "classes": 3},
    ),
}


def model_for(loss: str) -> nn.Module:
    architecture, arguments = MODELS[loss]
    return build_model(architecture, arguments, 1).double()


def data_for(loss: str, seed: int = 0) -> Dataset:
    draw = np.random.default_rng(seed)
    inputs = draw.normal(size=(SAMPLES, FEATURES)).astype(np.float32)
    match loss:
        case "cross_entropy" | "conditional_noise_prediction":
            return Dataset(inputs, draw.integers(0, 3, SAMPLES))
        case "mse" | "huber":
            return Dataset(inputs, 3 * draw.normal(size=(SAMPLES, 2)).astype(np.float32))
        case "binary_cross_entropy":
            return Dataset(inputs, draw.integers(0, 2, (SAMPLES, 2)).astype(np.float32))
        case "evidence_bound":
            return Dataset(draw.uniform(size=(SAMPLES, FEATURES)).astype(np.float32))
        case "next_token":
            return Dataset(draw.integers(0, 7, (SAMPLES, FEATURES)))
    return Dataset(inputs)


def gradient(loss: str, model: nn.Module, parts: list[Dataset], seed: int = 0) -> NDArray[np.float64]:
    """Of the mean over all samples, as a sum over parts."""
    samples = sum(map(len, parts))
    total: NDArray[np.float64] | float = 0.0
    for part in parts:
        mean = batch_loss(loss, model, part, seed=seed)
        found = torch.autograd.grad(mean, list(model.parameters()))
        total = total + torch.cat([entry.reshape(-1) for entry in found]).numpy() * (len(part) / samples)
    return np.asarray(total)


def test_every_loss_has_a_model_here() -> None:
    assert MODELS.keys() == LOSSES.keys()


@pytest.mark.parametrize("loss", LOSSES)
class TestEveryLoss:
    @settings(max_examples=15, deadline=None)
    @given(st.permutations(range(SAMPLES)), st.sets(st.integers(1, SAMPLES - 1)))
    def test_neither_the_order_nor_the_batches_change_the_gradient(
        self, loss: str, order: list[int], cuts: set[int]
    ) -> None:
        model, data = model_for(loss), data_for(loss)
        whole = gradient(loss, model, [data])
        parts = [data.subset(indices) for indices in np.split(np.array(order), sorted(cuts))]
        np.testing.assert_allclose(gradient(loss, model, parts), whole, atol=1e-12)
        assert np.linalg.norm(whole) > 1e-3

    def test_the_gradient_is_the_slope_of_the_loss(self, loss: str) -> None:
        model, data = model_for(loss), data_for(loss)
        slope = gradient(loss, model, [data])
        direction = torch.from_numpy(slope / np.linalg.norm(slope))
        flat = nn.utils.parameters_to_vector(model.parameters()).detach()
        values = []
        for step in (1e-6, -1e-6):
            nn.utils.vector_to_parameters(flat + step * direction, model.parameters())
            values.append(float(batch_loss(loss, model, data).detach()))
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(np.linalg.norm(slope), rel=1e-5)

    def test_the_model_decides_the_floating_point_type(self, loss: str) -> None:
        model, data = model_for(loss), data_for(loss)
        exact = batch_loss(loss, model, data)
        rounded = batch_loss(loss, model.float(), data)
        assert (exact.dtype, rounded.dtype) == (torch.float64, torch.float32)
        assert float(rounded.detach()) == pytest.approx(float(exact.detach()), rel=1e-5)

    def test_only_a_loss_that_draws_noise_depends_on_the_seed(self, loss: str) -> None:
        model, data = model_for(loss), data_for(loss)
        first, again, other = (gradient(loss, model, [data], seed) for seed in (1, 1, 2))
        assert (first == again).all()
        assert (first != other).any() == LOSSES[loss].drawn

    def test_read_only_samples_are_taken(self, loss: str) -> None:
        data = data_for(loss)
        for array in data.arrays().values():
            array.flags.writeable = False
        assert torch.isfinite(batch_loss(loss, model_for(loss), data))


OF_KIND = {data_for(loss).kind: loss for loss in LOSSES}


@pytest.mark.parametrize(("loss", "kind"), [(a, b) for a in LOSSES for b in DataKind if b not in LOSSES[a].kinds])
def test_data_of_another_kind_are_refused(loss: str, kind: DataKind) -> None:
    with pytest.raises(InvalidData, match=f"the samples are {kind}, loss {loss} takes"):
        batch_loss(loss, model_for(loss), data_for(OF_KIND[kind]))


class TestValues:
    outputs = torch.tensor([[1.0, -2.0], [0.5, 0.0]], dtype=torch.float64)
    targets = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)

    def test_squared_error_is_the_mean_over_samples_and_outputs(self) -> None:
        assert float(LOSSES["mse"](self.outputs, self.targets)) == pytest.approx((0 + 9 + 0.25 + 1) / 4)

    def test_huber_is_linear_beyond_one(self) -> None:
        assert float(LOSSES["huber"](self.outputs, self.targets)) == pytest.approx((0 + 2.5 + 0.125 + 0.5) / 4)

    def test_binary_cross_entropy_is_of_each_output_alone(self) -> None:
        chances = 1 / (1 + np.exp(-self.outputs.numpy()))
        expected = -np.log(np.where(self.targets.numpy() == 1, chances, 1 - chances)).mean()
        assert float(LOSSES["binary_cross_entropy"](self.outputs, self.targets)) == pytest.approx(expected)

    def test_targets_of_another_width_are_refused_and_not_broadcast(self) -> None:
        data = Dataset(data_for("mse").inputs, np.zeros((SAMPLES, 1), np.float32))
        with pytest.raises(InvalidData, match=r"1 target values a sample, the model's outputs are of shape \(2,\)"):
            batch_loss("mse", model_for("mse"), data)

    def test_what_is_no_probability_is_refused(self) -> None:
        data = Dataset(data_for("mse").inputs, np.full((SAMPLES, 2), 1.5, np.float32))
        with pytest.raises(InvalidData, match=r"target values 1\.5\.\.1\.5, expected probabilities in 0\.\.1"):
            batch_loss("binary_cross_entropy", model_for("binary_cross_entropy"), data)


class TestNextToken:
    def test_it_is_the_cross_entropy_of_the_inputs_shifted_by_one(self) -> None:
        model, data = model_for("next_token"), data_for("next_token")
        scores = model(torch.from_numpy(data.inputs[:, :-1])).detach().numpy()
        chances = np.exp(scores) / np.exp(scores).sum(axis=2, keepdims=True)
        right = np.take_along_axis(chances, data.inputs[:, 1:, None], axis=2)
        assert scores.shape == (SAMPLES, FEATURES - 1, 7)
        assert float(batch_loss("next_token", model, data).detach()) == pytest.approx(-np.log(right).mean())

    def test_tokens_outside_the_vocabulary_are_refused(self) -> None:
        with pytest.raises(InvalidData, match=r"token 7: the model's vocabulary is 0\.\.6"):
            batch_loss("next_token", model_for("next_token"), Dataset(np.full((2, FEATURES), 7)))

    def test_windows_longer_than_the_context_are_refused(self) -> None:
        with pytest.raises(InvalidData, match="samples of 6 tokens: the model looks back on 5 at most"):
            batch_loss("next_token", model_for("next_token"), Dataset(np.zeros((2, FEATURES + 1), np.int64)))


def test_reconstruction_is_against_the_inputs() -> None:
    model, data = model_for("reconstruction"), data_for("reconstruction")
    given = model(torch.from_numpy(data.inputs).double()).detach().numpy()
    expected = np.mean((given - data.inputs) ** 2)
    assert float(batch_loss("reconstruction", model, data).detach()) == pytest.approx(expected)


class TestEvidenceBound:
    def test_it_is_below_the_log_likelihood_and_tight_where_the_code_says_nothing(self) -> None:
        # Of a decoder that looks at no code the likelihood is known, and an encoder that gives the prior loses nothing.
        model, data = model_for("evidence_bound"), data_for("evidence_bound")
        with torch.no_grad():
            model.decoder[0].weight.zero_()
            model.encoder[-1].weight.zero_()
            model.encoder[-1].bias.zero_()
        chances = torch.sigmoid(model(torch.zeros(1, 3).double())).detach().numpy()
        likelihood = data.inputs * np.log(chances) + (1 - data.inputs) * np.log(1 - chances)
        assert float(batch_loss("evidence_bound", model, data).detach()) == pytest.approx(-likelihood.mean())
        with torch.no_grad():
            model.encoder[-1].bias.normal_(generator=torch.Generator().manual_seed(0))
        assert float(batch_loss("evidence_bound", model, data).detach()) > -likelihood.mean()

    def test_what_the_code_costs_is_its_divergence_from_the_normal_distribution(self) -> None:
        model, data = model_for("evidence_bound"), data_for("evidence_bound")
        mean, log_variance = torch.tensor([0.5, -1.0, 0.0]), torch.tensor([0.2, -0.7, 0.0])
        with torch.no_grad():
            model.decoder[0].weight.zero_()
            model.encoder[-1].weight.zero_()
            model.encoder[-1].bias.zero_()
            without = float(batch_loss("evidence_bound", model, data))
            model.encoder[-1].bias.copy_(torch.cat([mean, log_variance]))
            cost = (float(batch_loss("evidence_bound", model, data)) - without) * FEATURES
        coded = torch.distributions.Normal(mean, (log_variance / 2).exp())
        expected = torch.distributions.kl_divergence(coded, torch.distributions.Normal(0.0, 1.0)).sum()
        assert cost == pytest.approx(float(expected), rel=1e-6)

    def test_values_that_are_no_chances_are_refused(self) -> None:
        with pytest.raises(InvalidData, match=r"values -1\.\.-1, expected probabilities in 0\.\.1"):
            batch_loss("evidence_bound", model_for("evidence_bound"), Dataset(-np.ones((2, FEATURES), np.float32)))


class TestConditionalNoise:
    def test_a_tenth_of_the_samples_is_shown_without_its_class(self) -> None:
        shown = []

        class Listening(ConditionalDenoiser):
            def forward(self, batch: Tensor, times: Tensor, labels: Tensor) -> Tensor:
                shown.append(labels.numpy())
                return torch.zeros_like(batch)

        draw = np.random.default_rng(0)
        data = Dataset(draw.normal(size=(3000, 2)).astype(np.float32), draw.integers(0, 3, 3000))
        batch_loss("conditional_noise_prediction", Listening(2, (2,), 50, 3), data, seed=1)
        [labels] = shown
        assert set(labels[labels != data.labels].tolist()) == {3}
        assert abs((labels == 3).mean() - 0.1) < 0.025
        assert (draw_told(data.inputs, 1) == (labels != 3)).all()

    def test_classes_that_it_does_not_know_are_refused(self) -> None:
        data = Dataset(np.zeros((2, FEATURES), np.float32), np.array([0, 3]))
        with pytest.raises(InvalidData, match=r"labels 0\.\.3: the model's outputs are 0\.\.2"):
            batch_loss("conditional_noise_prediction", model_for("conditional_noise_prediction"), data)


class Silent(Denoiser):
    """Finds no noise, and remembers what it was shown."""

    def forward(self, batch: Tensor, times: Tensor) -> Tensor:
        self.shown = batch.numpy(), times.numpy()
        return torch.zeros_like(batch)


def test_noise_prediction_shows_the_noisy_sample_and_asks_for_the_noise() -> None:
    data = data_for("noise_prediction")
    model = Silent(FEATURES, (4,), 50).double()
    loss = batch_loss("noise_prediction", model, data, seed=3)
    times, noise = draw_noise(data.inputs, 50, 3)
    signal = signal_shares(50)[times, None]
    assert float(loss) == pytest.approx(np.mean(noise**2))
    assert (model.shown[1] == times).all()
    np.testing.assert_allclose(model.shown[0], signal**0.5 * data.inputs + (1 - signal) ** 0.5 * noise, atol=1e-15)


@pytest.mark.parametrize("loss", LOSSES)
def test_an_exams_loss_is_the_mean_over_fixed_draws(loss: str) -> None:
    model, data = model_for(loss), data_for(loss)
    draws = [float(batch_loss(loss, model, data, seed=seed).detach()) for seed in range(EXAM_DRAWS)]
    assert float(exam_loss(loss, model, data).detach()) == pytest.approx(np.mean(draws), rel=1e-12)


def test_an_exams_draws_say_more_of_the_direction_than_one_does() -> None:
    images = Dataset(digits().inputs * 2 - 1)
    model = build_model("denoiser", {"features": 64, "hidden": [32]}, 0).double()

    def direction(loss: Tensor) -> Tensor:
        found = torch.autograd.grad(loss, list(model.parameters()))
        flat = torch.cat([entry.reshape(-1) for entry in found])
        return flat / flat.norm()

    slice_ = images.subset(np.arange(64))
    whole = direction(batch_loss("noise_prediction", model, images, seed=1000))
    one, many = (
        direction(batch_loss("noise_prediction", model, slice_)),
        direction(exam_loss("noise_prediction", model, slice_)),
    )
    assert whole @ many > 0.85 > 0.7 > whole @ one


class TestWhatAModelLearnsBy:
    @pytest.mark.parametrize(
        ("of", "fitting"),
        [
            ("cross_entropy", {"cross_entropy", "mse", "huber"}),
            ("mse", {"mse", "huber", "binary_cross_entropy"}),
            ("next_token", {"next_token"}),
            ("reconstruction", {"reconstruction"}),
            ("noise_prediction", {"noise_prediction"}),
            ("evidence_bound", {"evidence_bound"}),
            ("conditional_noise_prediction", {"conditional_noise_prediction"}),
        ],
    )
    def test_it_is_what_can_be_computed_of_its_outputs_and_data(self, of: str, fitting: set[str]) -> None:
        model, kind = model_for(of), data_for(of).kind
        for loss in fitting:
            check_loss(loss, model, kind)
        for loss in LOSSES.keys() - fitting:
            with pytest.raises(InvalidTerms, match=f"does not learn by {loss}, expected one of") as refused:
                check_loss(loss, model, kind)
            assert set(str(refused.value).rpartition("one of ")[2].split(", ")) == fitting

    def test_a_loss_of_another_model_is_refused_naming_those_that_fit(self) -> None:
        with pytest.raises(InvalidTerms, match="a Denoiser on inputs alone does not learn by reconstruction, expected"):
            check_loss("reconstruction", model_for("noise_prediction"), DataKind.UNLABELLED)
        with pytest.raises(InvalidTerms, match="does not learn by next_token"):
            batch_loss("next_token", model_for("mse"), data_for("next_token"))

    def test_an_unknown_loss_is_refused(self) -> None:
        with pytest.raises(InvalidTerms, match="loss is 'nll', expected one of cross_entropy, mse"):
            batch_loss("nll", model_for("mse"), data_for("mse"))
