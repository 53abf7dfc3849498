"""Vectors of 512 bits as a numba type: 16 float32 or 8 float64 lanes, with exactly rounded
operations.

Numba's loops are vectorised when LLVM sees fit, at 256 bits on most AVX-512 machines and in an
order of operations that can change with the code around them. The kernels need neither: they spell
out vectors, every operation is one IEEE operation per lane (``fma`` is fused, ``+ - * /`` are not),
nothing is reassociated, and so two kernels that do the same operations in the same order return the
same bits. On a machine with narrower registers LLVM splits a vector into several, which changes the
speed and no bit.

Only what the kernels use is here. All functions are for use inside ``numba.njit`` code.

:func:`fma`, :func:`greater`, :func:`maximum`, :func:`minimum`, :func:`select`, :func:`unequal`,
:func:`full` and the operators take scalars of a float type as well as vectors. With :func:`take`
and :func:`put` one source describes a network alone (scalars) and a network per lane (vectors).
"""

from __future__ import annotations

import operator
from functools import cache
from typing import Any

from llvmlite import binding, ir
from numba import njit, types
from numba.core import cgutils
from numba.core.datamodel import PrimitiveModel
from numba.extending import intrinsic, overload, register_model

from ghostpoint.numerics.compiled_code import distinct

BITS = 512
I32 = ir.IntType(32)


class Vector(types.Type):
    """The numba type of ``512 / bits`` lanes of one float type."""

    def __init__(self, element: types.Float):
        self.element = element
        self.lanes = BITS // element.bitwidth
        super().__init__(name=f"Vector({element}, {self.lanes})")

    @property
    def llvm(self) -> ir.VectorType:
        """The LLVM type."""
        return ir.VectorType(_scalar(self.element), self.lanes)


F32 = Vector(types.float32)
F64 = Vector(types.float64)


def _scalar(element: types.Float) -> ir.Type:
    return ir.FloatType() if element == types.float32 else ir.DoubleType()


def _of(element: types.Float) -> Vector:
    return F32 if element == types.float32 else F64


def _constant_indices(indices: list[int]) -> ir.Constant:
    return ir.Constant(ir.VectorType(I32, len(indices)), indices)


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, frontend: Vector):
        super().__init__(manager, frontend, frontend.llvm)


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """The address of the first element of an array, or of what :func:`pointer` gave."""
    return array if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, array).data


def _address(context: Any, builder: Any, array_type: Any, array: Any, index: Any, vector: Vector) -> Any:
    data = _data(context, builder, array_type, array)
    return builder.bitcast(builder.gep(data, [index]), vector.llvm.as_pointer())


@intrinsic
def pointer(typingctx: Any, array: Any, index: Any) -> Any:
    """The place of ``array[index]``, to use like the array that begins there while ``array`` lives.

    Numba counts references to an array whenever a function takes it, with atomic operations; it
    counts none to this.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # a bare address: no reference is counted, no bound is checked
        index = context.cast(builder, args[1], signature.args[1], types.intp)
        return builder.gep(_data(context, builder, signature.args[0], args[0]), [index])

    return types.CPointer(array.dtype)(array, index), generate


@intrinsic
def not_inlined(typingctx: Any) -> Any:
    """Keep LLVM from copying the function that this is called in into its callers: compiled once,
    not at every call.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # an attribute of the function that is being built, not of a call
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """The vector at ``array[index : index + lanes]``; ``array`` is flat and contiguous. No bounds
    are checked.
    """
    vector = _of(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        index = context.cast(builder, args[1], signature.args[1], types.intp)
        value = builder.load(_address(context, builder, signature.args[0], args[0], index, vector))
        # aligned to one element: LLVM then emits loads that allow any address
        value.align = vector.element.bitwidth // 8
        return value

    return vector(array, index), generate


@intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """``array[index : index + lanes] = value``; ``array`` is flat and contiguous. No bounds are
    checked.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        index = context.cast(builder, args[1], signature.args[1], types.intp)
        written = builder.store(
            args[2], _address(context, builder, signature.args[0], args[0], index, signature.args[2])
        )
        # as for loads
        written.align = signature.args[2].element.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, index, value), generate


def _broadcast(builder: Any, vector: Vector, scalar: Any) -> Any:
    # one element, then a shuffle with all indices 0: LLVM's form of a broadcast instruction
    undefined = ir.Constant(vector.llvm, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, undefined, _constant_indices([0] * vector.lanes))


@intrinsic
def splat(typingctx: Any, scalar: Any) -> Any:
    """``scalar`` in every lane; the vector's element type is the scalar's. A vector stays what it
    is.
    """
    vector = scalar if isinstance(scalar, Vector) else _of(scalar)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return args[0] if vector is scalar else _broadcast(builder, vector, args[0])

    return vector(scalar), generate


@intrinsic
def full(typingctx: Any, like: Any, number: Any) -> Any:
    """``number`` rounded to the element type of ``like``: a scalar if it is one, else in every
    lane.
    """
    alone = isinstance(like, types.Float)
    vector = like if alone or isinstance(like, Vector) else _of(like.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # the number is rounded here, once, not in each lane
        element = vector if alone else vector.element
        value = context.cast(builder, args[1], signature.args[1], element)
        return value if alone else _broadcast(builder, vector, value)

    return vector(like, number), generate


@intrinsic
def columns(typingctx: Any, like: Any) -> Any:
    """How many networks a value like this one belongs to: the lanes of a vector, 1 for a scalar."""
    count = like.lanes if isinstance(like, Vector) else 1

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_constant(types.intp, count)

    return types.intp(like), generate


@intrinsic
def take(typingctx: Any, array: Any, index: Any, like: Any) -> Any:
    """Value number ``index`` of an array of values like ``like``: a vector, or a scalar."""
    alone = not isinstance(like, Vector)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = context.cast(builder, args[1], signature.args[1], types.intp)
        if alone:
            return builder.load(builder.gep(_data(context, builder, signature.args[0], args[0]), [at]))
        # value number k of a network per lane begins at k lanes
        at = builder.mul(at, context.get_constant(types.intp, like.lanes))
        value = builder.load(_address(context, builder, signature.args[0], args[0], at, like))
        value.align = like.element.bitwidth // 8
        return value

    return (array.dtype if alone else like)(array, index, like), generate


@intrinsic
def put(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write value number ``index`` of an array of values like this one; see :func:`take`."""
    alone = not isinstance(value, Vector)
    kind = array.dtype if alone else value

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = context.cast(builder, args[1], signature.args[1], types.intp)
        data = _data(context, builder, signature.args[0], args[0])
        if alone:
            builder.store(args[2], builder.gep(data, [at]))
        else:
            # as in `take`
            at = builder.mul(at, context.get_constant(types.intp, value.lanes))
            place = builder.bitcast(builder.gep(data, [at]), value.llvm.as_pointer())
            builder.store(args[2], place).align = value.element.bitwidth // 8
        return context.get_dummy_value()

    return types.void(array, index, kind), generate


@intrinsic
def lanes(typingctx: Any, array: Any) -> Any:
    """The number of lanes of a vector of ``array``'s element type."""
    vector = _of(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.get_constant(types.intp, vector.lanes)

    return types.intp(array), generate


def _call(builder: Any, name: str, result: ir.Type, suffix: str, args: Any) -> Any:
    kind = ir.FunctionType(result, [result] * len(args))
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.{suffix}"), args)


def _suffix(kind: Any) -> str:
    return f"v{kind.lanes}f{kind.element.bitwidth}" if isinstance(kind, Vector) else f"f{kind.bitwidth}"


_PROBE = """
define float @probe(float %a, float %b, float %c) {
  %d = call float @llvm.fma.f32(float %a, float %b, float %c)
  ret float %d
}
declare float @llvm.fma.f32(float, float, float)
"""


@cache
def _has_fma(codegen: Any) -> bool:
    """Whether the processor that code is made for has a fused multiply-add; without it LLVM calls
    the C library.
    """
    return "fmaf" not in codegen._tm.emit_assembly(binding.parse_assembly(_PROBE))


def _fused(context: Any, builder: Any, suffix: str, args: Any) -> Any:
    """``a b + c`` of scalars or vectors, rounded once.

    Without a fused multiply-add, float32 goes through float64, where the product is exact and the
    sum is rounded to odd: its last bit is set where something was cut off. So the rounding to
    float32 is the only one that counts (Boldo and Melquiond, IEEE Trans. Comput. 57, 462, 2008).
    """
    kind = args[0].type
    vector = isinstance(kind, ir.VectorType)
    if suffix.endswith("f64") or _has_fma(context.codegen()):
        return _call(builder, "fma", kind, suffix, args)

    def of(scalar: Any) -> Any:
        return ir.VectorType(scalar, kind.count) if vector else scalar

    def number(value: int) -> Any:
        return ir.Constant(whole, [value] * kind.count if vector else value)

    double, whole = of(ir.DoubleType()), of(ir.IntType(64))
    a, b, c = (builder.fpext(value, double) for value in args)
    zero = ir.Constant(double, [0.0] * kind.count if vector else 0.0)
    # the sum and what its rounding cut off, exactly (Knuth's TwoSum)
    product = builder.fmul(a, b)
    total = builder.fadd(product, c)
    moved = builder.fsub(total, product)
    cut = builder.fadd(builder.fsub(product, builder.fsub(total, moved)), builder.fsub(c, moved))
    bits = builder.bitcast(total, whole)
    inexact = builder.sext(builder.fcmp_ordered("!=", cut, zero), whole)
    step = builder.and_(inexact, builder.and_(builder.not_(bits), number(1)))
    # towards what was cut off: away from zero where it has the sign of the sum, else back
    back = builder.lshr(builder.xor(bits, builder.bitcast(cut, whole)), number(63))
    odd = builder.sub(builder.add(bits, step), builder.shl(builder.and_(step, back), number(1)))
    return builder.fptrunc(builder.bitcast(odd, double), kind)


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``a b + c`` per lane or of scalars of one float type, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _fused(context, builder, _suffix(a), args)

    return a(a, a, a), generate


@intrinsic
def rint(typingctx: Any, a: Any) -> Any:
    """The nearest whole number per lane, ties to even."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "rint", a.llvm, _suffix(a), args)

    return a(a), generate


@intrinsic
def sqrt(typingctx: Any, a: Any) -> Any:
    """The square root per lane, correctly rounded."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, "sqrt", a.llvm, _suffix(a), args)

    return a(a), generate


@intrinsic
def exp2_of_whole(typingctx: Any, a: Any) -> Any:
    """``2**a`` per lane for whole ``a`` within the normal exponents, by writing the exponent
    bits.
    """
    bits, mantissa, bias = (32, 23, 127) if a.element == types.float32 else (64, 52, 1023)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        integers = ir.VectorType(ir.IntType(bits), a.lanes)
        # 2**a has the exponent bits a + bias and an empty mantissa
        whole = builder.fptosi(args[0], integers)
        biased = builder.add(whole, ir.Constant(integers, [bias] * a.lanes))
        return builder.bitcast(builder.shl(biased, ir.Constant(integers, [mantissa] * a.lanes)), a.llvm)

    return a(a), generate


def _binary(emit: Any, doc: str) -> Any:
    def operation(typingctx: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit(builder, args[0], args[1], a)

        return a(a, a), generate

    operation.__doc__ = doc
    return intrinsic(operation)


def _as_number(builder: Any, condition: Any, vector: Vector) -> Any:
    return builder.select(condition, _constant(vector, 1.0), _constant(vector, 0.0))


def _constant(kind: Any, value: float) -> ir.Constant:
    """A number of a float type, or of every lane of a vector."""
    vector = isinstance(kind, Vector)
    return ir.Constant(kind.llvm, [value] * kind.lanes) if vector else ir.Constant(_scalar(kind), value)


_add = _binary(lambda builder, a, b, vector: builder.fadd(a, b), "``a + b``.")
_subtract = _binary(lambda builder, a, b, vector: builder.fsub(a, b), "``a - b``.")
_multiply = _binary(lambda builder, a, b, vector: builder.fmul(a, b), "``a b``.")
_divide = _binary(lambda builder, a, b, vector: builder.fdiv(a, b), "``a / b``.")
minimum = _binary(
    lambda builder, a, b, vector: builder.select(builder.fcmp_ordered("<", a, b), a, b),
    "The smaller per lane; ``b`` where one is NaN.",
)
maximum = _binary(
    lambda builder, a, b, vector: builder.select(builder.fcmp_ordered(">", a, b), a, b),
    "The larger per lane; ``b`` where one is NaN.",
)
greater = _binary(
    lambda builder, a, b, vector: _as_number(builder, builder.fcmp_ordered(">", a, b), vector),
    "1 where ``a > b``, else 0.",
)
unequal = _binary(
    lambda builder, a, b, vector: _as_number(builder, builder.fcmp_unordered("!=", a, b), vector),
    "1 where ``a != b`` or one is NaN, else 0.",
)


@intrinsic
def select(typingctx: Any, condition: Any, a: Any, b: Any) -> Any:
    """``a`` where ``condition`` is not zero, else ``b``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # unordered: a NaN counts as not zero
        true = builder.fcmp_unordered("!=", args[0], _constant(condition, 0.0))
        return builder.select(true, args[1], args[2])

    return a(condition, a, a), generate


@intrinsic
def _negative(typingctx: Any, a: Any) -> Any:
    """``-a``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fneg(args[0])

    return a(a), generate


def _give_operator(symbol: Any, implementation: Any) -> None:
    def typed(a, b):
        if isinstance(a, Vector) and a == b:
            # the same line makes four operators: each needs a name of its own in the cache
            return distinct(lambda a, b: implementation(a, b), symbol.__name__)
        return None

    overload(symbol)(typed)


for _symbol, _implementation in (
    (operator.add, _add),
    (operator.sub, _subtract),
    (operator.mul, _multiply),
    (operator.truediv, _divide),
):
    _give_operator(_symbol, _implementation)


@overload(operator.neg)
def _operator_neg(a):
    if isinstance(a, Vector):
        return lambda a: _negative(a)
    return None


@intrinsic
def tree_sum(typingctx: Any, a: Any) -> Any:
    """The sum over lanes: lane p plus lane p + half, halving until one is left."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, width = args[0], a.lanes
        # the same tree as `blocks._sums_over_lanes` and `tree_of_vectors`, so all give equal bits
        while width > 1:
            half = width // 2
            low = builder.shuffle_vector(value, value, _constant_indices(list(range(half))))
            high = builder.shuffle_vector(value, value, _constant_indices(list(range(half, width))))
            value, width = builder.fadd(low, high), half
        return builder.extract_element(value, ir.Constant(I32, 0))

    return a.element(a), generate


@intrinsic
def any_nonzero(typingctx: Any, a: Any) -> Any:
    """Whether any lane differs from zero."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = ir.Constant(a.llvm, [0.0] * a.lanes)
        # one bit for each lane, read as one whole number
        mask = builder.bitcast(builder.fcmp_unordered("!=", args[0], zero), ir.IntType(a.lanes))
        return builder.icmp_unsigned("!=", mask, ir.Constant(ir.IntType(a.lanes), 0))

    return types.boolean(a), generate


@njit(inline="always")
def tree_of_vectors(parts):
    """The sum of ``lanes`` vectors that follow each other, as :func:`tree_sum` adds the lanes of
    one; half change.
    """
    width = lanes(parts)
    half = width // 2
    # the tree of `tree_sum`, with vectors in the place of lanes
    while half > 1:
        for p in range(half):
            store(parts, p * width, load(parts, p * width) + load(parts, (p + half) * width))
        half //= 2
    return load(parts, 0) + load(parts, width)
