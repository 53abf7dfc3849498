"""Arithmetic without subnormal numbers, for the time of a kernel call.

The gradient of a network in the no-learning zone decays into the subnormal numbers (below 1.2e-38
in float32), with which processors compute up to a hundred times slower. They are worth nothing to a
parameter of size 1e-30 or more, so kernels treat them as zero. The switch belongs to the thread
that makes the call. On processors that it is not known for nothing is switched: subnormal numbers
are then computed, and slowly.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from ghostpoint.numerics.compiled_code import compiled

#: of the x86 control register MXCSR: results that are subnormal, and operands that are, count as
#: zero
FLUSH_TO_ZERO, SUBNORMALS_ARE_ZERO = 1 << 15, 1 << 6
KNOWN = platform.machine().lower() in ("x86_64", "amd64")


@intrinsic
def _exchange(typingctx: Any, on: Any, off: Any) -> Any:
    """Set and clear bits of the thread's MXCSR; its old value."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(32)
        if not KNOWN:
            return ir.Constant(word, 0)
        # stmxcsr and ldmxcsr move the register to and from memory
        place = cgutils.alloca_once(builder, word)
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte])
        pointer = builder.bitcast(place, byte)
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.stmxcsr"), [pointer])
        old = builder.load(place)
        # (old and not off) or on
        builder.store(builder.or_(builder.and_(old, builder.not_(args[1])), args[0]), place)
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.ldmxcsr"), [pointer])
        return old

    return types.uint32(types.uint32, types.uint32), generate


@compiled
def _switch(on, off):
    return _exchange(on, off)


@contextmanager
def flushing_subnormals() -> Iterator[None]:
    """Within it, subnormal numbers count as zero in this thread."""
    flags, none = np.uint32(FLUSH_TO_ZERO | SUBNORMALS_ARE_ZERO), np.uint32(0)
    old = np.uint32(_switch(flags, none))
    try:
        yield
    finally:
        _switch(old & flags, flags)
