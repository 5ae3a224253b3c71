"""Drawing text from a language model: temperature, top-k, top-p, and a stream.

A model gives a logit z_i for each token that may come next. With temperature t it is
drawn from

    p_i = exp(z_i / t) / Σ_j exp(z_j / t)

where t → 0 takes the likeliest and t = 1 the model's own distribution. The tail of
unlikely tokens is long and its sum considerable; *top-k* draws among the k likeliest
alone, *top-p* (nucleus sampling) among the fewest that have probability p together.

The draw is the argmax of z_i / t + g_i with Gumbel noise g_i = -log(-log u_i), u_i
uniform, which has exactly that distribution and needs no sum.

References: Fan, Lewis and Dauphin, "Hierarchical Neural Story Generation", ACL 2018
(top-k). Holtzman et al., "The Curious Case of Neural Text Degeneration", ICLR 2020
(top-p).
"""

import tensorlib as tl
from tensorlib.data import Dictionary

__all__ = [
    "add_arguments",
    "keep_likely",
    "load",
    "print_stream",
    "sample",
    "save",
    "stream",
]


def keep_likely(logits, top_k=0, top_p=1.0):
    """Return logits with the unlikely ones at minus infinity.

    Parameters
    ----------
    logits : Tensor of shape (V,)
    top_k : int, default 0
        Keep the k largest; 0 keeps all.
    top_p : float, default 1.0
        Of these, keep the fewest whose probabilities sum to p; one at least.

    Returns
    -------
    Tensor of shape (V,)

    Raises
    ------
    ValueError
        If `top_k` is negative or `top_p` is not in (0, 1].
    """
    if top_k < 0 or not 0 < top_p <= 1:
        raise ValueError(
            "keep_likely: expected top_k >= 0 and 0 < top_p <= 1, got "
            f"top_k={top_k}, top_p={top_p}"
        )
    values = logits.tolist()
    order = sorted(range(len(values)), key=values.__getitem__, reverse=True)
    order = order[: top_k or None]
    if top_p < 1:
        shares = tl.softmax(logits[tl.tensor(order)], axis=0)
        # A token stays if those before it have less than p together.
        before = (tl.cumsum(shares, axis=0) - shares).tolist()
        order = [token for token, sum in zip(order, before, strict=True) if sum < top_p]
    kept = set(order)
    return tl.tensor(
        [value if k in kept else -tl.inf for k, value in enumerate(values)],
        dtype=logits.dtype,
    ).to(logits.device)


def sample(logits, temperature=1.0, top_k=0, top_p=1.0, generator=None):
    """Draw a token.

    Parameters
    ----------
    logits : Tensor of shape (V,)
    temperature : float, default 1.0
        0 takes the likeliest token.
    top_k, top_p
        As in `keep_likely`, after the temperature.
    generator : Generator, optional
        The default generator otherwise.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If `temperature` is negative, or as in `keep_likely`.
    """
    if not temperature >= 0:
        raise ValueError(f"sample: expected temperature >= 0, got {temperature}")
    if temperature == 0:
        return tl.argmax(logits).item()
    logits = logits / temperature
    if top_k or top_p != 1:
        logits = keep_likely(logits, top_k, top_p)
    uniform = tl.rand(logits.shape, generator=generator).to(logits.device)
    noise = -tl.log(-tl.log(uniform))
    return tl.argmax(logits + noise).item()


def stream(read, prompt, count, **how):
    """Yield `count` tokens that follow a prompt, each as soon as it is drawn.

    Parameters
    ----------
    read : callable
        Takes a list of tokens that follow those of earlier calls and returns the
        logits of the next one, ``(V,)``.
    prompt : list of int
        One token at least.
    count : int
    **how
        Of `sample`.

    Yields
    ------
    int

    Raises
    ------
    ValueError
        If the prompt is empty.
    """
    if not prompt:
        raise ValueError("stream: expected a prompt of one token at least, got none")
    with tl.no_grad():
        logits = read(prompt)
    for _ in range(count):
        token = sample(logits, **how)
        yield token
        with tl.no_grad():
            logits = read([token])


def add_arguments(made):
    """Add the options of generation to a parser of the harness; return it."""
    made.add_argument(
        "--generate",
        type=int,
        default=0,
        metavar="N",
        help="do not train: print N characters from the model in --out",
    )
    made.add_argument("--prompt", default="\n", help="what the text begins with")
    made.add_argument("--temperature", type=float, default=0.7, help="default 0.7")
    made.add_argument("--top-k", type=int, default=0, help="default 0, all")
    made.add_argument("--top-p", type=float, default=0.95, help="default 0.95")
    return made


def print_stream(model, dictionary, options, count):
    """Print a prompt and what `model` says follows, character by character.

    `model.reader()` returns the callable that `stream` takes.
    """
    print(options.prompt, end="", flush=True)
    tokens = stream(
        model.reader(),
        dictionary.encode(options.prompt).tolist(),
        count,
        temperature=options.temperature,
        top_k=options.top_k,
        top_p=options.top_p,
    )
    for token in tokens:
        print(dictionary.idx2word[token], end="", flush=True)
    print()


def save(model, dictionary, folder):
    """Save values, sizes and alphabet: all that generation needs."""
    tl.save(
        {
            "model": {k: v.to("cpu") for k, v in model.state_dict().items()},
            "sizes": model.sizes,
            "alphabet": dictionary.idx2word,
        },
        folder / "model.safetensors",
    )


def load(kind, folder):
    """Return the model of class `kind` and the dictionary that `save` wrote."""
    saved = tl.load(folder / "model.safetensors")
    model = kind(**saved["sizes"])
    model.load_state_dict(saved["model"])
    return model.eval(), Dictionary(saved["alphabet"])
