"""A bidirectional LSTM that tells what each character of a line of Python is.

The standard library's own tokenizer labels the standard library's own sources, so the
labels are exact and there are as many as one likes: keyword, name, call (a name before
an opening parenthesis), number, string, comment, operator, space. The tagger sees bare
characters. Whether ``in`` is a keyword or the start of ``int(`` is decided to its
right, whether ``#`` starts a comment or stands in a string to its left: hence both
directions. ``--no-bidirectional`` shows what reading forwards alone can know.

    h_t = [LSTM→(x_1 ... x_t), LSTM←(x_n ... x_t)],    p(y_t | x) = softmax(W h_t + b)

Lines differ in length. A batch is packed (`nn.utils.rnn.pack_sequence`), so that no
step is spent on padding, and the loss is the mean over the packed characters. Lines
that belong to a string of several lines are left out: their labels cannot be told from
the line.

It follows the course's lectures 18 and 19; ``examples/pytorch/tagger.py`` is the same
in PyTorch.

Run it: ``python examples/tagger.py``
"""

import io
import keyword
import tokenize
from contextlib import suppress
from pathlib import Path

from harness import Run, parser

import tensorlib as tl
from tensorlib import nn, optim
from tensorlib.data import DataLoader, python_stdlib_text

CLASSES = [
    "space", "name", "call", "keyword", "number", "string", "comment", "operator",
]  # fmt: skip
SPACE, NAME, CALL, KEYWORD, NUMBER, STRING, COMMENT, OPERATOR = range(8)
INITIALS = " nckds#+"  # of the classes, as `show` prints them
CHARACTERS = 128  # ASCII; whatever lies beyond is the last one


def class_of(token, following):
    """Return the class of a token, which the token `following` it may decide."""
    if token.type == tokenize.NAME:
        if keyword.iskeyword(token.string):
            return KEYWORD
        return CALL if following is not None and following.string == "(" else NAME
    if token.type == tokenize.NUMBER:
        return NUMBER
    if token.type == tokenize.COMMENT:
        return COMMENT
    return STRING if "STRING" in tokenize.tok_name[token.type] else OPERATOR


def tokens_of(text):
    """Return the tokens of a text that may stop in the middle of one."""
    found = []
    with suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.string.strip():
                found.append(token)
    return found


def labelled_lines(text, least=8, most=80):
    """Return ``(line, classes of its characters)`` for the lines of a text.

    Left out are lines of fewer than `least` characters, blanks at the ends aside, or of
    more than `most`, and those with part of a token that other lines hold too.
    """
    lines = text.split("\n")
    labels = [[SPACE if c.isspace() else None for c in line] for line in lines]
    tokens = tokens_of(text)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        (row, start), (last, end) = token.start, token.end
        if row != last:
            for covered in range(row, last + 1):
                labels[covered - 1] = [None]
        elif len(labels[row - 1]) >= end:
            labels[row - 1][start:end] = [class_of(token, following)] * (end - start)
    return [
        (line, marks)
        for line, marks in zip(lines, labels, strict=True)
        if least <= len(line.strip()) and len(line) <= most and None not in marks
    ]


def sample_of(line, marks):
    """Return the codes of a line's characters and their classes, int64 ``(T,)``."""
    codes = [min(ord(c), CHARACTERS - 1) for c in line]
    return tl.tensor(codes, dtype=tl.int64), tl.tensor(marks, dtype=tl.int64)


def packed(samples):
    """Return a batch: packed codes and packed classes, longest line first."""
    samples = sorted(samples, key=lambda sample: -sample[0].shape[0])
    return [nn.utils.rnn.pack_sequence(column) for column in zip(*samples, strict=True)]


class Tagger(nn.Module):
    """Embedding, LSTM in one or both directions, and a linear layer."""

    def __init__(self, width, bidirectional=True):
        super().__init__()
        self.embedding = nn.Embedding(CHARACTERS, 32)
        self.lstm = nn.LSTM(32, width, bidirectional=bidirectional)
        self.head = nn.Linear(width * (2 if bidirectional else 1), len(CLASSES))

    def forward(self, codes):
        """Map packed codes to logits ``(number of characters, 8)``, packed alike."""
        data = codes.data.to(self.head.weight.device)
        embedded = codes._replace(data=self.embedding(data))
        return self.head(self.lstm(embedded)[0].data)


def confusion(model, loader):
    """Return how often each class (rows) was tagged as each, float64 ``(8, 8)``."""
    model.eval()
    counts = tl.zeros((len(CLASSES), len(CLASSES)), dtype=tl.float64)
    with tl.no_grad():
        for codes, classes in loader:
            guess = tl.argmax(model(codes), axis=1)
            true, tagged = (
                tl.one_hot(index, len(CLASSES)).astype(tl.float64)
                for index in (classes.data, guess.to("cpu"))
            )
            counts += true.T @ tagged
    model.train()
    return counts


def accuracies(counts):
    """Return the share tagged rightly over all characters and by class."""
    right = [counts[n, n].item() for n in range(len(CLASSES))]
    seen = counts.sum(axis=1).tolist()
    by_class = {
        f"accuracy_{name}": round(hit / max(1, total), 4)
        for name, hit, total in zip(CLASSES, right, seen, strict=True)
    }
    return sum(right) / max(1, sum(seen)), by_class


def train(model, loaders, options, run):
    """Minimize the cross-entropy; return the confusion on the test lines."""
    optimizer = optim.Adam(model.parameters(), lr=options.lr)
    schedule = optim.lr_scheduler.LinearLR(
        optimizer, 1.0, 0.05, options.epochs * len(loaders[0])
    )
    step = 0
    for epoch in range(1, options.epochs + 1):
        for codes, classes in loaders[0]:
            optimizer.zero_grad()
            target = classes.data.to(run.device)
            loss = nn.functional.cross_entropy(model(codes), target)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            run.log(step, loss=loss.item())
        counts = confusion(model, loaders[1])
        run.report(step, epoch=epoch, loss=loss.item(), test=accuracies(counts)[0])
    return counts


def show(model, lines):
    """Print lines over the initials of their tags."""
    with tl.no_grad():
        for line, marks in lines:
            tags = tl.argmax(model(packed([sample_of(line, marks)])[0]), axis=1)
            print(line)
            print("".join(INITIALS[tag] for tag in tags.tolist()))


def draw(figure, counts):
    """Draw the confusion: of each class, the share tagged as each."""
    shares = counts / tl.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    axes = figure.subplots()
    picture = axes.imshow(shares.tolist(), cmap="Blues", vmin=0, vmax=1)
    for row, values in enumerate(shares.tolist()):
        for column, value in enumerate(values):
            if value >= 0.001:
                ink = "white" if value > 0.5 else "black"
                text = f"{100 * value:.1f}"
                axes.text(column, row, text, ha="center", va="center", color=ink)
    axes.set_xticks(range(len(CLASSES)), CLASSES, rotation=45)
    axes.set_yticks(range(len(CLASSES)), CLASSES)
    axes.set(xlabel="tagged as", ylabel="is", title="characters of test lines, %")
    figure.colorbar(picture)


def main(arguments=None):
    """Train and test; return the results."""
    options = parser(
        __doc__, root="", chars=1_000_000, epochs=4, batch=64, lr=3e-3, width=96,
        bidirectional=True,
    ).parse_args(arguments)  # fmt: skip
    if options.quick:
        options.chars, options.epochs, options.width = 20_000, 1, 32
    root = Path(options.root) if options.root else None
    lines = labelled_lines(python_stdlib_text(root, options.chars))
    held_out = len(lines) // 10
    samples = [sample_of(*line) for line in lines]
    loaders = (
        DataLoader(samples[:-held_out], options.batch, shuffle=True, collate_fn=packed),
        DataLoader(samples[-held_out:], 256, collate_fn=packed),
    )
    with Run("tagger", options) as run:
        model = Tagger(options.width, options.bidirectional).to(run.device)
        counts = train(model, loaders, options, run)
        accuracy, by_class = accuracies(counts)
        run.record(library="tensorlib", lines=len(lines), epochs=options.epochs)
        run.record(test_accuracy=round(accuracy, 4), **by_class)
        run.picture("confusion", lambda figure: draw(figure, counts), figsize=(6, 5))
        run.save(model)
        show(model, lines[-4:])
    return run.results


if __name__ == "__main__":
    main()
