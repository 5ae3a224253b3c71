"""Arguments of ``python -m tensorlib`` and the choice of what to run."""

import argparse
import sys

__all__ = ["main"]


def _positive(kind):
    def parse(text):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"expected more than 0, got {text}")
        return value

    parse.__name__ = kind.__name__
    return parse


def _parser():
    parser = argparse.ArgumentParser(
        prog="python -m tensorlib", description="tensorlib, a deep-learning library"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    demo = commands.add_parser(
        "demo",
        help="train a classifier on real images",
        description="Train a classifier, show how it goes, save checkpoint and curve.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument(
        "--data", choices=["digits", "mnist", "fashion-mnist"], default="digits"
    )
    demo.add_argument(
        "--root", default=argparse.SUPPRESS, help="folder of the MNIST files"
    )
    demo.add_argument("--model", choices=["mlp", "softmax", "cnn"], default="mlp")
    demo.add_argument(
        "--epochs",
        type=_positive(int),
        default=argparse.SUPPRESS,
        help="passes over the data (default: 80 for digits, 10 otherwise)",
    )
    demo.add_argument("--batch-size", type=_positive(int), default=64)
    demo.add_argument("--lr", type=_positive(float), default=2e-3)
    demo.add_argument("--seed", type=int, default=0)
    demo.add_argument(
        "--threads",
        type=_positive(int),
        default=argparse.SUPPRESS,
        help="threads of kernels (default: as `info` says)",
    )
    demo.add_argument(
        "--workers", type=int, default=0, help="threads that load batches ahead"
    )
    demo.add_argument(
        "--out",
        default=argparse.SUPPRESS,
        help="folder of the results (default: runs/<data>)",
    )
    demo.add_argument(
        "--resume", action="store_true", help="continue from the checkpoint in --out"
    )
    commands.add_parser("info", help="show how tensorlib was built and will run")
    return parser


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; ``sys.argv[1:]`` by default.

    Returns
    -------
    int
        The exit code: 0, 1 after an error with a message, 130 after Ctrl-C.
    """
    arguments = _parser().parse_args(argv)
    if arguments.command == "info":
        from tensorlib.cli.info import print_info

        print_info()
        return 0
    from tensorlib.cli.demo import run_demo

    options = {k: v for k, v in vars(arguments).items() if k != "command"}
    try:
        return run_demo(**options)
    except (OSError, ValueError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
