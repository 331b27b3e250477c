"""The rows of the benchmarks: each module has a ROW."""
