"""Coverage of sets of classes over 200 random halves of a validation part, by the rule of `ConformalScores`.

use: for c in SET/val/*; do rekindle predict RUN $c --top 100 --json; done > answers.jsonl
     python tests/reference/coverage.py 0.9 answers.jsonl
"""
import json
import math
import os
import random
import sys

coverage, file = float(sys.argv[1]), sys.argv[2]
rows = []
for line in open(file):
    answer = json.loads(line)
    if "predictions" in answer:
        truth = os.path.basename(os.path.dirname(answer["path"]))
        rows.append(({p["class"]: p["probability"] for p in answer["predictions"]}, truth))
random.seed(0)
covered, sizes = [], []
for _ in range(200):
    random.shuffle(rows)
    half = len(rows) // 2
    scores = sorted(math.ceil(1e4 * (1 - p[truth])) / 1e4 for p, truth in rows[:half])
    least = 1 - scores[math.ceil((half + 1) * coverage - 1e-9) - 1]
    sets = [([c for c in p if p[c] >= least], truth) for p, truth in rows[half:]]
    covered.append(sum(truth in members for members, truth in sets) / len(sets))
    sizes.append(sum(len(members) for members, _ in sets) / len(sets))
print(f"{len(rows)} images: covered {sum(covered) / 200:.3f}, {sum(sizes) / 200:.2f} classes per set")
