"""The examples in docs/ run."""

import doctest
import pathlib

import pytest

import tensorlib as tl

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"


@pytest.mark.skipif(not DOCS.is_dir(), reason="no docs/ beside tests/")
@pytest.mark.parametrize("path", sorted(DOCS.glob("*.md")), ids=lambda p: p.name)
def test_examples_in_page_run(path):
    tl.manual_seed(0)
    failed, _ = doctest.testfile(str(path), module_relative=False)
    assert not failed
