"""The C struct, its memory, its layout, and the Tensor over it."""
