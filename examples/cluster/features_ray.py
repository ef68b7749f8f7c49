"""Features of many pictures on a Ray cluster, one task per shard:

    python features_ray.py DATA WEIGHTS CACHE --shards 16 --cpus 8

DATA, WEIGHTS and CACHE are seen by every machine, where `rekindle` is on the PATH. A task whose machine goes away, or
that fails, is begun again elsewhere, and goes on from what it left.
"""

import argparse
import os
import subprocess

import ray


def main():
    parser = argparse.ArgumentParser(description="Features of many pictures on a Ray cluster.")
    parser.add_argument("data", help="folder of the pictures, or a table of them")
    parser.add_argument("weights", help="weights of the network")
    parser.add_argument("cache", help="folder for the features")
    parser.add_argument("--shards", type=int, default=16, help="parts of the pictures")
    parser.add_argument("--cpus", type=int, default=8, help="processors of a part")
    arguments = parser.parse_args()
    data, weights, cache = map(os.path.abspath, (arguments.data, arguments.weights, arguments.cache))
    folders = [os.path.join(cache, f"shard-{index}") for index in range(arguments.shards)]

    ray.init()  # The cluster of RAY_ADDRESS, or one of this machine alone.

    @ray.remote(num_cpus=arguments.cpus, max_retries=5, retry_exceptions=True)
    def features(index):
        status = subprocess.run(
            ["rekindle", "features", data, "--weights", weights, "--quiet"]
            + ["--shard", f"{index}/{arguments.shards}", "--cache", folders[index]],
            env=os.environ | {"RAYON_NUM_THREADS": str(arguments.cpus)},
        ).returncode
        # 3: some pictures can't be read; they are listed, and all others are done.
        if status not in (0, 3):
            raise RuntimeError(f"shard {index} ended with status {status}")
        return index

    waiting = [features.remote(index) for index in range(arguments.shards)]
    while waiting:
        done, waiting = ray.wait(waiting)
        print(f"shard {ray.get(done[0])} is done, {len(waiting)} to go", flush=True)
    merged = os.path.join(cache, "merged")
    subprocess.run(["rekindle", "merge-caches", *folders, "--out", merged], check=True)


if __name__ == "__main__":
    main()
