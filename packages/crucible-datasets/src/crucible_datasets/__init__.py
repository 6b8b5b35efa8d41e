"""Real benchmarks, exactly scored: loaders, lock files, extraction, metrics, sampling, data quality."""
