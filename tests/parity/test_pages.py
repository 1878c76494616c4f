"""The pages that compare with Keras say what is so now."""

import copy
import inspect

import pytest
from tools import api_page, differences, quantization_page

from lamina.demo import job, quantization

ANY = inspect.Parameter.POSITIONAL_OR_KEYWORD


def test_the_page_of_names_is_that_of_both_packages():
    assert api_page.PAGE.read_text() == api_page.page(), "`make pages` writes it anew"


def test_the_page_of_differences_lists_every_reason():
    assert differences.PAGE.read_text() == differences.page(), "`make pages` writes it anew"


def keras(x, axis=-1, *, name=None): ...


def same(x, axis=-1, name=None, more=0): ...


def other_default(x, axis=0, name=None): ...


def fewer(x, axis=-1): ...


def wants_more(x, must, axis=-1, name=None): ...


def turned(axis=-1, x=None, name=None): ...


@pytest.mark.parametrize(
    ("ours", "difference"),
    [
        (same, ""),
        (lambda *args, **kwargs: None, ""),
        (other_default, "`axis` is 0, not -1"),
        (fewer, "no `name`"),
        (wants_more, "needs `must`"),
        (turned, "order axis, x"),
        (3, "a int"),
    ],
)
def test_a_difference_is_what_a_call_can_meet(ours, difference):
    assert api_page.compared(keras, ours) == difference


def test_an_absence_needs_a_reason():
    rules = api_page.rules()
    assert api_page.why_absent("keras.layers.Conv2D", rules) == "convolution and pooling"
    with pytest.raises(LookupError, match="does not say why"):
        api_page.why_absent("keras.layers.NoSuchLayer", rules)


def test_the_page_of_smaller_weights_says_what_they_weigh():
    model = job.network(1, rows=100)
    model.build((None, job.WIDTHS[0]))
    before = quantization.weight_bytes(model)
    page = quantization_page.PAGE.read_text()
    assert f"| float32 | {before / 1000:,.0f} | 100% |" in page
    for name, settings in quantization.KINDS.items():
        small = copy.deepcopy(model)
        small.quantize(config=settings)
        size = quantization.weight_bytes(small)
        assert f"| {name} | {size / 1000:,.0f} | {size / before:.0%} |" in page, (
            "`python -m tools.quantization_page` writes it anew"
        )
