"""What holds for all CUDA sources, read as text."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "cuda"
SOURCES = {
    path.name: path.read_text()
    for path in sorted(FOLDER.iterdir())
    if path.suffix in (".cu", ".cuh")
}


def arguments(text, begin):
    """What stands between the parenthesis that opens before `begin` and its end."""
    depth = 1
    for end in range(begin, len(text)):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        if depth == 0:
            return text[begin:end]
    return ""


def launched_early():
    """Names of the kernels that launch_early is given."""
    found = set()
    for text in SOURCES.values():
        for call in re.finditer(r"(?<!tl_status )launch_early\(", text):
            found.update(re.findall(r"\b\w+_kernel\b", arguments(text, call.end())))
    return sorted(found)


def test_launch_early_is_given_kernels_by_name():
    assert len(launched_early()) > 15


@pytest.mark.parametrize("name", launched_early())
def test_kernel_launched_early_begins_by_waiting(name):
    definition = re.compile(rf"__global__[^;{{]*?\b{name}\([^{{]*\{{\s*([^;]*;)")
    found = [m[1] for text in SOURCES.values() for m in definition.finditer(text)]
    assert found
    for first in found:
        assert first in ("wait_for_previous();", "tl::wait_for_previous();")
