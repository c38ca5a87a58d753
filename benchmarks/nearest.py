"""The time of one query among the vectors of an index, after loading.

    python benchmarks/nearest.py --count 100000 --size 512

The vectors are random: the search is exact, and its time does not depend on their values. The first use, which divides them by
their length, is counted as loading.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from resnets.tasks.embeddings import index_file
from resnets.tasks.embeddings.embedding_index import Index, unit_length
from resnets.tasks.embeddings.search_index import hits


def measure(count: int, size: int, queries: int) -> dict[str, float]:
    """Seconds to load an index of `count` vectors of `size` numbers, and the median and longest milliseconds of a query."""
    random = np.random.default_rng(0)
    vectors = random.standard_normal((count, size), dtype=np.float32)
    paths = tuple(f"images/{number:06}.jpg" for number in range(count))
    index = Index(vectors, paths, "/images", "net.safetensors", "0" * 64, "pooled", {})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.npz"
        index_file.write(index, path)
        start = time.perf_counter()
        index = index_file.read(path)
        index.unit_vectors  # noqa: B018 - cached
        load_seconds = time.perf_counter() - start
    times = []
    for _ in range(queries):
        query = unit_length(random.standard_normal((1, size), dtype=np.float32))
        start = time.perf_counter()
        hits(index, query, top_k=10)
        times.append(1000 * (time.perf_counter() - start))
    return {"load_seconds": load_seconds, "query_ms": statistics.median(times), "longest_query_ms": max(times)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="number of vectors")
    parser.add_argument("--size", type=int, default=512, help="numbers in a vector")
    parser.add_argument("--queries", type=int, default=30)
    arguments = parser.parse_args()
    found = measure(arguments.count, arguments.size, arguments.queries)
    print(f"{arguments.count:,} vectors of {arguments.size:,} numbers: loaded in {found['load_seconds']:.2f} s, one query in "
          f"{found['query_ms']:.1f} ms (median of {arguments.queries}, longest {found['longest_query_ms']:.1f} ms)")  # fmt: skip


if __name__ == "__main__":
    main()
