"""Pictures of models: where things stand, what is said, what is written, what is refused."""

import math
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from functools import cache
from itertools import combinations, pairwise

import pytest

from lamina import layers, models
from lamina.models.plot import plot_model
from lamina.models.plotting import boxes, neurons, svg
from lamina.models.plotting.graph import drawing_of
from lamina.models.plotting.layout import Place, arrange, stack
from lamina.models.plotting.scene import Box, Circle, Lines, Path, Text, arrow_head, text_width

SVG = "{http://www.w3.org/2000/svg}"


def chain(*parts, shape=(4,), name=None):
    return models.Sequential([layers.Input(shape), *parts], name=name)


def residual(blocks=2):
    inputs = layers.Input((8,))
    x = layers.Dense(8)(inputs)
    for _ in range(blocks):
        x = layers.Add()([x, layers.Dense(8)(layers.Dropout(0.1)(layers.Dense(8, activation="relu")(x)))])
    return models.Model(inputs, layers.Dense(2)(x))


def two_in_two_out():
    a, b = layers.Input((8,), name="a"), layers.Input((3,), name="b")
    x = layers.Concatenate()([layers.Dense(4)(a), b])
    return models.Model([a, b], [layers.Dense(1, name="price")(x), layers.Dense(3, name="kind")(x)])


def nested():
    inputs = layers.Input((6,))
    block = chain(layers.Dense(8), layers.Dense(8), shape=(8,), name="block")
    p, q = layers.Input((8,)), layers.Input((8,))
    both = models.Model([p, q], [layers.Add()([layers.Dense(8)(p), q]), layers.Multiply()([p, q])], name="both")
    x = layers.Dense(8)(inputs)
    first, second = both([x, block(x)])
    return models.Model(inputs, layers.Concatenate()([first, second, x]))


def shared():
    inputs = layers.Input((4,))
    layer = layers.Dense(4, name="twice")
    return models.Model(inputs, layer(layer(inputs)))


def wide():
    inputs = layers.Input((4,))
    return models.Model(inputs, layers.Concatenate()([layers.Dense(n)(inputs) for n in range(2, 11)]))


def every_to_every():
    inputs = layers.Input((4,))
    found = [inputs]
    for _ in range(7):
        found.append(layers.Dense(4)(layers.Concatenate()(found) if len(found) > 1 else inputs))
    return models.Model(inputs, found[-1])


MODELS = {f.__name__: cache(f) for f in (residual, two_in_two_out, nested, shared, wide, every_to_every)}


def texts(scene):
    return [shape.text for shape in scene.shapes if isinstance(shape, Text)]


def as_boxes(model, expand_nested=False, **options):
    return boxes.draw(drawing_of(model, expand_nested), "", boxes.Options(**options))


def as_neurons(model, **options):
    return neurons.draw(neurons.columns_of(model), "", neurons.Options(**options))


# ---- neurons


def test_a_chain_of_dense_layers_is_columns_of_neurons():
    scene = as_neurons(chain(layers.Dense(5, activation="relu"), layers.Dense(3, activation="softmax")))
    assert len([s for s in scene.shapes if isinstance(s, Circle)]) == 4 + 5 + 3
    assert [len(s.pairs) for s in scene.shapes if isinstance(s, Lines)] == [4 * 5, 5 * 3]
    found = texts(scene)
    for word in ("Input", "Hidden", "Output", "4", "5", "3", "ReLU", "softmax"):
        assert word in found


def test_lines_run_between_the_middles_of_neurons_left_to_right():
    scene = as_neurons(chain(layers.Dense(3), layers.Dense(2)))
    middles = {(s.x, s.y) for s in scene.shapes if isinstance(s, Circle)}
    for lines in (s for s in scene.shapes if isinstance(s, Lines)):
        for start, end in lines.pairs:
            assert start in middles
            assert end in middles
            assert start[0] < end[0]


def test_a_wide_layer_is_shortened_by_dots_and_its_ends_are_numbered():
    scene = as_neurons(chain(layers.Dense(300), layers.Dense(10), shape=(784,)))
    circles = [s for s in scene.shapes if isinstance(s, Circle)]
    assert len([c for c in circles if c.radius > 5]) == 3 * 6
    assert len([c for c in circles if c.radius < 5]) == 3 * 3
    subscripts = [s.below for s in scene.shapes if isinstance(s, Text) and s.text == "x"]
    assert subscripts == ["1", "2", "3", "782", "783", "784"]


def test_columns_of_any_size_are_centred_on_one_height():
    scene = as_neurons(chain(layers.Dense(1), layers.Dense(500), layers.Dense(9)))
    columns = {}
    for circle in (s for s in scene.shapes if isinstance(s, Circle)):
        columns.setdefault(circle.x, []).append(circle.y)
    middles = [sum(ys) / len(ys) for ys in columns.values()]
    assert max(middles) - min(middles) < 1e-6


def test_layers_between_are_words_under_the_column():
    model = chain(
        layers.Flatten(), layers.Dense(4), layers.Activation("relu"), layers.BatchNormalization(), layers.Dropout(0.25),
        layers.Dense(2), shape=(28, 28),
    )  # fmt: skip
    columns = neurons.columns_of(model)
    assert [(c.size, c.activation, c.extras) for c in columns] == [
        (784, None, ()), (4, "ReLU", ("BatchNorm", "Dropout 0.25")), (2, None, ()),
    ]  # fmt: skip
    assert "784 = 28×28" in texts(as_neurons(model))


def test_more_is_said_when_asked():
    model = chain(layers.Dense(5, name="first"), layers.Dense(3, use_bias=False))
    model.layers[1].trainable = False
    plain, full = (
        texts(as_neurons(model)),
        texts(as_neurons(model, shapes=True, dtype=True, names=True, trainable=True)),
    )
    for word in ("W: 4 × 5", "b: 5", "W: 5 × 3", "first", "float32", "trainable", "frozen"):
        assert word in full
        assert word not in plain
    assert "b: 3" not in full


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (residual, "more than a chain"),
        (shared, None),
        (lambda: chain(layers.Reshape((2, 2)), layers.Dense(2)), "Reshape"),
        (lambda: chain(layers.Dropout(0.5)), "no fully connected layer"),
        (two_in_two_out, "more than a chain"),
        (lambda: models.Model(i := layers.Input((4,)), layers.Dense(3)(i) * 2.0), "Multiply"),
        (lambda: chain(layers.Dense(2), shape=(None, 4)), "size of its input"),
    ],
)
def test_what_is_no_chain_of_dense_layers_says_so(make, words):
    found = neurons.columns_of(make())
    assert words in found if words else len(found) == 3


# ---- boxes


def rectangles(scene):
    """Return the whole boxes of layers, without their headings and the frames of models inside."""
    found = [s for s in scene.shapes if isinstance(s, Box) and s.stroke and not s.dashed and not s.top_only]
    assert found
    return found


def overlap(a, b):
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def inside(box, point, slack=0.5):
    x, y = point
    return box.x + slack < x < box.x + box.width - slack and box.y + slack < y < box.y + box.height - slack


OPTIONS = [
    {}, {"shapes": True, "names": True, "dtype": True, "activations": True, "trainable": True}, {"rankdir": "LR"},
    {"rankdir": "BT"}, {"rankdir": "RL", "shapes": True}, {"splines": "curved"}, {"splines": "polyline"},
]  # fmt: skip


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("expand_nested", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_boxes_never_overlap_and_lie_in_the_picture(make, expand_nested, options):
    scene = as_boxes(make(), expand_nested, **options)
    for a, b in combinations(rectangles(scene), 2):
        assert not overlap(a, b)
    for shape in scene.shapes:
        if isinstance(shape, Box):
            assert shape.x >= 0
            assert shape.y >= 0
            assert shape.x + shape.width <= scene.width
            assert shape.y + shape.height <= scene.height


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("expand_nested", [False, True])
@pytest.mark.parametrize("rankdir", ["TB", "BT", "LR", "RL"])
def test_arrows_touch_boxes_at_their_ends_and_pass_through_none(make, expand_nested, rankdir):
    scene = as_boxes(make(), expand_nested, rankdir=rankdir)
    found = rectangles(scene)
    paths = [s for s in scene.shapes if isinstance(s, Path)]
    assert paths
    for path in paths:
        for end in (path.points[0], path.points[-1]):
            assert any(
                box.x - 1 <= end[0] <= box.x + box.width + 1 and box.y - 1 <= end[1] <= box.y + box.height + 1
                for box in found
            )
        for (x1, y1), (x2, y2) in pairwise(path.points):
            assert abs(x1 - x2) < 1.01 or abs(y1 - y2) < 1.01  # at right angles
            for step in range(1, 20):
                point = (x1 + (x2 - x1) * step / 20, y1 + (y2 - y1) * step / 20)
                assert not any(inside(box, point) for box in found)


@pytest.mark.parametrize(("rankdir", "axis", "sign"), [("TB", 1, 1), ("BT", 1, -1), ("LR", 0, 1), ("RL", 0, -1)])
def test_arrows_point_the_way_that_is_asked_for(rankdir, axis, sign):
    for path in (s for s in as_boxes(residual(), rankdir=rankdir).shapes if isinstance(s, Path)):
        assert (path.points[-1][axis] - path.points[0][axis]) * sign > 0


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_there_is_a_box_for_each_use_and_an_arrow_for_each_pair(make):
    model = make()
    scene = as_boxes(model)
    nodes = model._graph.nodes
    assert len(rectangles(scene)) == len(nodes)
    pairs = {
        (id(t._keras_history.operation._inbound_nodes[t._keras_history.node_index]), id(n))
        for n in nodes
        for t in n.input_tensors
    }
    assert len([s for s in scene.shapes if isinstance(s, Path)]) == len(pairs)


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("options", OPTIONS[:2], ids=["plain", "full"])
def test_texts_fit_into_their_boxes(make, options):
    scene = as_boxes(make(), **options)
    found = rectangles(scene)
    for text in (s for s in scene.shapes if isinstance(s, Text)):
        box = next(b for b in found if inside(b, (text.x, text.y)))
        assert text_width(text.text, text.size, text.bold) <= box.width


def test_a_chain_is_drawn_straight():
    scene = as_boxes(chain(*[layers.Dense(3 + n) for n in range(5)]))
    assert all(
        len(s.points) == 2 and s.points[0][0] == pytest.approx(s.points[1][0])
        for s in scene.shapes
        if isinstance(s, Path)
    )


def test_blocks_that_repeat_are_drawn_alike_one_below_the_other():
    scene = as_boxes(residual(6))
    merges = [box for box, text in zip(rectangles(scene), texts(scene), strict=True) if text == "Add"]
    assert len(merges) == 6
    assert max(box.x for box in merges) - min(box.x for box in merges) < 1e-6


def test_branches_stand_in_the_order_in_which_they_were_made():
    scene = as_boxes(wide())
    places = {text: box.x for box, text in zip(rectangles(scene), texts(scene), strict=True)}
    ordered = [places[f"Dense {n}"] for n in range(2, 11)]
    assert ordered == sorted(ordered)


def test_boxes_say_what_is_asked():
    model = two_in_two_out()
    model.layers[1].trainable = True
    plain = texts(as_boxes(model))
    assert "Dense 1" in plain
    assert "Input 8" in plain
    assert not any("None" in text for text in plain)
    full = texts(as_boxes(model, shapes=True, names=True, dtype=True, activations=True, trainable=True))
    for word in ("(None, 4), (None, 3) → (None, 7)", "price", "float32", "linear", "trainable"):
        assert word in full


def test_a_layer_used_twice_is_two_boxes_that_say_so():
    found = texts(as_boxes(shared()))
    assert "use 1 of 2: the same weights" in found
    assert "use 2 of 2: the same weights" in found


def test_models_inside_may_be_shown_open():
    closed, opened = as_boxes(nested(), names=True), as_boxes(nested(), expand_nested=True)
    assert "block" in texts(closed)
    assert "block (Sequential)" in texts(opened)
    frames = [s for s in opened.shapes if isinstance(s, Box) and s.dashed]
    assert len(frames) == 2
    assert len(rectangles(opened)) == len(rectangles(closed)) - 2 + 3 + 5


def test_a_subclassed_model_is_one_box():
    class Own(models.Model):
        def __init__(self):
            super().__init__(name="own")
            self.dense = layers.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Own()
    model.build((None, 4))
    assert texts(as_boxes(model, names=True, shapes=True)) == ["Own", "own", "(None, 4) → (None, 3)"]


def test_a_thousand_layers_are_drawn():
    assert as_boxes(residual(300)).height > 50_000


# ---- the layout by itself


def laid_out(links, count):
    places = [Place(20, 10, thing=i, order=i) for i in range(count)]
    layout = arrange(places, [(places[a], places[b], a) for a, b in links], 10)
    stack(layout, [20] * (len(layout.layers) - 1))
    return places, layout


def test_layers_follow_the_longest_path():
    places, _ = laid_out([(0, 1), (1, 2), (0, 2), (2, 3)], 4)
    assert [place.layer for place in places] == [0, 1, 2, 3]


def test_an_input_that_is_used_late_stands_near_its_use():
    places, _ = laid_out([(0, 2), (2, 3), (3, 4), (1, 4)], 5)
    assert places[1].layer == places[4].layer - 1


def test_long_arrows_run_straight_beside_the_boxes_they_pass():
    _, layout = laid_out([(0, 1), (1, 2), (2, 3), (3, 4), (0, 4)], 5)
    bends = layout.arrows[-1].bends
    assert len(bends) == 3
    assert max(b.x for b in bends) - min(b.x for b in bends) < 1e-6


def test_arrows_that_start_together_share_their_way():
    _, layout = laid_out([(0, 1), (1, 2), (2, 3), (0, 2), (0, 3)], 4)
    assert layout.arrows[-1].bends[0] is layout.arrows[-2].bends[0]


def test_crossings_that_can_be_avoided_are():
    places, layout = laid_out([(0, 4), (0, 3), (1, 2), (2, 5), (3, 6), (4, 7)], 8)
    row = {place.thing: i for i, place in enumerate(layout.layers[places[2].layer])}
    top = {place.thing: i for i, place in enumerate(layout.layers[0])}
    assert (row[2] < row[3]) == (top[1] < top[0])


# ---- files


def test_svg_is_well_formed_whatever_names_layers_have():
    model = chain(layers.Dense(2, name='a<b>&"c"\x07$x_1$'), layers.Dense(2, name="隐藏层"))
    text = svg.to_svg(as_boxes(model, names=True)._replace(title="a<b>&"))
    root = ET.fromstring(text)
    words = [node.text for node in root.iter(f"{SVG}text")]
    assert 'a<b>&"c"\ufffd$x_1$' in words
    assert "隐藏层" in words
    assert root.find(f"{SVG}title").text == "a<b>&"


def test_svg_is_the_same_each_time(tmp_path):
    model = nested()
    first, second = (plot_model(model, tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second


@pytest.mark.parametrize("make", [residual, lambda: chain(layers.Dense(3, activation="relu"), layers.Dense(2))])
def test_png_has_the_pixels_that_dpi_asks_for(make, tmp_path):
    from matplotlib import image

    model = make()
    path = plot_model(model, tmp_path / "model.png", dpi=72)
    pixels = image.imread(path)
    picture = ET.fromstring(plot_model(model, tmp_path / "model.svg").read_text())
    _, _, width, height = map(float, picture.get("viewBox").split())
    assert abs(pixels.shape[1] - width) <= 1
    assert abs(pixels.shape[0] - height) <= 1
    assert pixels[..., :3].min() < 0.5  # something is drawn
    assert pixels[:3, :, :3].min() == 1.0  # and nothing is cut off at the edges
    assert pixels[:, -3:, :3].min() == 1.0


@pytest.mark.parametrize("make", [residual, two_in_two_out, lambda: chain(layers.Dense(3))])
def test_svg_and_png_hold_the_same_shapes(make, tmp_path):
    """Each box of the SVG has its color at its upper left, where no letter is, in the PNG too."""
    from matplotlib import colors, image

    model = make()
    pixels = image.imread(plot_model(model, tmp_path / "model.png", dpi=144, style="boxes"))
    root = ET.fromstring(plot_model(model, tmp_path / "model.svg", style="boxes").read_text())
    found = [node for node in root.iter(f"{SVG}rect") if node.get("rx")]
    assert found
    for node in found:
        x, y = float(node.get("x")) + 6, float(node.get("y")) + float(node.get("height")) / 2
        wanted = colors.to_rgb(node.get("fill"))
        seen = pixels[round(2 * y), round(2 * x), :3]
        assert max(abs(a - b) for a, b in zip(seen, wanted, strict=True)) < 0.02


def test_pdf_is_written(tmp_path):
    assert plot_model(residual(), tmp_path / "model.pdf").read_bytes().startswith(b"%PDF")


def test_the_path_comes_back_and_a_notebook_shows_the_picture(tmp_path):
    path = plot_model(chain(layers.Dense(2)), str(tmp_path / "model.svg"))
    assert path == tmp_path / "model.svg"
    assert path._repr_mimebundle_()["image/svg+xml"].startswith("<svg")
    assert set(plot_model(chain(layers.Dense(2)), tmp_path / "m.png", dpi=50)._repr_mimebundle_()) == {"image/png"}


def test_the_style_is_chosen_or_given(tmp_path):
    def circles(model, **kwargs):
        return plot_model(model, tmp_path / "m.svg", **kwargs).read_text().count("<circle")

    small, long = chain(layers.Dense(2)), chain(*[layers.Dense(2) for _ in range(12)])
    assert circles(small) == 6
    assert circles(small, style="boxes") == 0
    assert circles(long) == 0
    assert circles(long, style="neurons") == 4 + 12 * 2
    assert circles(residual()) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"to_file": "model.gif"}, r"\.svg"),
        ({"to_file": "model"}, r"model\.svg"),
        ({"rankdir": "UP"}, "rankdir"),
        ({"splines": "curly"}, "curved"),
        ({"style": "neuron"}, "neurons"),
        ({"show_shape": True}, "show_shapes"),
        ({"layer_range": ["a", "b"]}, "no longer supported"),
        ({"to_file": "model.png", "dpi": 0}, "dpi"),
        ({"to_file": "model.png", "dpi": 1e6}, "pixels long"),
    ],
)
def test_what_cannot_be_used_is_refused_and_nothing_is_written(arguments, words, tmp_path):
    to_file = tmp_path / arguments.pop("to_file", "model.svg")
    with pytest.raises(ValueError, match=words):
        plot_model(chain(layers.Dense(2)), to_file, **arguments)
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_not_built_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"not yet been built.*\n.*build"):
        plot_model(models.Sequential([layers.Dense(2)]), tmp_path / "m.svg")


def test_neurons_that_cannot_be_drawn_are_refused(tmp_path):
    with pytest.raises(ValueError, match="more than a chain"):
        plot_model(residual(), tmp_path / "m.svg", style="neurons")


def test_what_is_no_model_is_refused(tmp_path):
    with pytest.raises(TypeError, match="A model is needed"):
        plot_model(layers.Dense(2), tmp_path / "m.svg")


def test_a_missing_folder_is_said(tmp_path):
    with pytest.raises(FileNotFoundError):
        plot_model(chain(layers.Dense(2)), tmp_path / "none" / "m.svg")


def test_without_matplotlib_svg_works_and_png_says_what_to_do(tmp_path):
    script = textwrap.dedent("""
        import sys
        sys.modules["matplotlib"] = None
        from lamina import layers, models
        from lamina.models.plot import plot_model
        model = models.Sequential([layers.Input((2,)), layers.Dense(2)])
        plot_model(model, "m.svg")
        try:
            plot_model(model, "m.png")
        except ImportError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "lamina[plot]" in done.stdout
    assert ".svg" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["m.svg"]


def test_the_head_of_an_arrow_points_along_its_last_piece():
    (tip, left, right), base = arrow_head(Path([(0, 0), (0, 10), (20, 10)]))
    assert tip == (20, 10)
    assert base[0] < 20
    assert base[1] == pytest.approx(10)
    assert math.dist(tip, left) == pytest.approx(math.dist(tip, right))
