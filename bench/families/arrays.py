"""The functions of the array namespace at three sizes, beside NumPy and PyTorch.

A row is a name and the statement of each library; where one text serves all three, `X`
stands for the module. Letters in the statements are the operands of `OPERANDS`.
"""

import re

from bench.case import Case, Spec, size_label

__all__ = ["SIZES", "cases"]

SIZES = (10**3, 10**5, 10**7)
SHAPES = {10**3: (40, 25), 10**5: (400, 250), 10**7: (4000, 2500)}
SIDES = {10**3: 32, 10**5: 316, 10**7: 3162}  # of squares with about as many elements

# By letter: the operand for n elements, in r rows and c columns.
OPERANDS = {
    "v": lambda n, r, c: Spec((n,)),
    "w": lambda n, r, c: Spec((n,)),
    "s": lambda n, r, c: Spec((n,), "signs"),
    "d": lambda n, r, c: Spec((n,), dtype="float64"),
    "f": lambda n, r, c: Spec((n,), "1000", "int64"),
    "h": lambda n, r, c: Spec((n,), "1000", "int32"),
    "u": lambda n, r, c: Spec((n,), "200", "uint8"),
    "t": lambda n, r, c: Spec((n,), "bool"),
    "i": lambda n, r, c: Spec((n,), str(n), "int64"),
    "m": lambda n, r, c: Spec((r, c)),
    "p": lambda n, r, c: Spec((r, c)),
    "b": lambda n, r, c: Spec((r, c), "bool"),
    "j": lambda n, r, c: Spec((r, c), str(c), "int64"),
    "k": lambda n, r, c: Spec((r,), str(r), "int64"),
    "l": lambda n, r, c: Spec((c,), str(c), "int64"),
    "x": lambda n, r, c: Spec((r,)),
    "y": lambda n, r, c: Spec((c,)),
    "q": lambda n, r, c: Spec((SIDES[n], SIDES[n])),
}

ROWS = {
    "cumulative": (
        ("cumulative_sum", "X.cumulative_sum(v)", "torch.cumsum(v, 0)", None),
        ("cumulative_sum axis 0", "X.cumulative_sum(m, axis=0)", "torch.cumsum(m, 0)",
         None),
        ("cumulative_sum int64", "X.cumulative_sum(f)", "torch.cumsum(f, 0)", None),
        ("cumulative_prod", "X.cumulative_prod(s)", "torch.cumprod(s, 0)", None),
        ("cumulative_prod axis 0", "X.cumulative_prod(n, axis=0)",
         "torch.cumprod(n, 0)", None),
        ("diff", "X.diff(v)", None, None),
        ("diff axis 0", "X.diff(m, axis=0)", "torch.diff(m, dim=0)", None),
    ),
    "strided": (
        ("m.T + p.T", "m.T + p.T", None, None),
        ("m.T + p.T of one and C order", "m.T + e", None, None),
        ("v[::2] * w[::2]", "v[::2] * w[::2]", None, None),
        ("exp(m.T)", "X.exp(m.T)", None, None),
        ("exp(m[:, ::2])", "X.exp(m[:, ::2])", None, None),
        ("sum(m.T)", "X.sum(m.T)", None, None),
        ("sum(m.T, axis 0)", "X.sum(m.T, axis=0)", None, None),
        ("sum(m.T, axis 1)", "X.sum(m.T, axis=1)", None, None),
        ("max(m[:, ::2], axis 1)", "X.max(m[:, ::2], axis=1)",
         "torch.amax(m[:, ::2], 1)", None),
        ("mean(m[::2], axis 0)", "X.mean(m[::2], axis=0)", None, None),
        ("sort(m.T)", "X.sort(m.T)", "torch.sort(m.T).values", None),
        ("cumulative_sum(m.T, axis 1)", "X.cumulative_sum(m.T, axis=1)",
         "torch.cumsum(m.T, 1)", None),
    ),
    "casts": tuple(
        (f"{source} to {target}", f"tl.astype({letter}, tl.{target})",
         f"{letter}.to(torch.{target})", f"{letter}.astype(np.{target})")
        for source, letter, target in (
            ("float32", "v", "int32"), ("float32", "v", "int64"),
            ("float32", "v", "bool"), ("float64", "d", "float32"),
            ("int64", "f", "float32"), ("int64", "f", "int32"),
            ("int32", "h", "float32"), ("int32", "h", "int64"),
            ("uint8", "u", "float32"), ("bool", "t", "float32"),
            ("bool", "t", "int64"), ("float32", "v", "complex64"),
        )
    ),
    "products": (
        ("vecdot", "X.vecdot(m, p)", "torch.linalg.vecdot(m, p)", None),
        ("tensordot", "X.tensordot(m, p)", "torch.tensordot(m, p)", None),
        ("outer", "X.outer(x, y)", None, None),
        ("kron", "X.kron(x, y)", None, None),
        ("trace", "X.trace(q)", None, None),
        *(
            (f"einsum {text}", f'X.einsum("{text}", {names})', None, None)
            for text, names in (
                ("ij,ij->i", "m, p"), ("ij,j->i", "m, y"), ("i,j->ij", "x, y"),
                ("ij,ij->ij", "m, p"), ("ij->j", "m"), ("ii->i", "q"),
                ("i,i->", "v, w"),
            )
        ),
    ),
    "movement": (
        ("concat", "X.concat((v, w))", None, None),
        ("concat axis 1", "X.concat((m, p), axis=1)", None, None),
        ("stack", "X.stack((v, w))", None, None),
        ("stack axis 1", "X.stack((v, w), axis=1)", None, None),
        ("flip, copied", "tl.flip(m, axis=1).contiguous()", "torch.flip(m, (1,))",
         "np.flip(m, 1).copy()"),
        ("transpose, copied", "m.T.contiguous()", None, "m.T.copy()"),
        ("moveaxis, copied", "tl.moveaxis(m, 0, 1).contiguous()",
         "torch.moveaxis(m, 0, 1).contiguous()", "np.moveaxis(m, 0, 1).copy()"),
        ("broadcast_to, copied", "tl.broadcast_to(y, m.shape).contiguous()",
         "y.expand(m.shape).contiguous()", "np.broadcast_to(y, m.shape).copy()"),
        ("broadcast_arrays, copied",
         "[a.contiguous() for a in tl.broadcast_arrays(m, y)]",
         "[a.contiguous() for a in torch.broadcast_tensors(m, y)]",
         "[np.array(a) for a in np.broadcast_arrays(m, y)]"),
        ("meshgrid, copied", "[a.contiguous() for a in tl.meshgrid(x, y)]",
         '[a.contiguous() for a in torch.meshgrid(x, y, indexing="xy")]',
         "np.meshgrid(x, y)"),
        ("pad by 2", "tl.pad(m, ((2, 2), (2, 2)))", "F.pad(m, (2, 2, 2, 2))",
         "np.pad(m, 2)"),
        ("repeat by 2", "X.repeat(v, 2)", "torch.repeat_interleave(v, 2)", None),
        ("repeat by 2 axis 0", "X.repeat(m, 2, axis=0)",
         "torch.repeat_interleave(m, 2, 0)", None),
        ("tile by 2", "X.tile(v, (2,))", None, None),
        ("roll", "X.roll(v, 7)", None, None),
        ("roll axis 1", "X.roll(m, 7, axis=1)", "torch.roll(m, 7, 1)", None),
        ("tril", "X.tril(m)", None, None),
        ("triu", "X.triu(m)", None, None),
        ("copy", "m.clone()", None, "m.copy()"),
        ("m[::2, ::3], copied", "m[::2, ::3].contiguous()", None, "m[::2, ::3].copy()"),
    ),
    "indexing": (
        ("v[i]", "v[i]", None, None),
        ("m[k]", "m[k]", None, None),
        ("m[:, l]", "m[:, l]", None, None),
        ("m[k, 3:]", "m[k, 3:]", None, None),
        ("v[mask]", "v[t]", None, None),
        ("m[mask]", "m[b]", None, None),
        ("v[i] = w", "v[i] = w", None, None),
        ("m[k] = y", "m[k] = y", None, None),
        ("v[mask] = 0", "v[t] = 0.0", None, None),
        ("m[:, ::2] = 0", "m[:, ::2] = 0.0", None, None),
        ("take", "X.take(v, i)", None, None),
        ("take axis 0", "X.take(m, k, axis=0)", "torch.index_select(m, 0, k)", None),
        ("take axis 1", "X.take(m, l, axis=1)", "torch.index_select(m, 1, l)", None),
        ("take_along_axis", "X.take_along_axis(m, j, axis=1)",
         "torch.take_along_dim(m, j, 1)", None),
        ("gather", "tl.gather(m, 1, j)", "torch.gather(m, 1, j)", ""),
        ("gather of a part", "tl.gather(m, 1, j[::2, :9])",
         "torch.gather(m, 1, j[::2, :9])", ""),
        ("index_select", "tl.index_select(m, 0, k)", "torch.index_select(m, 0, k)",
         "np.take(m, k, 0)"),
        ("nonzero", "X.nonzero(t)", "torch.nonzero(t, as_tuple=True)", None),
        ("masked_fill", "tl.masked_fill(v, t, 0.0)", "v.masked_fill(t, 0.0)",
         "np.where(t, np.float32(0.0), v)"),
        ("scatter", "tl.scatter(m, 1, j, p)", "torch.scatter(m, 1, j, p)", ""),
        ("scatter_add", "tl.scatter_add(m, 1, j, p)", "torch.scatter_add(m, 1, j, p)",
         ""),
        ("index_add", "tl.index_add(m, 0, k, p)", "torch.index_add(m, 0, k, p)",
         ""),
        ("put", "tl.put(v, i, w)", "torch.clone(v).put_(i, w)",
         "np.put(v.copy(), i, w)"),
        ("diag", "X.diag(q)", None, "np.diag(q).copy()"),
    ),
    "comparison": (
        ("positive", "X.positive(v)", "torch.clone(v)", None),
        ("isclose", "X.isclose(v, w)", None, None),
        ("allclose", "X.allclose(v, v)", None, None),
        ("count_nonzero", "X.count_nonzero(t)", None, None),
        ("count_nonzero axis 0", "X.count_nonzero(b, axis=0)",
         "torch.count_nonzero(b, 0)", None),
    ),
    "complex": (
        ("z + g", "z + g", None, None),
        ("z * g", "z * g", None, None),
        ("z / g", "z / g", None, None),
        ("abs", "X.abs(z)", None, None),
        ("angle", "X.angle(z)", None, None),
        ("conj, times", "X.conj(z) * g", None, None),
        ("real + imag", "X.real(z) + X.imag(z)", None, None),
        ("complex", "tl.complex(v, w)", "torch.complex(v, w)", "v + 1j * w"),
        ("exp", "X.exp(z)", None, None),
        ("sqrt", "X.sqrt(z)", None, None),
        ("sum", "X.sum(z)", None, None),
    ),
    "creation": (
        # NumPy's zeros are pages that nobody has touched yet.
        ("zeros", "X.zeros(N)", None, "np.full(N, 0.0, np.float32)"),
        ("ones", "X.ones(N)", None, "np.ones(N, np.float32)"),
        ("full", "tl.full(N, 2.5)", "torch.full((N,), 2.5)",
         "np.full(N, 2.5, np.float32)"),
        ("zeros_like", "X.zeros_like(v)", None, "np.full_like(v, 0.0)"),
        ("ones_like", "X.ones_like(v)", None, None),
        ("full_like", "X.full_like(v, 2.5)", None, None),
        ("arange", "X.arange(N)", None, None),
        ("linspace", "X.linspace(0.0, 1.0, N)", None,
         "np.linspace(0.0, 1.0, N, dtype=np.float32)"),
        ("eye", "X.eye(S)", None, "np.eye(S, dtype=np.float32)"),
        ("asarray, copied", "X.asarray(v, copy=True)", None, None),
        ("tensor of a list", "tl.tensor(o)", "torch.tensor(o)",
         "np.array(o, np.float32)"),
    ),
}  # fmt: skip
# Statements that change their operand: what is compared, if anything.
CHECKS = {
    "v[i] = w": "", "m[k] = y": "m", "v[mask] = 0": "v", "m[:, ::2] = 0": "m",
    "scatter": "", "put": "", "tensordot": "", "einsum i,i->": "", "sum": "",
    "linspace": "",
}  # fmt: skip
# Sums of many terms, and what is near zero.
TOLERANCE = dict.fromkeys(("cumulative", "strided", "products"), (1e-3, 3e-2))
# Operands made of others: the letters needed, and how.
MADE = {
    "z": ("vw", lambda names: names["v"] + 1j * names["w"]),
    "g": ("vw", lambda names: names["w"] - 0.5j * names["v"]),
    "e": ("m", lambda names: _laid_out(names["m"].T)),
    "n": ("sm", lambda names: names["s"].reshape(names["m"].shape)),
    "o": ("v", lambda names: names["v"].tolist()),
}


def _laid_out(x):
    """The values in C order."""
    return x.contiguous() if hasattr(x, "contiguous") else x.copy()


def _prepare(n, used):
    """Add what is no random operand: sizes, and operands made of others."""

    def prepare(library, names):
        names["N"], names["S"] = n, SIDES[n]
        names.update((k, MADE[k][1](names)) for k in sorted(used & set(MADE)))

    return prepare


def _case(section, row, n):
    name, ours, torch, numpy = row
    texts = [ours if text is None else text for text in (ours, torch, numpy)]
    modules = ("tl", "torch", "np")
    texts = [
        re.sub(r"\bX\.", module + ".", text)
        for module, text in zip(modules, texts, strict=True)
    ]
    used = set(re.findall(r"\b[a-z]\b", " ".join(texts)))
    needed = used.union(*(MADE[k][0] for k in used & set(MADE)))
    return Case(
        section,
        f"{name} {size_label(n)}",
        *texts,
        operands={k: f(n, *SHAPES[n]) for k, f in OPERANDS.items() if k in needed},
        prepare=_prepare(n, used),
        check=CHECKS.get(name),
        tolerance=TOLERANCE.get(section, (1e-4, 1e-5)),
        quick=n == 10**5 and name in ("v[i]", "concat", "cumulative_sum", "exp(m.T)"),
    )


def cases():
    """Return the rows of this family."""
    for section, rows in ROWS.items():
        for row in rows:
            for n in SIZES:
                yield _case(section, row, n)
