"""The Triton kernels: DAC codes of an input, and a layer's columns from them in one pass. The only file with Triton.

The matrix of a layer is multiplied without patches (implicit GEMM): a program owns BLOCK_M positions x BLOCK_N columns,
goes from one input slice to the next, and within a slice over the kernel's places and blocks of channels. What comes
after a slice (IR drop, noise, ADC, digital scale) happens to its sums in registers; only the total is written.

Random numbers are counter-based (Philox 4x32-10; Salmon et al., SC 2011): key = seed of the layer, counter = (position
and four columns, low and high; slice; call). So they depend neither on block sizes nor on the order of programs.
"""

import triton
import triton.language as tl

INTERPRETED = bool(triton.knobs.runtime.interpret)
"""Whether kernels run in Triton's interpreter, on CPU tensors: for tests, thousands of times slower."""
_CONFIGS = [
    triton.Config({"BLOCK_M": rows, "BLOCK_N": columns}, num_warps=warps, num_stages=stages)
    for rows, columns, warps, stages in ((64, 64, 4, 4), (128, 64, 8, 4), (128, 128, 8, 3))
]  # fmt: skip
_VARYING = (
    "positions", "out_height", "out_width", "height", "width", "kernel_width", "places", "stride_h", "stride_w",
    "pad_h", "pad_w", "dilation_h", "dilation_w", "slices", "bucket", "seed_low", "seed_high", "call",
)  # fmt: skip
"""Whole numbers of which Triton shall not compile a kernel each."""


@triton.jit
def _rounded(x):
    """Nearest whole number, ties to even as torch.round, of |x| < 2**22."""
    return (x + 12582912.0) - 12582912.0


@triton.jit
def _codes(value, full_scale, step, ROUND: tl.constexpr):
    """DAC codes by the same sequence of IEEE operations as `FusedLayer._input_codes`: bit-equal; 0 for no number."""
    wrong = value != value  # noqa: PLR0124 - NaN
    value = tl.div_rn(tl.minimum(tl.maximum(tl.where(wrong, 0.0, value), -full_scale), full_scale), full_scale)
    if ROUND:
        value = _rounded(tl.div_rn(value, step))
    return value, wrong


@triton.jit
def dac_in_place(
    x, codes, broken, count, each, full_scale, step, ROUND: tl.constexpr, BLOCK: tl.constexpr
):  # fmt: skip
    """Codes of `count` values where the values are; `each` in a row are an image, and `broken` gets NaN for it."""
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    value, wrong = _codes(tl.load(x + at, mask=at < count, other=0.0), full_scale, step, ROUND)
    tl.store(codes + at, value.to(codes.dtype.element_ty), mask=at < count)
    tl.store(broken + at // each, tl.full((BLOCK,), float("nan"), tl.float32), mask=wrong)


@triton.jit(do_not_specialize=["out_width", "height", "width"])
def patches(
    x, codes, spans, pixels, out_width, height, width, columns, stride_image, stride_channel, stride_row,
    stride_column, step_h, step_w, pad_h, pad_w, dilation_h, dilation_w,
    KERNEL_W: tl.constexpr, PLACES: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """An image's codes unrolled: a row of the layer's matrix is a column, arranged as in `dac`; outside are zeros."""
    groups = tl.cdiv(pixels, BLOCK_P)
    p = (tl.program_id(0) % groups) * BLOCK_P + tl.arange(0, BLOCK_P)
    block, image = tl.program_id(1), (tl.program_id(0) // groups).to(tl.int64)
    offset = tl.arange(0, BLOCK_C)
    row = tl.load(spans + block * 2) + offset
    place = row % PLACES
    h = ((p // out_width) * step_h - pad_h)[:, None] + ((place // KERNEL_W) * dilation_h)[None, :]
    w = ((p % out_width) * step_w - pad_w)[:, None] + ((place % KERNEL_W) * dilation_w)[None, :]
    inside = (p < pixels)[:, None] & (offset < tl.load(spans + block * 2 + 1))[None, :]
    inside &= (h >= 0) & (h < height) & (w >= 0) & (w < width)
    at = ((row // PLACES) * stride_channel)[None, :] + h * stride_row + w * stride_column
    value = tl.load(x + image * stride_image + at, mask=inside, other=0)
    to = (image * pixels + p)[:, None] * columns + (block * BLOCK_C + offset)[None, :]
    tl.store(codes + to, value, mask=(p < pixels)[:, None])


@triton.jit
def dac(
    x, codes, broken, spans, pixels, columns, stride_image, stride_channel, stride_pixel, full_scale, step,
    ROUND: tl.constexpr, EACH: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Codes (images, pixels, columns) of values (images, channels, pixels); NaN marks what holds a NaN.

    BLOCK_C columns are what `spans` (columns / BLOCK_C, 2) says: so many channels from a first one on, then zeros.
    `broken` gets a NaN for images, or with EACH for pixels, that hold one.
    """
    groups = tl.cdiv(pixels, BLOCK_P)
    p = (tl.program_id(0) % groups) * BLOCK_P + tl.arange(0, BLOCK_P)
    block, image = tl.program_id(1), (tl.program_id(0) // groups).to(tl.int64)
    offset = tl.arange(0, BLOCK_C)
    c = (tl.load(spans + block * 2) + offset).to(tl.int64)
    inside = (p < pixels)[:, None] & (offset < tl.load(spans + block * 2 + 1))[None, :]
    at = p.to(tl.int64)[:, None] * stride_pixel + c[None, :] * stride_channel
    value, wrong = _codes(tl.load(x + image * stride_image + at, mask=inside, other=0.0), full_scale, step, ROUND)
    to = (image * pixels + p)[:, None] * columns + (block * BLOCK_C + offset)[None, :]
    tl.store(codes + to, value.to(codes.dtype.element_ty), mask=(p < pixels)[:, None])
    poisoned = tl.max(wrong.to(tl.int32), 1) > 0
    tl.store(broken + (p if EACH else image + p * 0), tl.full((BLOCK_P,), float("nan"), tl.float32), mask=poisoned)


@triton.jit
def bits(c0, c1, c2, c3, k0, k1):
    """Four words of Philox 4x32-10 for a counter and a key of 32-bit words."""
    return tl.philox_impl(
        c0.to(tl.uint32), c1.to(tl.uint32), c2.to(tl.uint32), c3.to(tl.uint32), k0.to(tl.uint32), k1.to(tl.uint32)
    )


@triton.jit
def _normal(m, first_column, columns, part, call, seed_low, seed_high, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """(BLOCK_M, BLOCK_N) standard normal numbers: four neighbouring columns share one counter."""
    four = first_column // 4 + tl.arange(0, BLOCK_N // 4)
    index = m.to(tl.int64)[:, None] * tl.cdiv(columns, 4) + four[None, :]
    zero = index * 0
    a, b, c, d = bits(index & 0xFFFFFFFF, index >> 32, zero + part, zero + call, zero + seed_low, zero + seed_high)
    n0, n1 = tl.pair_uniform_to_normal(tl.uint_to_uniform_float(a), tl.uint_to_uniform_float(b))
    n2, n3 = tl.pair_uniform_to_normal(tl.uint_to_uniform_float(c), tl.uint_to_uniform_float(d))
    return tl.reshape(tl.join(tl.join(n0, n2), tl.join(n1, n3)), (BLOCK_M, BLOCK_N))


@triton.jit
def _power(a, cells, at, inside, member, power, NOISE: tl.constexpr, FIXED: tl.constexpr, PRECISION: tl.constexpr):
    """Adds a block's squared codes to `power`, as they are (constant noise) or weighted with the cells (pcm)."""
    if NOISE == 2:
        squares = a.to(power.dtype) * a.to(power.dtype)
        power += tl.sum(tl.where(member, squares, 0), 1)
    elif FIXED:
        # A square has 14 bits, two digits of seven.
        b = tl.load(cells + at, mask=inside, other=0)
        squares = a.to(tl.int32) * a.to(tl.int32)
        power += tl.dot((squares >> 7).to(tl.int8), b, out_dtype=tl.int32) * 128
        power += tl.dot((squares & 127).to(tl.int8), b, out_dtype=tl.int32)
    else:
        b = tl.load(cells + at, mask=inside, other=0)
        squares = a.to(tl.float32) * a.to(tl.float32) * 0.00390625
        power = tl.dot(squares.to(b.dtype), b, power, input_precision=PRECISION)
    return power


@triton.jit
def _sums(
    codes, cells, noisy, lost, table, part, pixel_of, top, left, inside_m, n, inside_n, height, width, channels,
    kernel_width, places, dilation_h, dilation_w, depth, terms_apart,
    FIXED: tl.constexpr, TERMS: tl.constexpr, NOISE: tl.constexpr, DROP: tl.constexpr, PRECISION: tl.constexpr,
    AT: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Sums of one slice: (products, current, lost, power) in units of their operands; of an absent effect zeros."""
    SUM: tl.constexpr = tl.int32 if FIXED else tl.float32
    y0 = tl.zeros((BLOCK_M, BLOCK_N), SUM)
    y1, y2, i0, i1, l0, l1 = y0, y0, y0, y0, y0, y0
    power = tl.zeros((BLOCK_M,), SUM) if NOISE == 2 else y0
    # Whole blocks, so that the compiler knows how addresses are aligned.
    start, blocks = tl.load(table + part * 5), tl.load(table + part * 5 + 1)
    first, row, end = tl.load(table + part * 5 + 2), tl.load(table + part * 5 + 3), tl.load(table + part * 5 + 4)
    k = tl.arange(0, BLOCK_K)
    inside = inside_n[None, :]
    for step in range(0, places * blocks):
        place, block = step // blocks, step % blocks
        h, w = top + (place // kernel_width) * dilation_h, left + (place % kernel_width) * dilation_w
        seen = inside_m & (h >= 0) & (h < height) & (w >= 0) & (w < width)
        pixel = (pixel_of + h * width + w).to(AT) * channels
        a = tl.load(codes + pixel[:, None] + ((start + block) * BLOCK_K + k)[None, :], mask=seen[:, None], other=0)
        at = n.to(AT)[None, :] * depth + ((start * places + step) * BLOCK_K + k)[:, None]
        b = tl.load(cells + at, mask=inside, other=0)
        y0 = tl.dot(a, b, y0, input_precision=PRECISION, out_dtype=SUM)
        if DROP:
            i0 = tl.dot(tl.abs(a), tl.abs(b), i0, input_precision=PRECISION, out_dtype=SUM)
            piece = tl.load(lost + at, mask=inside, other=0)
            l0 = tl.dot(a, piece, l0, input_precision=PRECISION, out_dtype=SUM)
        if NOISE >= 2:
            of = (first + block * BLOCK_K + k) * places + place
            power = _power(a, noisy, at, inside, ((of >= row) & (of < end))[None, :], power, NOISE, FIXED, PRECISION)
        if TERMS > 1:
            b = tl.load(cells + terms_apart + at, mask=inside, other=0)
            if FIXED:
                y1 = tl.dot(a, b, y1, out_dtype=SUM)
                y2 = tl.dot(a, tl.load(cells + terms_apart + terms_apart + at, mask=inside, other=0), y2, out_dtype=SUM)
                if DROP:
                    i1 = tl.dot(tl.abs(a), tl.abs(b), i1, out_dtype=SUM)
                    piece = tl.load(lost + terms_apart + at, mask=inside, other=0)
                    l1 = tl.dot(a, piece, l1, out_dtype=SUM)
            else:
                y0 = tl.dot(a, b, y0, input_precision=PRECISION)
    y, current, share, squared = y0.to(tl.float32), i0.to(tl.float32), l0.to(tl.float32), power.to(tl.float32)
    if FIXED:
        y = (y * 128.0 + y1.to(tl.float32)) * 128.0 + y2.to(tl.float32)
        current = (current * 128.0 + i1.to(tl.float32)) * 128.0
        share = share * 128.0 + l1.to(tl.float32)
    return y, current, share, squared


@triton.jit
def _converted(y, limit, inl, INL: tl.constexpr, ROUND: tl.constexpr):
    """What the ADC reads of sums in units of its codes."""
    if INL:
        reached = tl.minimum(tl.maximum(y, -limit), limit) / limit
        y += (reached - reached * reached * reached) * inl
    # Rounding keeps whole limits, so it makes no difference that it comes last.
    y = tl.minimum(tl.maximum(y, -limit), limit)
    return _rounded(y) if ROUND else y


@triton.jit(do_not_specialize=list(_VARYING))
def columns_of(
    codes, cells, noisy, lost, scale, offset, bias, broken, table, out,
    positions, out_height, out_width, height, width, channels, columns, depth, terms_apart, kernel_width, places,
    stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, slices, bucket,  # noqa: ARG001 - a key of `tuned`
    out_image, out_column, out_place, out_slice,
    full_scale, unit, current_unit, lost_unit, power_unit, sigma, limit, inl, seed_low, seed_high, call,
    FIXED: tl.constexpr, TERMS: tl.constexpr, NOISE: tl.constexpr, DROP: tl.constexpr, INL: tl.constexpr,
    ROUND: tl.constexpr, OFFSET: tl.constexpr, BIAS: tl.constexpr, APART: tl.constexpr, PRECISION: tl.constexpr,
    LONG: tl.constexpr, BLOCK_K: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Outputs of all columns, or with APART the ADC codes of each slice.

    NOISE: 0 none, 1 of the output, 2 and 3 of the output and of cells by the constant and the pcm law. LONG: whether
    places of codes or cells need 64 bits.
    """
    AT: tl.constexpr = tl.int64 if LONG else tl.int32
    blocks = tl.cdiv(columns, BLOCK_N)
    m = (tl.program_id(0) // blocks) * BLOCK_M + tl.arange(0, BLOCK_M)
    first_column = (tl.program_id(0) % blocks) * BLOCK_N
    n = first_column + tl.arange(0, BLOCK_N)
    inside_m, inside_n = m < positions, n < columns
    image, place = (m // (out_height * out_width)).to(tl.int64), m % (out_height * out_width)
    top, left = (place // out_width) * stride_h - pad_h, (place % out_width) * stride_w - pad_w
    to = (image * out_image + place * out_place)[:, None] + n.to(tl.int64)[None, :] * out_column
    inside = inside_m[:, None] & inside_n[None, :]
    poison = tl.load(broken + image, mask=inside_m, other=0.0)[:, None]
    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32) + poison
    for part in range(0, slices):
        y, current, share, power = _sums(
            codes, cells, noisy, lost, table, part, image * height * width, top, left, inside_m, n, inside_n, height,
            width, channels, kernel_width, places, dilation_h, dilation_w, depth, terms_apart,
            FIXED, TERMS, NOISE, DROP, PRECISION, AT, BLOCK_M, BLOCK_N, BLOCK_K,
        )  # fmt: skip
        y *= unit
        if DROP:
            rows = tl.load(table + part * 5 + 4) - tl.load(table + part * 5 + 3)
            current *= current_unit * rows
            y -= current * ((current * 0.05 - 0.2) * current + 0.5) * (share * lost_unit)
        if NOISE > 0:
            normal = _normal(m, first_column, columns, part, call, seed_low, seed_high, BLOCK_M, BLOCK_N)
            if NOISE == 1:
                y += normal * sigma
            else:
                deviation = tl.sqrt_rn(power * power_unit + sigma * sigma)
                y += normal * (deviation[:, None] if NOISE == 2 else deviation)
        y = _converted(y, limit, inl, INL, ROUND)
        if APART:
            tl.store(out + to, y + poison, mask=inside)
            to += out_slice
        else:
            total += y * (tl.load(scale + part * columns + n, mask=inside_n, other=0.0) * full_scale)[None, :]
            if OFFSET:
                total += (tl.load(offset + part * columns + n, mask=inside_n, other=0.0) * full_scale)[None, :]
    if not APART:
        if BIAS:
            total += tl.load(bias + n, mask=inside_n, other=0.0)[None, :]
        tl.store(out + to, total, mask=inside)


def _measured(call, quantiles):
    """Milliseconds of a kernel's call: a few calls tell block sizes apart."""
    return triton.testing.do_bench(call, warmup=3, rep=15, quantiles=quantiles)


tuned = triton.autotune(
    configs=_CONFIGS, do_bench=_measured,
    key=["bucket", "columns", "depth", "slices", "places", "NOISE", "DROP", "APART", "PRECISION"],
)(columns_of)  # fmt: skip
"""`columns_of` with the fastest block sizes for this kind of call, found out on its first call."""


@triton.jit
def store_bits(words, out):
    """Four words of Philox for a counter of four words and a key of two; for tests against published values."""
    a, b, c, d = bits(
        tl.load(words), tl.load(words + 1), tl.load(words + 2), tl.load(words + 3), tl.load(words + 4),
        tl.load(words + 5),
    )  # fmt: skip
    tl.store(out, a.to(tl.int64))
    tl.store(out + 1, b.to(tl.int64))
    tl.store(out + 2, c.to(tl.int64))
    tl.store(out + 3, d.to(tl.int64))
