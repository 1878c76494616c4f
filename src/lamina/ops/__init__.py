"""Pure functions of arrays; on stand-ins they record themselves. Under Keras's names, each imported at first use."""

import importlib
from typing import Any

# Where each name is. What has other arguments as an activation is in `ops.nn` in the form that it has as an operation.
_HOMES = {
    "activations": """
        celu elu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh leaky_relu log_sigmoid log_softmax relu6
        selu sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid sparsemax squareplus swish
        tanh_shrink threshold
    """,
    "ops.arithmetic": """
        absolute add divide equal floor_divide get_item greater greater_equal less less_equal logical_and logical_not
        logical_or logical_xor matmul maximum minimum mod multiply negative not_equal power reshape squeeze subtract
        true_divide
    """,
    "ops.elementwise": """
        angle arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and bitwise_invert bitwise_left_shift
        bitwise_not bitwise_or bitwise_right_shift bitwise_xor cast cbrt ceil clip conj conjugate copy cos cosh deg2rad
        divide_no_nan erf erfc erfinv exp exp2 expm1 fabs floor fmax fmin fmod gcd heaviside hypot i0 imag isclose
        isfinite isinf isnan isneginf isposinf isreal lcm ldexp left_shift log log10 log1p log2 logaddexp logaddexp2
        nan_to_num nextafter rad2deg real reciprocal right_shift round rsqrt saturate_cast select sign signbit sin sinc
        sinh sqrt square stop_gradient tan tanh trunc where
    """,
    "ops.reductions": """
        all allclose amax amin any argmax argmin average count_nonzero cumprod cumsum logsumexp max mean median min
        nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin nanpercentile nanprod nanquantile
        nanstd nansum nanvar percentile prod ptp quantile std sum var
    """,
    "ops.shaping": """
        append array_split broadcast_to concatenate diag diagflat diagonal dsplit dstack expand_dims flip fliplr flipud
        hsplit hstack moveaxis pad ravel repeat roll rot90 split stack swapaxes tile trace transpose tril triu unstack
        vsplit vstack
    """,
    "ops.products": """
        correlate cross dot einsum inner kron outer tensordot vdot
    """,
    "ops.indexing": """
        argpartition argsort bincount corrcoef diff digitize histogram in_top_k isin nonzero scatter scatter_update
        searchsorted segment_max segment_min segment_prod segment_sum slice slice_update sort take take_along_axis top_k
        trapezoid unique unravel_index vander
    """,
    "ops.creation": """
        arange array bartlett blackman convert_to_numpy convert_to_tensor dtype empty empty_like eye full full_like
        geomspace hamming hanning identity is_tensor kaiser linspace logspace meshgrid ndim ones ones_like shape size
        tri view zeros zeros_like
    """,
    "ops.linalg": """
        cdist cholesky cholesky_inverse det eig eigh inv jvp logdet lstsq lu_factor matrix_rank norm pinv qr slogdet
        solve solve_triangular svd
    """,
    "ops.rearranging": """
        rearrange
    """,
    "ops.control": """
        associative_scan cond custom_gradient fori_loop map scan switch vectorize vectorized_map while_loop
    """,
    "ops.nn": """
        batch_normalization binary_crossentropy categorical_crossentropy gelu layer_normalization moments multi_hot
        normalize one_hot psnr relu rms_normalization sparse_categorical_crossentropy
    """,
}

_PLACES = {name: home for home, names in _HOMES.items() for name in names.split()} | {"abs": "ops.arithmetic"}
_MODULES = ("linalg", "nn", "numpy")

# Names of Keras that are not here, and what JAX has instead: convolutions, images and signals are no dense networks.
_INSTEAD = {
    "adaptive_average_pool": "jax.image.resize",
    "adaptive_max_pool": "jax.lax.reduce_window",
    "average_pool": "jax.lax.reduce_window",
    "conv": "jax.lax.conv_general_dilated",
    "conv_transpose": "jax.lax.conv_transpose",
    "ctc_decode": "jax.lax.scan",
    "ctc_loss": "optax.ctc_loss",
    "depth_to_space": "jax.numpy.reshape",
    "depthwise_conv": "jax.lax.conv_general_dilated",
    "dot_product_attention": "jax.nn.dot_product_attention",
    "extract_sequences": "jax.lax.conv_general_dilated_patches",
    "fft": "jax.numpy.fft.fft",
    "fft2": "jax.numpy.fft.fft2",
    "fold": "jax.lax.conv_transpose",
    "ifft2": "jax.numpy.fft.ifft2",
    "image": "jax.image",
    "irfft": "jax.numpy.fft.irfft",
    "istft": "jax.scipy.signal.istft",
    "max_pool": "jax.lax.reduce_window",
    "polar": "jax.lax.complex",
    "rfft": "jax.numpy.fft.rfft",
    "separable_conv": "jax.lax.conv_general_dilated",
    "space_to_depth": "jax.numpy.reshape",
    "stft": "jax.scipy.signal.stft",
    "unfold": "jax.lax.conv_general_dilated_patches",
    "view_as_complex": "jax.lax.complex",
    "view_as_real": "jax.numpy.real",
}

__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"lamina.ops.{name}")
    if name in _INSTEAD:
        raise _absent(name)
    if name not in _PLACES:
        raise AttributeError(_unknown(name))
    found = getattr(importlib.import_module(f"lamina.{_PLACES[name]}"), "absolute" if name == "abs" else name)
    globals()[name] = found
    return found


def _absent(name: str) -> AttributeError:
    from lamina.errors import AbsentNameError

    return AbsentNameError(
        f"module 'lamina.ops' has no attribute {name!r}. Keras has it, lamina does not.\nTo fix it: use "
        f"`{_INSTEAD[name]}` in the `call` of a layer.",
        name=name,
    )


def _unknown(name: str) -> str:
    problem = f"module 'lamina.ops' has no attribute {name!r}."
    if name.startswith("_"):
        return problem
    from lamina.errors import did_you_mean

    return f"{problem} {did_you_mean(name, __all__)}"


def __dir__() -> list[str]:
    return [*__all__, *_MODULES]


def names(*homes: str) -> list[str]:
    """Return the names of the operations that are at home in these modules."""
    return sorted(name for home in homes for name in _HOMES[home].split())


def load() -> None:
    """Import every operation, so that the table of those that a file may name is full."""
    for home in _HOMES:
        importlib.import_module(f"lamina.{home}")
