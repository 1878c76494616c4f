"""Linear algebra under Keras's names. Leading axes are a batch of matrices."""

from typing import Any

import jax
import jax.numpy as jnp

from lamina._types import Array
from lamina.errors import invalid
from lamina.ops.basics import as_floats
from lamina.ops.define import LINALG, MATH, NUMPY, Axis, Function, axes, named
from lamina.ops.dispatch import operation


def _matrices(x: Any) -> Any:
    x = jnp.asarray(x)
    if x.ndim < 2:
        raise invalid("Expected input to have rank >= 2.", received=f"input with shape {x.shape}.")
    return x


def _square(x: Any) -> Any:
    x = _matrices(x)
    if x.shape[-1] != x.shape[-2]:
        raise invalid("Expected a square matrix.", received=f"non-square input with shape {x.shape}")
    return x


def _of_square(name: str, function: Function, returns: str, module: str = LINALG) -> Function:
    def compute(x: Any) -> Any:
        found = function(_square(x))
        return tuple(found) if isinstance(found, tuple) else found

    return operation(module)(named(compute, name, f"{returns}. Shapes: x `(..., n, n)`"))


det = _of_square("det", jnp.linalg.det, "the determinant of square matrices")
eig = _of_square("eig", jnp.linalg.eig, "eigenvalues and eigenvectors of square matrices, complex; on a CPU only")
eigh = _of_square("eigh", jnp.linalg.eigh, "eigenvalues and eigenvectors of symmetric matrices")
inv = _of_square("inv", jnp.linalg.inv, "the inverse of square matrices")
slogdet = _of_square("slogdet", jnp.linalg.slogdet, "sign and logarithm of the determinant", NUMPY)
logdet = _of_square("logdet", lambda x: jnp.linalg.slogdet(x)[1], "the logarithm of the determinant's size", MATH)


@operation(LINALG)
def cholesky(x: Any, upper: bool = False) -> Any:
    """Return the triangular matrices whose product with their own transpose is `x`.

    Shapes: x and result `(..., n, n)`.

    Raises:
        InvalidArgumentError: If a matrix is not positive definite. Inside a compiled step the result is NaN then.
    """
    factor = jnp.linalg.cholesky(_square(x), upper=upper)
    if not isinstance(factor, jax.core.Tracer) and bool(jnp.isnan(factor).any()):
        raise invalid(
            "Cholesky decomposition failed. The input might not be a valid positive definite matrix.",
            fix="add a small number to its diagonal if it is a covariance matrix.",
        )
    return factor


@operation(LINALG)
def cholesky_inverse(x: Any, upper: bool = False) -> Any:
    """Return the inverse of the matrices whose Cholesky factors `x` are. Shapes: x and result `(..., n, n)`."""
    x = _square(x)
    whole = jnp.broadcast_to(jnp.eye(x.shape[-1], dtype=x.dtype), x.shape)
    inverse = jax.scipy.linalg.solve_triangular(x, whole, lower=not upper)
    turned = jnp.swapaxes(inverse, -1, -2)
    return jnp.matmul(inverse, turned) if upper else jnp.matmul(turned, inverse)


@operation(LINALG)
def lu_factor(x: Any) -> Any:
    """Return the LU decomposition: L below and U on and above the diagonal, and the exchanges of rows.

    Shapes: x `(..., m, n)`; results `(..., m, n)` and `(..., min(m, n))`.
    """
    x = _matrices(x)
    factor: Function = jax.scipy.linalg.lu_factor
    for _ in range(x.ndim - 2):
        factor = jax.vmap(factor)
    return tuple(factor(x))


@operation(LINALG)
def norm(x: Any, ord: Any = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return the norm of vectors (one axis) or matrices (two), by default the Euclidean one.

    Args:
        x: The array; integers become floats.
        ord: Which norm: of vectors a number or infinity, of matrices also 'fro' and 'nuc'.
        axis: One axis or two. None: of all elements in a row, unless `ord` is given.
        keepdims: Whether the axes stay, with size 1.
    """
    return jnp.linalg.norm(as_floats(x), ord, axes(axis), keepdims)


@operation(LINALG)
def qr(x: Any, mode: str = "reduced") -> Any:
    """Return orthonormal columns Q and an upper triangle R with `Q @ R = x`.

    Args:
        x: Matrices, shape `(..., m, n)`.
        mode: 'reduced' for `min(m, n)` columns of Q, 'complete' for `m`.

    Raises:
        InvalidArgumentError: If there is no such mode.
    """
    if mode not in ("reduced", "complete"):
        problem = "`mode` argument value not supported. Expected one of {'reduced', 'complete'}."
        raise invalid(problem, received=f"mode={mode}")
    return tuple(jnp.linalg.qr(_matrices(x), mode=mode))


def _right_sides(a: Any, b: Any) -> tuple[Array, Array]:
    a, b = _square(a), jnp.asarray(b)
    if b.ndim < 1:
        raise invalid("Expected input to have rank >= 1.", received=f"scalar input {b}.")
    vectors = a.ndim == b.ndim + 1
    if (vectors and a.shape[-1] != b.shape[-1]) or (a.ndim == b.ndim and a.shape[-2] != b.shape[-2]):
        expected = "Expected `a.shape[-1] == b.shape[-1]`" if vectors else "Expected `a.shape[-2] == b.shape[-2]`"
        problem = f"Incompatible shapes between `a` and `b`. {expected}."
        raise invalid(problem, received=f"a.shape={a.shape}, b.shape={b.shape}")
    return a, b


@operation(LINALG)
def solve(a: Any, b: Any) -> Any:
    """Return `x` with `a @ x = b`. Shapes: a `(..., n, n)`, b and result `(..., n)` or `(..., n, k)`."""
    a, b = _right_sides(a, b)
    if a.ndim == b.ndim + 1 and b.ndim > 1:
        return jnp.linalg.solve(a, b[..., None])[..., 0]
    return jnp.linalg.solve(a, b)


@operation(LINALG)
def solve_triangular(a: Any, b: Any, lower: bool = False) -> Any:
    """Return `x` with `a @ x = b` for triangular `a`. Shapes: those of `solve`."""
    a, b = _right_sides(a, b)
    if a.ndim == b.ndim + 1 and b.ndim > 1:
        return jax.scipy.linalg.solve_triangular(a, b[..., None], lower=lower)[..., 0]
    return jax.scipy.linalg.solve_triangular(a, b, lower=lower)


@operation(LINALG, "SVD")
def svd(x: Any, full_matrices: bool = True, compute_uv: bool = True) -> Any:
    """Return U, the singular values and V transposed, with `U @ diag(s) @ V^T = x`; or the values alone.

    Args:
        x: Matrices, shape `(..., m, n)`.
        full_matrices: Whether U and V are square; otherwise they have `min(m, n)` columns and rows.
        compute_uv: Whether U and V are returned at all.
    """
    found = jnp.linalg.svd(_matrices(x), full_matrices=full_matrices, compute_uv=compute_uv)
    return tuple(found) if compute_uv else found


@operation(LINALG)
def lstsq(a: Any, b: Any, rcond: float | None = None) -> Any:
    """Return the `x` for which `a @ x` is nearest to `b`.

    Args:
        a: Matrix `(m, n)`.
        b: `(m,)` or `(m, k)`.
        rcond: Singular values below this share of the largest count as 0.
    """
    return jnp.linalg.lstsq(jnp.asarray(a), jnp.asarray(b), rcond)[0]


@operation(LINALG)
def matrix_rank(x: Any, tol: float | None = None) -> Any:
    """Return how many singular values of matrices exceed `tol`, int32."""
    return jnp.linalg.matrix_rank(_matrices(x), tol).astype(jnp.int32)


@operation(LINALG)
def pinv(x: Any, rcond: float | None = None) -> Any:
    """Return the pseudo-inverse of matrices. Shapes: x `(..., m, n)`, result `(..., n, m)`."""
    return jnp.linalg.pinv(_matrices(x), rcond)


@operation(LINALG, "JVP")
def jvp(fun: Function, primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """Return `fun(*primals)` and its derivative in the direction of `tangents`.

    Args:
        fun: A function of arrays.
        primals: Where: a tuple of arrays.
        tangents: The direction: a tuple of arrays of the same shapes.
        has_aux: Whether `fun` returns a second value, which is passed through.
    """
    return jax.jvp(fun, tuple(primals), tuple(tangents), has_aux=has_aux)


@operation(MATH, "CDist")
def cdist(x: Any, y: Any) -> Any:
    """Return the Euclidean distance of each row of `x` and each of `y`.

    Shapes: x `(..., m, k)`, y `(..., n, k)`, result `(..., m, n)`.
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    if x.ndim < 2 or y.ndim < 2:
        raise invalid("`cdist` inputs must have rank >= 2", received=f"x.shape={x.shape}, y.shape={y.shape}")
    if x.shape[-1] != y.shape[-1]:
        problem = "Last dimension of inputs to `cdist` must match"
        raise invalid(problem, received=f"x.shape={x.shape}, y.shape={y.shape}")
    return jnp.sqrt(jnp.sum(jnp.square(x[..., :, None, :] - y[..., None, :, :]), -1))
