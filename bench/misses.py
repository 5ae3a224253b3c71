"""Why rows miss their targets: kept by hand, shown beside each miss in RESULTS.md.

Regular expressions over "section: name" -> the cause and what was tried. What was
measured on one processor says nothing of another.
"""

import re

__all__ = ["why"]

AMD = {
    r"^elementwise: add row 1000x1000": (
        "8 MB read and written at 165 GB/s, more than copies reach in the last cache; "
        "rows of whole cache lines take as long, and PyTorch the same: 0.97 to 1.04"
    ),
    "^narrow: matmul .* bfloat16": "at the rate of AVX512-BF16 where there is one",
    "^fourier: i?fftshift": "one copy in eight blocks of rows of 128 bytes",
    "^fourier: ": (
        "bound by instructions, two fifths of them loads, stores and shuffles; perf: "
        "thin over the passes"
    ),
    "^linalg: qr 256": (
        "LAPACK on one thread, where PyTorch's MKL takes two: 0.9 to 1.05 of its time "
        "with one each. perf: 24% saxpy, under rank-one updates in the panels, 12% "
        "products with a vector. geqrt with gemqrt was no faster"
    ),
    "^linalg: (eigh|eig|eigvals) 256": (
        "LAPACK on one thread, where PyTorch's MKL takes two: with one thread each, "
        "0.6 to 1.05 of its time. syevr was no faster"
    ),
    "^linalg: (eig|eigvals) ": (
        "perf of eigvals 10000x4x4: LAPACK's geev, 16% in its iteration, the rest "
        "thin: norms, balancing, checks of options"
    ),
    "^linalg: (eigh|eigvalsh) ": (
        "LAPACK's syevd; of eigvalsh 256x256 half is tridiagonal reduction. perf of "
        "64x64 in float64: of eigvalsh 36% the root-free QR iteration (sterf), of eigh "
        "23% the roots and vectors of divide and conquer, 14% QR iteration below it"
    ),
    "^linalg: svdvals ": (
        "LAPACK's gesdd; perf of 64x64 in float64: a quarter the dqds iteration, 14% "
        "additions of vectors, the rest thin"
    ),
    "^linalg: lstsq": (
        "R of (A, B) and its SVD, since singular values are returned, which PyTorch's "
        "gelsy does without: of 114 us on one thread 40 are R, 55 the SVD of 20x20"
    ),
    r"^(dispatch: a\[2:6\]|views: a\[1:, ::2\])": (
        "a tie: of 77 ns and 75 of NumPy's, 31 are what slicing an empty tuple takes; "
        "the rest makes a view"
    ),
    "^training: MLP": (
        "of 70 us Adam takes 17, two thirds of them divisions and square roots "
        "(16 cycles for 16 elements; by rsqrt14 and rcp14 with Newton steps 22), its "
        "Python 4; two products 10 each on two threads"
    ),
    "^(networks|latency): (CNN|ResNet).*inference": (
        "against ONNX Runtime, which folds normalization and relu into convolutions. "
        "ResNet-9 took 432 us of one core, of which convolutions 267: 31 for 128 "
        "filters of 3x3 pixels to 79 for 64 to 128 of 7x7; the others are poolings, "
        "BatchNorm2d and relu"
    ),
    "^(networks|latency): LSTM.*inference": (
        "on one thread: 510 of 790 us are 32 steps that each read 1 MB of weights, at "
        "65 GB/s; 90 and 180 products, at 92 and 90 GFLOP/s, which pack weights each "
        "time. ONNX Runtime packs them at load"
    ),
    "^(networks|latency): GPT.*inference": (
        "of a block's 640 us on one thread, 480 are products at 102 to 107 GFLOP/s of "
        "117, 94 attention, 20 gelu, 13 layer_norm; ONNX Runtime packs weights at load"
    ),
    r"^convolution: conv2d 32x64x28x28.*stride 2": (
        "perf: 73% in the direct kernel, at 111 GFLOP/s a core of 117, 13% packing of "
        "boxes, of which half was waiting for memory; the filters' gradient at 64"
    ),
    r"^convolution: conv2d 8x64x28x28.*dilation": (
        "98 GFLOP/s a core with the packing of boxes, oneDNN 106 to 113"
    ),
    r"^convolution: conv2d 1x256x14x14.*backward": (
        "on one thread 1.08 and 1.13 of PyTorch: forward 2.1 ms, the input's gradient "
        "3.2, of which 0.7 turn the filters around, a loop call for 9 numbers; the "
        "filters' gradient 2.9, at 80 GFLOP/s of 117"
    ),
    r"^convolution: conv2d .* of 5x5": (
        "110 GFLOP/s a core of 117 forward, oneDNN 111; the filters' gradient 97"
    ),
    r"^convolution: conv2d 1x3x224": "as for a batch of 4",
    "^convolution: conv2d 1x128": (
        "the plain product, at the rate of products: see the floor"
    ),
    "^convolution: conv2d 4x3x224": (
        "direct kernel at the rate of products; what is left is packing, not profiled"
    ),
    "^convolution: conv_transpose3d": (
        "8 channels leave half the lanes idle; the gradients took 570 and 620 us of "
        "one core as products of patches, 276 and 330 since they are direct: 0.85 of "
        "PyTorch on one thread"
    ),
    "^convolution: conv2d 8x64x16x16, 64 of 3x3, 4 groups, forward": (
        "0.66 of PyTorch on one thread: 206 us forward, 216 and 390 its gradients; two "
        "threads were not measured alone"
    ),
    "^convolution: max_pool2d 3x3, stride 2, 8x64x112x112, forward": (
        "0.93 and 0.95 of PyTorch on one thread: 4.3 ms forward with places and 3.4 "
        "backward, which move 90 MB at 12 GB/s, 26 MB of it places of 64 bits"
    ),
    r"^sequence: lstm 35x20x200.*backward": (
        "perf on one thread: six products of 224 MFLOP, 14% each, at 95 GFLOP/s of "
        "117; there, in a noisy run, 23.8 ms against PyTorch's 27.4"
    ),
    "^sequence: attention": (
        "keys and values are packed once a thread and matrix; perf: two thirds in the "
        "product kernel at the rate of products, 17% exponentials, maxima and sums"
    ),
    "^process: import": (
        "loading some forty compiled modules; operator, warnings, struct and the "
        "printing rules, 2 ms, are no longer loaded since the run of 8e674b4"
    ),
    "^indexing: take (axis 0|4096)": (
        "rows of 256 bytes are prefetched and copied by vectors; perf: two thirds of "
        "the time in that loop, the rest thin"
    ),
    r"^movement: m\[::2, ::3\]": (
        "perf: 58% in a loop at one load and store a cycle; the rest a loop "
        "call a row of 84 elements"
    ),
    "^movement: roll": (
        "two copies a row, of 7 and 243 numbers: perf: 45% in them, 36% of it memcpy; "
        "the rest thin, the walk over rows and Python"
    ),
    "^elementwise: log10": (
        "0.44 ns an element and thread: 22 operations on a vector of 16 by polynomial, "
        "and two passes over blocks; NumPy's takes 0.2, on its one thread"
    ),
    "^comparison: count_nonzero": (
        "a mask of 10^3: 24 ns add up bytes; the rest is the call of a function in "
        "Python and of sum: 267 ns where NumPy took 272"
    ),
    r"^complex: abs": (
        "two square roots in double for 0.51 ulp: 554 of 670 ns for 10^3 are the rate "
        "of that instruction. In float32 with the rounding made good (0.52 ulp) 500, "
        "without 260; by a root in float32 and Newton's step in double 750"
    ),
    r"^sorting: unique, inverse": (
        "perf: nine tenths of the kernels' time in sorting positions by radix and in "
        "the runs, which write places in that order, a tenth in taking elements"
    ),
    "^linalg: multi_dot": (
        "1.03 to 1.32 of NumPy: two products of 1.1 and 1.3 us (10 columns of 16 "
        "lanes); the rest checks of shapes, in Python in both libraries"
    ),
    "^linalg: norm 8x8": (
        "a tie: two small operations, 0.3 us of it; the rest Python in both libraries"
    ),
    r"^indexing: (v\[i\] = w|put).* 10\^[57]": (
        "a pass that checks, in parallel, then one that writes, on one thread: 40 MB "
        "in no order. Two threads that share out x read all indices each, and took 1.3 "
        "times as long; asking for 512 lines ahead 1.2 times"
    ),
}

INTEL = {
    r"^convolution: conv2d (32x64x28|16x32x28|4x3x224|1x3x224|8x64x28|1x256x14)": (
        "at the rate of products, see the floor, but for the packing of boxes; oneDNN "
        "is nearer the 178 GFLOP/s that a core's registers reach"
    ),
    "^convolution: max_pool2d 3x3, stride 2, 8x64x112x112, forward": (
        "not profiled here: 90 MB are moved, 26 of them places of 64 bits"
    ),
    r"^matmul: gelu\(linear\)": (
        "the product's results have a deviation of 22, at which gelu of 131,072 takes "
        "86 to 94 us of one thread, PyTorch's 61 to 64; 43 at deviation 1, which goes "
        "without the tail"
    ),
    "^matmul: ": (
        "the kernel runs at the rate of the units, 175 GFLOP/s a core in float32 and "
        "84 in float64; what is left is packing: 277 of 3,467 us for 512^3 in float64 "
        "on one thread"
    ),
    "^narrow: matmul .* b?float16": (
        "converted where it is packed, then the rate of float32, as PyTorch's has it"
    ),
    "^elementwise: (exp|log|tanh) 10.6": (
        "target of 0.5: two vector units take 7 to 8 cycles for 16 floats, and 8 MB "
        "are moved: see the floor"
    ),
    r"^convolution: conv2d 32x256x14x14, 64 of 1x1": (
        "140 GFLOP/s of 178 on one thread, oneDNN 136 to 143; an image of 196 pixels "
        "is six panels and an eighth"
    ),
    "^convolution: conv2d 16x64x32x32, 64 of 3x3, 64 groups": (
        "0.97 of channels-last PyTorch on one thread, the filters' gradient 1.1. An "
        "image alone, in the cache, takes 14 us: two fifths of sixteen images' time is "
        "memory"
    ),
    r"^(dispatch: a\[2:6\]|views: a\[1:, ::2\])": (
        "not profiled here; on Zen 4 slicing an empty tuple took 31 of 77 ns"
    ),
    "^movement: roll axis 1": (
        "0.94 of NumPy on one thread, two copies a row; two were not profiled"
    ),
    "^(networks|latency): (CNN|ResNet).*inference": (
        "against ONNX Runtime, which applies relu in convolutions. perf of ResNet-9 on "
        "one thread: 65% convolutions, 19% the interpreter, its start included, 5% "
        "pooling and relu"
    ),
    "^linalg: (norm|multi_dot|cond)": (
        "small operations; not profiled here: on Zen 4 the checks of shapes, in Python"
    ),
    "^linalg: lstsq": (
        "R of (A, B) and its SVD, since singular values are returned, which PyTorch's "
        "gelsy does without"
    ),
    "^linalg: .*4x4": "small matrices by our own loops; not profiled here",
    "^linalg: ": (
        "OpenBLAS's LAPACK, where PyTorch's is MKL's, on its maker's processor; not "
        "profiled here"
    ),
    "^fourier: i?fft2": (
        "lines of 64: of 46 cycles for 16 numbers 13 bring rows into the lanes and "
        "back, 20 are passes, at the rate of two vectors a cycle; others wait for "
        "the second cache. Two rows at once, turned in registers: rows 26 instead of 29"
    ),
    "^fourier: i?r?fftn": (
        "fftn took 0.69 of PyTorch's time on one thread; two, which share out rows of "
        "an axis after the other, were not profiled"
    ),
}

# Wherever it was not looked for on the processor itself.
ANYWHERE = {
    "^process: installed size": (
        "OpenBLAS is 27 MB of it, kernels 2.6 for v2, 3.7 for v3 and 4.3 for v4: "
        "sorting 1.6, products 0.8, 1 x 1 convolutions 0.33, Fourier transforms 0.3"
    ),
    r"^dispatch: a\.reshape": ("perf: thin; the tuple of arguments, a Tensor, a Node"),
    "^narrow: astype float32 10.7 int8": (
        "a full cache of other sizes sent each result to the system: mended since"
    ),
    "^narrow: matmul .* int8": "a row at a time; no dot products of bytes (VNNI) yet",
    "^narrow: exp": "blocks are converted in the first cache; in registers was slower",
    "^narrow: softmax": "converted a few rows at a time; exponentials decide",
    "^narrow: ": "bound by memory: see the floor",
    "^linalg: (lu|lu_factor|det|slogdet) 256": (
        "panels of LAPACK on one thread, tiles on all; perf: a third of it in panels "
        "and copies"
    ),
    r"^dispatch: exp\(a\)": (
        "against NumPy it is 0.5; perf of exp, recorded: thin; making and freeing "
        "Tensor and Node"
    ),
    r"^dispatch: a\[0\]": (
        "a tie of 39 ns: NumPy makes a scalar of its own, we make a view"
    ),
    r"^dispatch: a\.shape": "a tie: either makes a tuple and an int an axis",
    "^chains: ": (
        "an operation at a time, with a pass over memory each; compilers fuse a chain "
        "into one pass. Beyond the caches that is what decides; no graphs yet"
    ),
    "^networks: ResNet-9.*training": (
        "PyTorch with channels last is the faster: no reordering for its kernels"
    ),
    "^memory: DQN": "a page more or less: the rows below 1 MB tell nothing",
    "^creation: (ones|zeros|full)": "writes of a block in the cache: see the floor",
    "^creation: linspace": "one pass, in parallel",
    "^indexing: (nonzero|[mv].mask)": (
        "counted and compacted by words of 64, in parallel: bound by writing"
    ),
    "^elementwise: acosh": "computed in double for 0.51 ulp of float32",
    "^elementwise: (asinh|atanh)": (
        "log1p of a quotient (and a root) in float32: bound by instructions"
    ),
    r"^elementwise: (add|a \+= b|clip|ceil|floor|hardshrink|relu|abs).*10.[67]": (
        "bound by memory: see the floor"
    ),
    r"^sorting: histogram by edges 10\^3": "a search, a mask and a count, one by one",
    r"^strided: sort\(m\.T": (
        "sorted several lines at a time by a network of minima and maxima; NumPy's "
        "is a quicksort in AVX-512"
    ),
    "^creation: tensor of an array": "a borrowed Tensor first, then a copy of it",
    "^creation: asarray of a buffer": (
        "not profiled: a Py_buffer, a storage and a Tensor are made, each freed alone"
    ),
    "^movement: tri[lu] 10\\^3": (
        "a line of flags, filled in two goes, and a selection that sees it row by row: "
        "where takes 0.7 us of 2.0"
    ),
    "^products: (vecdot|tensordot|einsum (i,i|ij,ij)->i?) ": (
        "one pass over both operands, bound by memory: see the floor"
    ),
    r"^indexing: masked_fill.* 10\^3": (
        "a composition in Python: several views and small operations"
    ),
    r"^indexing: (v\[i\]|take|put|scatter).* 10\^3": (
        "1 ns an element as in NumPy; 0.3 us around it, of the key and the result"
    ),
    r"^indexing: (v\[i\]|take)": "one pass; bound by cache misses of x",
    "^matmul": "at the rate of products, less what packing takes: see the floor",
}

# By a word of the processor's name.
ON = {"AMD": AMD, "Intel": INTEL}


def why(label, processor=""):
    """Return the known cause of a miss, "" when nobody has found it yet.

    Parameters
    ----------
    label : str
        The row, as "section: name".
    processor : str
        As `bench.machine.describe_machine` names it.
    """
    own = [causes for word, causes in ON.items() if word in processor]
    for causes in [*own, ANYWHERE]:
        for pattern, cause in causes.items():
            if re.search(pattern, label):
                return cause
    return ""
