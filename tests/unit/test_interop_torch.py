"""PyTorch's files, beside PyTorch itself."""

import collections

import numpy as np
import pytest
import torch
from interop_models import FEATURES, ROWS, activated, chain, normalized, outputs, plain
from safetensors.torch import load_file, save_file
from torch import nn

import lamina
from lamina import Dense, layers
from lamina.errors import InvalidArgumentError, LaminaError
from lamina.interop import torch_modules

ENDINGS = ["pt", "safetensors"]
TORCH_FUNCTIONS = [
    "relu", "relu6", "sigmoid", "tanh", "selu", "silu", "softsign", "hard_sigmoid", "hard_silu", "mish", "log_sigmoid",
    "tanh_shrink", "gelu", "softplus", "hard_tanh", "soft_shrink", "hard_shrink", "celu", "elu", "softmax",
    "log_softmax", "leaky_relu",
]  # fmt: skip


def write(tensors, path):
    save_file(tensors, path) if str(path).endswith("safetensors") else torch.save(tensors, path)
    return path


def tensors_in(path):
    return load_file(path) if str(path).endswith("safetensors") else torch.load(path, weights_only=True)


def stirred(module):
    generator = torch.Generator().manual_seed(5)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            low = 0.5 if "var" in name else -0.7
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 1.4 + low)
    return module.eval()


def run(module, x=ROWS):
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


MODULES = {
    "plain": lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3), nn.Softmax(-1)),
    "norms": lambda: nn.Sequential(
        nn.Linear(5, 8, bias=False), nn.BatchNorm1d(8, eps=1e-3), nn.Tanh(), nn.LayerNorm(8), nn.ELU(0.5), nn.Linear(8, 8),
        nn.PReLU(), nn.BatchNorm1d(8, affine=False), nn.LeakyReLU(0.3), nn.Linear(8, 2), nn.LogSoftmax(dim=1),
    ),
    "nested": lambda: nn.Sequential(
        nn.Flatten(), nn.Sequential(nn.Linear(5, 4), nn.GELU()), nn.Identity(), nn.Sequential(nn.Linear(4, 4), nn.SiLU()),
        nn.PReLU(4), nn.LayerNorm((4,), elementwise_affine=False), nn.Linear(4, 1),
    ),
}  # fmt: skip


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("name", MODULES)
def test_a_module_given_by_its_own_text_computes_the_same(name, ending, tmp_path):
    module = stirred(MODULES[name]())
    path = write(module.state_dict(), tmp_path / f"m.{ending}")
    model = lamina.load_model(path, architecture=str(module))
    assert np.allclose(outputs(model), run(module), atol=1e-6)


@pytest.mark.filterwarnings("ignore:The functions between:UserWarning", "ignore:Nothing stands:UserWarning")
@pytest.mark.parametrize("activations", ["relu", ["relu", "tanh"], ["relu", "tanh", None], ["relu", "tanh", "softmax"]])
def test_places_in_a_sequential_are_told_from_its_numbers(activations, tmp_path):
    middle = nn.ReLU() if activations == "relu" else nn.Tanh()
    tail = [nn.Softmax(-1)] if activations[-1] == "softmax" else []
    module = stirred(
        nn.Sequential(
            nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4), middle, nn.Linear(4, 2), *tail
        )
    )  # fmt: skip
    torch.save(module.state_dict(), tmp_path / "m.pt")
    with pytest.warns(UserWarning, match="places 3: taken for Dropout"):
        model = lamina.load_model(tmp_path / "m.pt", activations=activations)
    assert np.allclose(outputs(model), run(module), atol=1e-6)


class Named(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.bn1, self.fc2 = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x):
        return self.fc2(torch.relu(self.bn1(self.fc1(x))))


@pytest.mark.filterwarnings(
    "ignore:The functions between:UserWarning", "ignore:The prefix:UserWarning", "ignore:Left out:UserWarning"
)
@pytest.mark.parametrize("wrap", [dict, lambda d: {"epoch": 3, "loss": 0.5, "model_state_dict": d, "none": None},
                                  lambda d: {f"module.{k}": v for k, v in d.items()}])  # fmt: skip
def test_named_layers_and_checkpoints_around_them_are_read(wrap, tmp_path):
    module = stirred(Named())
    torch.save(wrap(module.state_dict()), tmp_path / "m.pth")
    model = lamina.load_model(tmp_path / "m.pth", activations="relu")
    assert model.layers[0].name == "fc1"
    assert np.allclose(outputs(model), run(module), atol=1e-6)
    again = lamina.load_model(tmp_path / "m.pth", architecture="Linear, BatchNorm1d, ReLU, Linear")
    assert np.allclose(outputs(again), run(module), atol=1e-6)


def test_a_module_of_a_class_of_its_own_may_do_more_than_its_text_says(tmp_path):
    module = stirred(Named())  # its `relu` stands in `forward` alone
    torch.save(module.state_dict(), tmp_path / "m.pt")
    with pytest.warns(UserWarning, match=r"modules of Named are taken in the order(.|\n)*`relu` among it"):
        lamina.load_model(tmp_path / "m.pt", architecture=str(module))
    assert torch_modules.own_classes("Sequential(\n  (0): Linear(in_features=2, out_features=1)\n)") == []


def test_what_was_left_out_is_said(tmp_path):
    torch.save({"epoch": 3, "state_dict": nn.Linear(5, 2).state_dict()}, tmp_path / "m.pt")
    with pytest.warns(UserWarning, match="Left out: epoch"):
        model = lamina.load_model(tmp_path / "m.pt")
    assert model.count_params() == 12


@pytest.mark.filterwarnings("ignore:The functions between:UserWarning")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_numbers_of_other_types_and_shared_or_turned_tensors_are_read(dtype, tmp_path):
    weight = torch.arange(40, dtype=dtype).reshape(5, 8).T / 64
    torch.save({"0.weight": weight, "0.bias": weight[:, 1]}, tmp_path / "m.pt")
    kernel, bias = lamina.load_model(tmp_path / "m.pt").layers[0].get_weights()
    assert np.array_equal(kernel, weight.T.float().numpy())
    assert np.array_equal(bias, weight[:, 1].float().numpy())


def test_a_file_from_before_pytorch_1_6_is_read(tmp_path):
    module = stirred(MODULES["plain"]())
    torch.save(module.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    model = lamina.load_model(tmp_path / "old.pt", architecture=str(module))
    assert np.allclose(outputs(model), run(module), atol=1e-6)


# ---- written


def module_in(said):
    return eval(said.removeprefix("Its module: "), {"nn": nn})


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("make", [plain, normalized])
def test_what_is_written_runs_in_pytorch_and_comes_back(make, ending, tmp_path):
    model = make()
    path = tmp_path / f"m.{ending}"
    said, *_ = model.export(path)
    module = module_in(said)
    module.load_state_dict(tensors_in(path))
    assert np.allclose(run(module.eval()), outputs(model), atol=1e-6)
    assert np.allclose(outputs(lamina.load_model(path)), outputs(model), atol=1e-6)


@pytest.mark.parametrize("name", TORCH_FUNCTIONS)
def test_every_function_means_the_same_in_pytorch(name, tmp_path):
    model = activated([name])
    (said,) = model.export(tmp_path / "m.pt")
    module = module_in(said)
    module.load_state_dict(torch.load(tmp_path / "m.pt", weights_only=True))
    assert np.allclose(run(module.eval()), outputs(model), atol=2e-6)
    assert np.allclose(outputs(lamina.load_model(tmp_path / "m.pt")), outputs(model), atol=2e-6)


def test_training_goes_on_in_pytorch_with_the_same_statistics(tmp_path):
    model = chain(Dense(4), layers.BatchNormalization(momentum=0.8), Dense(1))
    (said,) = model.export(tmp_path / "m.pt")
    assert "momentum=0.2" in said
    assert "eps=0.001" in said


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ([layers.Rescaling(2.0), Dense(1)], "Rescaling layer `.*`(.|\n)*no module like Rescaling"),
        ([Dense(2, activation="exponential")], "Dense|Activation layer `.*`(.|\n)*exponential"),
        ([layers.Reshape((5, 1)), layers.BatchNormalization(), layers.Flatten(), Dense(1)], "Reshape"),
        ([layers.ReLU(max_value=3.0), Dense(1)], "no ReLU with this threshold"),
    ],
)
def test_a_layer_that_pytorch_lacks_is_named_and_nothing_is_written(inner, text, tmp_path):
    for ending in ENDINGS:
        with pytest.raises(InvalidArgumentError, match=text):
            chain(*inner).export(tmp_path / f"m.{ending}")
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_no_chain_says_where_it_branches(tmp_path):
    x = lamina.Input((5,))
    y = Dense(5)(x)
    model = lamina.Model(x, layers.Add()([x, y]))
    with pytest.raises(InvalidArgumentError, match=r"no such chain: layer `add.*` has 2 inputs"):
        model.export(tmp_path / "m.pt")


def test_a_functional_chain_with_a_model_inside_is_written(tmp_path):
    x = lamina.Input((5,))
    inner = lamina.Sequential([lamina.Input((4,)), Dense(4, activation="tanh"), Dense(3)], name="inner")
    model = lamina.Model(x, layers.Softmax()(inner(Dense(4, activation="relu")(x))))
    model.export(tmp_path / "m.pt")
    assert np.allclose(outputs(lamina.load_model(tmp_path / "m.pt")), outputs(model), atol=1e-6)


def test_a_conversion_is_compared_with_pytorch_on_both_sides(tmp_path):
    module = stirred(MODULES["norms"]())
    torch.save(module.state_dict(), tmp_path / "m.pt")
    done = lamina.convert(tmp_path / "m.pt", tmp_path / "m.safetensors", architecture=str(module))
    assert [c.side for c in done.comparisons] == ["source", "target"]
    assert all(c.difference is not None and c.difference < 1e-5 for c in done.comparisons), done.comparisons


# ---- what cannot be told


@pytest.mark.parametrize(
    ("tensors", "options", "text"),
    [
        ({"0.weight": (8, 5), "2.weight": (3, 8)}, {}, r"what stands between them: `0` 5 -> 8, `2` 8 -> 3(.|\n)*activations='relu'"),
        ({"a.weight": (8, 5), "b.weight": (3, 9)}, {"activations": "relu"}, "takes 9 numbers, and the one before it gives 8"),
        ({"conv.weight": (8, 5, 3, 3), "conv.bias": (8,)}, {}, "Convolutions"),
        ({"rnn.weight_ih_l0": (8, 5)}, {}, "holds `rnn.weight_ih_l0`"),
        ({"0.weight": (8, 5)}, {"architecture": "Linear, Linear"}, "has a Linear `` for which the file has no tensors"),
        ({"0.weight": (8, 5), "1.weight": (2, 8)}, {"architecture": "Linear"}, "no module for 1"),
        ({"0.weight": (8, 5)}, {"architecture": "Linaer"}, "names `Linaer`(.|\n)*Did you mean 'Linear'"),
        ({"0.weight": (8, 5)}, {"architecture": "Linear(__import__('os').system('x'))"}, "arguments of Linear cannot be read"),
        ({"0.weight": (8, 5), "2.weight": (3, 8)}, {"activations": ["relu"] * 5}, "one for each of the 2"),
        ({"0.weight": (8, 5), "2.weight": (3, 8)}, {"activations": "rleu"}, "rleu"),
        ({"0.weight": (8, 5), "2.weight": (3, 8)}, {"activations": "relu", "architecture": "Linear"}, "not both"),
        ({"0.weight": (8, 5), "1.weight": (8, 8), "3.weight": (3, 8)}, {"activations": ["relu", "relu"]}, "no place for 'relu'"),
        ({"0.weight": (8, 5), "2.weight": (3, 8)}, {"activations": 5}, "must be a name or a list of names"),
        ({"0.weight": (8, 5)}, {"architecture": 5}, "must be a text or a list of texts"),
        ({}, {}, "holds no"),
    ],
)  # fmt: skip
def test_what_a_file_does_not_say_is_asked_for(tensors, options, text, tmp_path):
    torch.save({name: torch.zeros(shape) for name, shape in tensors.items()}, tmp_path / "m.pt")
    with pytest.raises(LaminaError, match=text):
        lamina.load_model(tmp_path / "m.pt", **options)


def test_safetensors_without_an_order_ask_for_it(tmp_path):
    module = stirred(Named())
    save_file(module.state_dict(), tmp_path / "m.safetensors")
    with pytest.raises(InvalidArgumentError, match="order of its layers"):
        lamina.load_model(tmp_path / "m.safetensors", activations="relu")
    text = "(fc1): Linear(), (bn1): BatchNorm1d(), (act): ReLU(), (fc2): Linear()"
    model = lamina.load_model(tmp_path / "m.safetensors", architecture=text)
    assert np.allclose(outputs(model), run(module), atol=1e-6)


@pytest.mark.filterwarnings("ignore:The functions between:UserWarning")
def test_twelve_layers_keep_their_order(tmp_path):
    module = stirred(nn.Sequential(*[m for _ in range(12) for m in (nn.Linear(5, 5), nn.Tanh())]))
    for ending in ENDINGS:
        path = write(module.state_dict(), tmp_path / f"m.{ending}")
        model = lamina.load_model(path, activations=["tanh"] * 12)
        assert np.allclose(outputs(model), run(module), atol=1e-5)


def test_a_text_of_modules_is_read_as_people_write_it():
    modules = torch_modules.parsed(
        "nn.Sequential(nn.Linear(5, 8, bias=False), torch.nn.ReLU(), Dropout(0.5), LayerNorm((8,)))"
    )
    assert [m.kind for m in modules] == ["Linear", "ReLU", "Dropout", "LayerNorm"]
    assert modules[0].arguments == {"in_features": 5, "out_features": 8, "bias": False}
    assert modules[2].arguments == {"p": 0.5}
    assert modules[3].arguments == {"normalized_shape": (8,)}


def test_names_of_a_state_dict_need_not_be_in_a_plain_dict(tmp_path):
    torch.save(collections.OrderedDict(nn.Linear(FEATURES, 2).state_dict()), tmp_path / "m.pt")
    assert lamina.load_model(tmp_path / "m.pt").count_params() == FEATURES * 2 + 2
