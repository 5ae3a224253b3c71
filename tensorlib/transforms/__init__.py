"""Function transforms: derivatives of functions over trees of tensors.

Thin Python on `autograd`: each transform takes a function and returns one, they compose
in any order and depth, and their public names stand in `tensorlib` itself.
"""
