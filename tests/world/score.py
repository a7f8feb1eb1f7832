#!/usr/bin/env python3
"""What is told of drawn worlds against what is true of them, pooled over seeds; docs/inventory.md has the figures.

    tests/world/score.py 901 902 903          # builds world and tollwatch, writes to a temporary folder
    tests/world/score.py 901 --keep /tmp/w    # keeps the worlds there

Each world is read twice: with what `templates learn` made of its log, and with its documents.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]


def program(name):
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / name


def run(command, codes=(0,)):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, text=True)
    if done.returncode not in codes:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}")
    return done.stdout


def scored(folder, more):
    command = [program("tollwatch"), "inventory", "score", "--json", "--lanes", "1", "--truth", folder / "truth.json"]
    return json.loads(run(command + ["--from", folder / "access.ndjson", *more], codes=(0, 1)))


def world(seed, days, callers, folder):
    size = ["--days", days, "--callers", callers]
    run([program("world"), "--seed", seed, *size, "--posture", "--out", folder])
    learnt = folder / "learnt.txt"
    run([program("tollwatch"), "templates", "learn", folder / "access.ndjson", "--out", learnt])
    learnt = ["--templates", learnt]
    documents = [*learnt, "--openapi", folder / "openapi"]
    return [("learnt", scored(folder, learnt)), ("documents", scored(folder, documents))]


def share(part, of):
    return f"{part / of:.3f}" if of else "-"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seeds", nargs="+", type=int)
    parser.add_argument("--days", type=int, default=3)
    parser.add_argument("--callers", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="worlds at a time")
    parser.add_argument("--keep", type=pathlib.Path)
    arguments = parser.parse_args()
    if not (program("world").exists() and program("tollwatch").exists()):
        build = ["cargo", "build", "--release", "-p", "engine", "-p", "world"]
        subprocess.run(build, cwd=ROOT, check=True)
    pooled, slowest = {}, 0
    with tempfile.TemporaryDirectory() as temporary:
        root = arguments.keep or pathlib.Path(temporary)
        size = (arguments.days, arguments.callers)
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            worlds = [pool.submit(world, seed, *size, root / str(seed)) for seed in arguments.seeds]
        for seed, scores in zip(arguments.seeds, worlds):
            for names, report in scores.result():
                slowest = max(slowest, report["discovery"]["p95_ms"] or 0)
                for score in report["scores"]:
                    sums = pooled.setdefault((names, score["what"]), [0, 0, 0, 0])
                    for at, field in enumerate(["true", "found", "told", "right"]):
                        sums[at] += score[field]
                    for kind in ["missed", "invented"]:
                        for name in score[kind]:
                            print(f"{seed} {names}: {score['what']} {kind}: {name}", file=sys.stderr)
    print("| named by | what | true | told | precision | recall |\n|---|---|---|---|---|---|")
    for (names, what), (true, found, told, right) in pooled.items():
        print(f"| {names} | {what} | {true} | {told} | {share(right, told)} | {share(found, true)} |")
    print(f"\n{len(arguments.seeds)} worlds of {arguments.callers} callers and {arguments.days} days; the slowest p95 to discovery is {slowest / 1000:.1f} s")


if __name__ == "__main__":
    main()
