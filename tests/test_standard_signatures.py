"""Functions take the standard's parameters: names and kinds are array-api-strict's."""

import inspect

import pytest

import tensorlib as tl

strict = pytest.importorskip("array_api_strict")
HOMES = {"": (strict, tl), "linalg.": (strict.linalg, tl.linalg),
         "fft.": (strict.fft, tl.fft)}  # fmt: skip
STANDARD = {
    prefix + name: (getattr(theirs, name), ours)
    for prefix, (theirs, ours) in HOMES.items()
    for name in theirs.__all__
    if inspect.isfunction(getattr(theirs, name))
    and getattr(theirs, name).__module__.startswith("array_api_strict._")
    and not name.startswith(("set_", "reset_", "get_"))
}


def assert_takes_what_the_standard_says(ours, theirs):
    mine = list(inspect.signature(ours).parameters.values())
    for k, wanted in enumerate(inspect.signature(theirs).parameters.values()):
        if wanted.kind in (wanted.POSITIONAL_ONLY, wanted.VAR_POSITIONAL):
            assert mine[k].kind is wanted.kind, wanted
            continue
        found = {p.name: p for p in mine}[wanted.name]
        assert found.kind in (wanted.kind, wanted.POSITIONAL_OR_KEYWORD), wanted
        if wanted.kind is wanted.POSITIONAL_OR_KEYWORD:
            assert mine[k] is found, wanted
        if wanted.default is not wanted.empty:
            assert found.default is not wanted.empty, wanted


@pytest.mark.parametrize("name", STANDARD)
def test_function_has_the_standards_parameters(name):
    theirs, module = STANDARD[name]
    ours = getattr(module, name.rpartition(".")[2])
    assert_takes_what_the_standard_says(ours, theirs)
