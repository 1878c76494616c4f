"""Names against Keras's: what both have is found at the same place, and functions take the same arguments."""

import importlib
import inspect

import keras
import pytest

from lamina import keras as ours

ROOMS = [
    "activations", "backend", "callbacks", "config", "constraints", "datasets", "dtype_policies", "initializers", "layers",
    "losses", "metrics", "mixed_precision", "models", "ops", "optimizers", "optimizers.schedules", "random",
    "regularizers", "saving", "utils",
]  # fmt: skip
# What Keras has there and a library of fully connected networks has not; anything else must be here.
ABSENT = {
    "backend": set(),
    "config": set(),
    "models": set(),
    "mixed_precision": set(),
    "saving": {"KerasFileEditor"},
    "utils": {
        "array_to_img", "audio_dataset_from_directory", "bounding_boxes", "image_dataset_from_directory", "img_to_array",
        "legacy", "load_img", "save_img", "text_dataset_from_directory",
    },
    "activations": set(),
    "constraints": set(),
    "random": set(),
    "regularizers": set(),
    "optimizers.schedules": set(),
}  # fmt: skip


def public(module):
    return {name for name in dir(module) if not name.startswith("_")}


@pytest.mark.parametrize("room", sorted(ABSENT))
def test_keras_s_names_are_there(room):
    theirs, mine = importlib.import_module(f"keras.{room}"), importlib.import_module(f"lamina.keras.{room}")
    assert public(theirs) - public(mine) == ABSENT[room]


@pytest.mark.parametrize("room", ROOMS)
def test_what_has_a_name_of_keras_s_is_of_its_kind(room):
    theirs, mine = importlib.import_module(f"keras.{room}"), importlib.import_module(f"lamina.keras.{room}")
    shared = public(theirs) & public(mine)
    assert shared
    for name in shared:
        one, other = getattr(theirs, name), getattr(mine, name)
        assert callable(one) == callable(other), name
        if inspect.isclass(one) and name not in ("custom_object_scope",):
            assert inspect.isclass(other), name


def test_the_top_level_has_what_scripts_use():
    missing = public(keras) - public(ours)
    assert missing == {
        "Function", "Operation", "SymbolicScope", "applications", "device", "distribution", "export", "legacy", "src",
        "visualization",
    }  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "to_categorical",
        "normalize",
        "pad_sequences",
        "split_dataset",
        "set_random_seed",
        "clear_session",
        "get_file",
        "model_to_dot",
        "pack_x_y_sample_weight",
        "unpack_x_y_sample_weight",
        "PyDataset",
        "Progbar",
        "is_keras_tensor",
        "get_source_inputs",
        "standardize_dtype",
    ],
)
def test_tools_take_keras_s_arguments(name):
    theirs, mine = (inspect.signature(getattr(k.utils, name)).parameters for k in (keras, ours))
    assert list(mine) == list(theirs)
    assert [p.default for p in mine.values()] == [p.default for p in theirs.values()]


def test_plot_model_and_clone_model_begin_with_keras_s_arguments():
    for name, room in (("plot_model", "utils"), ("clone_model", "models")):
        theirs, mine = (inspect.signature(getattr(getattr(k, room), name)).parameters for k in (keras, ours))
        wanted = [p for p in theirs if p != "kwargs"]
        assert list(mine)[: len(wanted)] == wanted
        assert [mine[p].default for p in wanted] == [theirs[p].default for p in wanted]
