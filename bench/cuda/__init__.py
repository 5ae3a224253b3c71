"""Rows on an NVIDIA GPU, against PyTorch on the same card; see `bench.cuda.table`."""
