"""Build the extension against the installed tensorlib."""

from Cython.Build import cythonize
from setuptools import Extension, setup

import tensorlib as tl

extension = Extension(
    "cube", ["cube.pyx", "cube_kernel.c"], include_dirs=[tl.get_include(), "."]
)
setup(
    name="cube",
    ext_modules=cythonize(
        [extension], include_path=[tl.get_cython_include()], language_level=3
    ),
)
