"""Functions that treat each element alone, under Keras's names."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lamina.errors import InvalidTypeError, invalid, message
from lamina.ops.basics import as_floats, finfo, iinfo
from lamina.ops.define import CORE, MATH, NUMPY, bits, pair, plain, single, type_name
from lamina.ops.dispatch import operation

angle = single("angle", jnp.angle, "the angle of each complex number", floats=True)
arccos = single("arccos", jnp.arccos, "the angle whose cosine each element is", floats=True)
arccosh = single("arccosh", jnp.arccosh, "the inverse hyperbolic cosine", floats=True)
arcsin = single("arcsin", jnp.arcsin, "the angle whose sine each element is", floats=True)
arcsinh = single("arcsinh", jnp.arcsinh, "the inverse hyperbolic sine", floats=True)
arctan = single("arctan", jnp.arctan, "the angle whose tangent each element is", floats=True)
arctanh = single("arctanh", jnp.arctanh, "the inverse hyperbolic tangent", floats=True)
cbrt = single("cbrt", jnp.cbrt, "the cube root of each element")
ceil = single("ceil", jnp.ceil, "each element rounded up, as a float", floats=True)
conjugate = single("conjugate", jnp.conjugate, "the complex conjugate of each element")
copy = single("copy", jnp.copy, "a copy of the array")
cos = single("cos", jnp.cos, "the cosine of each element", floats=True)
cosh = single("cosh", jnp.cosh, "the hyperbolic cosine of each element", floats=True)
deg2rad = single("deg2rad", jnp.deg2rad, "degrees as radians")
erf = single("erf", jax.lax.erf, "the error function of each element", floats=True, module=MATH)
erfc = single("erfc", jax.lax.erfc, "`1 - erf(x)`, precise for large `x`", floats=True, module=MATH)
erfinv = single("erfinv", jax.lax.erf_inv, "the inverse of the error function", floats=True, module=MATH)
exp = single("exp", jnp.exp, "e to the power of each element", floats=True)
exp2 = single("exp2", jnp.exp2, "2 to the power of each element", floats=True)
expm1 = single("expm1", jnp.expm1, "`exp(x) - 1`, precise for small `x`", floats=True)
floor = single("floor", jnp.floor, "each element rounded down, as a float", floats=True)
i0 = single("i0", jnp.i0, "the modified Bessel function of order 0", floats=True)
imag = single("imag", jnp.imag, "the imaginary part of each element")
isfinite = single("isfinite", jnp.isfinite, "where an element is neither infinite nor NaN")
isinf = single("isinf", jnp.isinf, "where an element is infinite")
isnan = single("isnan", jnp.isnan, "where an element is NaN")
isneginf = single("isneginf", jnp.isneginf, "where an element is minus infinity")
isposinf = single("isposinf", jnp.isposinf, "where an element is plus infinity")
isreal = single("isreal", jnp.isreal, "where an element has no imaginary part")
log = single("log", jnp.log, "the natural logarithm of each element", floats=True)
log10 = single("log10", jnp.log10, "the logarithm to base 10", floats=True)
log1p = single("log1p", jnp.log1p, "`log(1 + x)`, precise for small `x`", floats=True)
log2 = single("log2", jnp.log2, "the logarithm to base 2", floats=True)
rad2deg = single("rad2deg", jnp.rad2deg, "radians as degrees")
real = single("real", jnp.real, "the real part of each element")
reciprocal = single("reciprocal", jnp.reciprocal, "`1 / x`", floats=True)
rsqrt = single("rsqrt", jax.lax.rsqrt, "`1 / sqrt(x)`", floats=True, module=MATH)
sign = single("sign", jnp.sign, "-1, 0 or 1 for each element")
signbit = single("signbit", jnp.signbit, "where the sign bit is set: also for -0.0")
sin = single("sin", jnp.sin, "the sine of each element", floats=True)
sinc = single("sinc", jnp.sinc, "`sin(pi * x) / (pi * x)`, 1 at 0", floats=True)
sinh = single("sinh", jnp.sinh, "the hyperbolic sine of each element", floats=True)
sqrt = single("sqrt", jnp.sqrt, "the square root of each element", floats=True)
square = single("square", jnp.square, "`x * x`")
tan = single("tan", jnp.tan, "the tangent of each element", floats=True)
tanh = single("tanh", jnp.tanh, "the hyperbolic tangent of each element", floats=True)

bitwise_invert = single("bitwise_invert", jnp.invert, "each bit the other way round")
bitwise_not = single("bitwise_not", jnp.invert, "each bit the other way round")
bitwise_and = bits("bitwise_and", jnp.bitwise_and, "the bits that both have")
bitwise_or = bits("bitwise_or", jnp.bitwise_or, "the bits that at least one has")
bitwise_xor = bits("bitwise_xor", jnp.bitwise_xor, "the bits that exactly one has")
bitwise_left_shift = bits("bitwise_left_shift", jnp.left_shift, "`x << y`")
bitwise_right_shift = bits("bitwise_right_shift", jnp.right_shift, "`x >> y`")
left_shift = bits("left_shift", jnp.left_shift, "`x << y`")
right_shift = bits("right_shift", jnp.right_shift, "`x >> y`")

arctan2 = pair("arctan2", jnp.arctan2, "the angle of the point `(x2, x1)`, from -pi to pi", floats=True)
fmax = pair("fmax", jnp.fmax, "the larger of two elements; the other one if one is NaN")
fmin = pair("fmin", jnp.fmin, "the smaller of two elements; the other one if one is NaN")
fmod = pair("fmod", jnp.fmod, "the rest of `x1 / x2` rounded to 0, with the sign of `x1`")
gcd = pair("gcd", jnp.gcd, "the greatest common divisor")
heaviside = pair("heaviside", jnp.heaviside, "0 for negative `x1`, 1 for positive, `x2` at 0")
hypot = pair("hypot", jnp.hypot, "`sqrt(x1 ** 2 + x2 ** 2)`, without overflow")
lcm = pair("lcm", jnp.lcm, "the least common multiple")
logaddexp = pair("logaddexp", jnp.logaddexp, "`log(exp(x1) + exp(x2))`, without overflow", floats=True)
logaddexp2 = pair("logaddexp2", jnp.logaddexp2, "`log2(2 ** x1 + 2 ** x2)`, without overflow", floats=True)
nextafter = pair("nextafter", jnp.nextafter, "the number next to `x1` on the way to `x2`")


@operation(NUMPY)
def fabs(x: Any) -> Any:
    """Return the absolute value of each element, as a float.

    Raises:
        InvalidTypeError: If the numbers are complex.
    """
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        raise InvalidTypeError(message("fabs does not support complex inputs.", received=f"x.dtype={x.dtype}"))
    return jnp.fabs(x)


@operation(NUMPY)
def trunc(x: Any) -> Any:
    """Return each element without what is behind the point; integers stay as they are."""
    x = jnp.asarray(x)
    return jnp.trunc(x) if jnp.issubdtype(x.dtype, jnp.inexact) else x


@operation(NUMPY)
def round(x: Any, decimals: int = 0) -> Any:
    """Return each element rounded to so many decimals, halves to even; -1 rounds to tens."""
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.integer) and decimals < 0:
        unit = math.pow(10, decimals)
        return (jnp.round(as_floats(x) * unit) / unit).astype(x.dtype)
    return jnp.round(x, decimals)


@operation(NUMPY)
def clip(x: Any, x_min: Any, x_max: Any) -> Any:
    """Return each element, but at least `x_min` and at most `x_max`."""
    x = jnp.asarray(x)
    if x.dtype == jnp.bool_:
        x = x.astype(jnp.int32)
    return jnp.clip(x, None if x_min is None else plain(x_min), None if x_max is None else plain(x_max))


@operation(NUMPY)
def isclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Return where two arrays differ by no more than `atol + rtol * abs(x2)`."""
    return jnp.isclose(jnp.asarray(x1), jnp.asarray(x2), rtol, atol, equal_nan)


@operation(NUMPY)
def nan_to_num(x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """Return each element, with numbers in place of NaN and infinity, by default 0 and the largest there are."""
    return jnp.nan_to_num(jnp.asarray(x), nan=nan, posinf=posinf, neginf=neginf)


@operation(NUMPY)
def divide_no_nan(x1: Any, x2: Any) -> Any:
    """Return `x1 / x2`, and 0 where `x2` is 0."""
    x1, x2 = jnp.asarray(x1), jnp.asarray(x2)
    return jnp.where(x2 == 0, 0, jnp.divide(x1, jnp.where(x2 == 0, 1, x2)))


@operation(NUMPY)
def ldexp(x1: Any, x2: Any) -> Any:
    """Return `x1 * 2 ** x2`.

    Raises:
        InvalidTypeError: If `x2` is not of an integer type.
    """
    x1, x2 = jnp.asarray(x1), jnp.asarray(x2)
    if not jnp.issubdtype(x2.dtype, jnp.integer):
        raise InvalidTypeError(message("ldexp exponent must be an integer type.", received=f"x2 dtype={x2.dtype}"))
    return jnp.ldexp(x1, x2)


@operation(NUMPY)
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """Return elements of `x1` where `condition` holds, of `x2` elsewhere; with the condition alone, its places.

    Raises:
        InvalidArgumentError: If only one of `x1` and `x2` is given.
    """
    if (x1 is None) != (x2 is None):
        raise invalid("`x1` and `x2` either both should be `None` or both should have non-None value.")
    if x1 is None:
        return jnp.where(jnp.asarray(condition))
    return jnp.where(jnp.asarray(condition), plain(x1), plain(x2))


@operation(NUMPY)
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Any:
    """Return, at each place, the element of the first choice whose condition holds there, or `default`.

    Raises:
        InvalidArgumentError: If the conditions or choices are no lists, or empty.
    """
    if not isinstance(condlist, list | tuple) or not isinstance(choicelist, list | tuple):
        given = f"type(condlist) = {type(condlist)}, type(choicelist) = {type(choicelist)}"
        raise invalid("condlist and choicelist must be lists.", received=given)
    if not condlist or not choicelist:
        given = f"condlist = {condlist}, choicelist = {choicelist}"
        raise invalid("condlist and choicelist must not be empty.", received=given)
    return jnp.select([jnp.asarray(c) for c in condlist], [jnp.asarray(c) for c in choicelist], plain(default))


@operation(CORE)
def cast(x: Any, dtype: Any) -> Any:
    """Return `x` in another type. Floats lose what is behind the point on the way to integers."""
    return jnp.asarray(x).astype(type_name(dtype))


@operation(CORE, "SaturateCast")
def saturate_cast(x: Any, dtype: Any) -> Any:
    """Return `x` in another type; what does not fit becomes the nearest number that does."""
    x, dtype = jnp.asarray(x), jnp.dtype(type_name(dtype))
    low, high = _limits(dtype)
    own_low, own_high = _limits(x.dtype)
    least, most = x.dtype.type(max(low, own_low)), x.dtype.type(min(high, own_high))
    if int(least) < low:
        least = np.nextafter(least, x.dtype.type(0))
    if int(most) > high:  # the nearest float may lie beyond the largest integer
        most = np.nextafter(most, x.dtype.type(0))
    return jnp.clip(x, least, most).astype(dtype)


def _limits(dtype: Any) -> tuple[Any, Any]:
    if dtype == jnp.bool_:
        return 0, 1
    info: Any = iinfo(dtype) if jnp.issubdtype(dtype, jnp.integer) else finfo(dtype)
    whole = isinstance(info.min, int)
    return (info.min, info.max) if whole else (int(info.min), int(info.max))


@operation(CORE, "StopGradient")
def stop_gradient(variable: Any) -> Any:
    """Return the value; derivatives take it for a constant."""
    return jax.lax.stop_gradient(jnp.asarray(variable))


conj = conjugate
