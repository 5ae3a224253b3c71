"""How a tensor prints: the rules of NumPy's array printing, without NumPy.

Numbers show the fewest digits that identify them, at most eight after the point, all
of one tensor in one width; large ranges switch to scientific notation together. More
than 1,000 elements are summarized by three at each edge.
"""

import math
import struct

from tensorlib.core.tensor import is_batched

LINE_WIDTH = 75
THRESHOLD = 1000
EDGE_ITEMS = 3
PRECISION = 8
_PLAIN_DTYPES = ("bool", "int64", "float32")
_PREFIX = "tensor("


# ---- digits --------------------------------------------------------------------
def _round_float32(x):
    try:
        return struct.unpack("f", struct.pack("f", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)


def _round_float16(x):
    try:
        return struct.unpack("e", struct.pack("e", x))[0]
    except OverflowError:
        return math.copysign(math.inf, x)


def _round_bfloat16(x):
    """Round to the upper half of a float32, ties to even."""
    (bits,) = struct.unpack("I", struct.pack("f", _round_float32(x)))
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000
    return struct.unpack("f", struct.pack("I", bits))[0]


class _Narrow:
    """A floating type that needs fewer digits than float64.

    `kept` decimal digits survive the type and back, so that this many are tried first;
    `most` digits tell all its numbers apart; from `limit` on exponents show.
    """

    def __init__(self, rounded, kept, most, limit, smallest):
        self.rounded, self.kept, self.most = rounded, kept, most
        self.limit = limit
        self.smallest = smallest  # normal number


_NARROW = {
    "float32": _Narrow(_round_float32, 6, 9, 1e6, 2.0**-126),
    "float16": _Narrow(_round_float16, 3, 5, 1e3, 2.0**-14),
    "bfloat16": _Narrow(_round_bfloat16, 2, 4, 1e3, 2.0**-126),
}


def _shortest(x, narrow):
    """Return the shortest ``d.ddde±dd`` that the narrow type reads back as `x`."""
    if x == 0.0:
        return repr(x)
    # What survives the type settles all shorter texts at the first try, except below
    # the smallest normal number.
    least = 0 if abs(x) < narrow.smallest else narrow.kept - 1
    for digits in range(least, narrow.most):
        text = f"{x:.{digits}e}"
        if narrow.rounded(float(text)) == x:
            return text
        if math.frexp(abs(x))[0] == 0.5:
            # Below a power of two neighbours are closer: the next decimal away
            # from zero may identify x although the nearest one does not.
            mantissa, _, exponent = text.partition("e")
            step = math.copysign(10.0**-digits, x)
            raised = f"{float(mantissa) + step:.{digits}f}e{exponent}"
            if narrow.rounded(float(raised)) == x:
                return raised
    return f"{x:.{narrow.most - 1}e}"


def _digits(x, narrow):
    """Return ``(sign, digits, exponent)``: x = sign 0.digits * 10**exponent."""
    text = _shortest(x, narrow) if narrow else repr(x)
    sign = "-" if text.startswith("-") else ""
    mantissa, _, power = text.lstrip("-").partition("e")
    whole, _, fraction = mantissa.partition(".")
    exponent = int(power or 0) + len(whole)
    digits = whole + fraction
    stripped = digits.lstrip("0")
    exponent -= len(digits) - len(stripped)
    stripped = stripped.rstrip("0")
    return (sign, stripped, exponent) if stripped else (sign, "0", 1)


def _positional(x, narrow):
    """Return ``(whole, fraction)`` texts without exponent."""
    sign, digits, exponent = _digits(x, narrow)
    if len(digits) - exponent > PRECISION:
        whole, _, fraction = f"{abs(x):.{PRECISION}f}".partition(".")
        return sign + whole, fraction.rstrip("0")
    if exponent <= 0:
        return sign + "0", "0" * -exponent + digits if digits != "0" else ""
    whole = digits[:exponent].ljust(exponent, "0")
    return sign + whole, digits[exponent:]


def _scientific(x, narrow):
    """Return ``(whole, fraction, exponent)`` texts, the exponent with its sign."""
    sign, digits, exponent = _digits(x, narrow)
    if len(digits) > PRECISION + 1:
        whole, fraction, power = _rounded(abs(x), PRECISION)
        return sign + whole, fraction.rstrip("0"), power
    power = 0 if x == 0.0 else exponent - 1
    return sign + digits[0], digits[1:], f"{power:+03d}"


def _rounded(x, precision):
    mantissa, _, power = f"{x:.{precision}e}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    return whole, fraction, power


# ---- one formatter for all elements --------------------------------------------
def _float_format(values, narrow, plus=""):
    """Return the function that prints each of `values` in their common width.

    Numbers without a minus begin with `plus`.
    """
    finite = [x for x in values if math.isfinite(x)]
    sizes = [abs(x) for x in finite if x != 0.0]
    scientific = bool(sizes) and _needs_exponent(max(sizes), min(sizes), narrow)
    split = _scientific if scientific else _positional
    parts = {}
    for x in finite:
        whole, *rest = split(x, narrow)
        sign = "" if whole.startswith("-") else plus
        parts[repr(x)] = (sign + whole, *rest)  # repr tells -0.0 from 0.0
    left = max((len(p[0]) for p in parts.values()), default=0)
    right = max((len(p[1]) for p in parts.values()), default=0)
    power = max((len(p[2]) for p in parts.values()), default=0) if scientific else 0
    tail = right + power + 1 if scientific else right
    if len(finite) != len(values):
        longest = 4 if plus or -math.inf in values else 3
        left = max(left, longest - tail - 1)
    width = left + 1 + tail

    def show_positional(x):
        if not math.isfinite(x):
            return (("" if x < 0 else plus) + repr(x)).rjust(width)
        whole, fraction = parts[repr(x)]
        return f"{whole.rjust(left)}.{fraction.ljust(right)}"

    def show_scientific(x):
        if not math.isfinite(x):
            return (("" if x < 0 else plus) + repr(x)).rjust(width)
        whole, fraction, exponent = parts[repr(x)]
        if len(fraction) < right:  # fill up with digits of the value, not zeros
            sign = "-" if whole.startswith("-") else plus
            whole, fraction, exponent = _rounded(abs(x), right)
            whole = sign + whole
        exponent = exponent[0] + exponent[1:].zfill(power - 1)
        return f"{whole.rjust(left)}.{fraction}e{exponent}"

    return show_scientific if scientific else show_positional


def _complex_format(values, narrow):
    show_real = _float_format([x.real for x in values], narrow)
    show_imag = _float_format([x.imag for x in values], narrow, "+")

    def show(x):
        imag = show_imag(x.imag)
        end = len(imag.rstrip())
        return f"{show_real(x.real)}{imag[:end]}j{imag[end:]}"

    return show


def _needs_exponent(largest, smallest, narrow):
    """Return whether positional digits would be too many, compared in the dtype."""
    if narrow:  # digits beyond those it holds would be made up
        return (
            largest >= narrow.limit
            or smallest < narrow.rounded(1e-4)
            or narrow.rounded(largest / smallest) > 1000.0
        )
    return largest >= 1e8 or smallest < 1e-4 or largest / smallest > 1000.0


def _element_format(values, dtype, ndim):
    """Return the function that prints one element."""
    if dtype.kind == "f":
        return _float_format(values, _NARROW.get(dtype.name))
    if dtype.kind == "c":
        return _complex_format(
            values, _NARROW["float32"] if dtype.itemsize < 16 else None
        )
    if dtype.kind == "b":
        return lambda x: str(x).rjust(5 if ndim else 0)
    width = max((len(str(x)) for x in values), default=0)
    return lambda x: str(x).rjust(width)


# ---- layout --------------------------------------------------------------------
def _edges(extent, summarize):
    """Return the positions shown along an axis; None stands for the dots."""
    if summarize and extent > 2 * EDGE_ITEMS:
        return [*range(EDGE_ITEMS), None, *range(extent - EDGE_ITEMS, extent)]
    return list(range(extent))


def _shown(x, shape, summarize):
    """Return the shown elements as nested lists, None where elements are left out."""
    if not shape:
        return x.item()
    if not summarize or not any(extent > 2 * EDGE_ITEMS for extent in shape):
        return x.tolist()
    return [
        None if i is None else _shown(x[i], shape[1:], summarize)
        for i in _edges(shape[0], summarize)
    ]


def _flatten(nested):
    if isinstance(nested, list):
        return [x for item in nested for x in _flatten(item)]
    return [] if nested is None else [nested]


def _row(items, show, indent, width):
    """Return the last axis: elements side by side, wrapped at `width`."""
    lines, line = [], indent
    for position, item in enumerate(items):
        word = "..." if item is None else show(item)
        # The separator's comma, or the closing bracket, needs one more column.
        if len(line) + len(word) > width - 1 and len(line) > len(indent):
            lines.append(line.rstrip())
            line = indent
        line += word
        if position < len(items) - 1:
            line += ", "
    return "\n".join([*lines, line])[len(indent) :]


def _block(nested, ndim, show, indent, width):
    """Return `ndim` axes of nested lists in brackets."""
    if ndim == 0:
        return show(nested)
    inner = indent + " "
    if ndim == 1:
        return f"[{_row(nested, show, inner, width)}]"
    separator = "," + "\n" * (ndim - 1) + inner
    blocks = [
        "..." if item is None else _block(item, ndim - 1, show, inner, width - 1)
        for item in nested
    ]
    return f"[{separator.join(blocks)}]"


def format_elements(x, prefix, suffix):
    """Return the elements of `x` as text that follows `prefix` on its line."""
    if x.size == 0:
        return "[]"
    nested = _shown(x, x.shape, x.size > THRESHOLD)
    show = _element_format(_flatten(nested), x.dtype, x.ndim)
    return _block(nested, x.ndim, show, " " * len(prefix), LINE_WIDTH - len(suffix))


def _attributes(x):
    """Return what the elements do not say: shape, dtype, device, gradient."""
    found = []
    if x.size == 0 and x.ndim > 1:
        found.append(f"shape={x.shape}")
    if str(x.dtype) not in _PLAIN_DTYPES:
        found.append(f"dtype={x.dtype}")
    if x.device.type != "cpu":
        found.append(f"device='{x.device}'")
    if x.grad_fn is not None:
        found.append(f"grad_fn=<{x.grad_fn.name}>")
    elif x.requires_grad:
        found.append("requires_grad=True")
    return found


def tensor_repr(x):
    """Return the text of ``repr(x)``."""
    attributes = _attributes(x)
    if is_batched(x):
        shape = f"shape={x.shape}, dtype={x.dtype.name}"
        return ", ".join([f"{_PREFIX}<one per example of vmap>", shape]) + ")"
    host = x.detach()
    if x.device.type != "cpu":
        host = host.to("cpu")
    text = _PREFIX + format_elements(host, _PREFIX, ")")
    last = len(text) - (text.rfind("\n") + 1)
    for attribute in attributes:
        if last + len(attribute) + 3 > LINE_WIDTH:
            text += ",\n" + " " * len(_PREFIX) + attribute
            last = len(_PREFIX) + len(attribute)
        else:
            text += f", {attribute}"
            last += len(attribute) + 2
    return text + ")"
