"""Runs the trials of the foreign peer against a quicpool node, and prints a table.

    python run.py [--node PROGRAM] [--only WORDS] [--jobs COUNT] [--repeat COUNT] [--list] [--verbose]

The exit code is 0 only if every trial has passed.
"""

import argparse
import asyncio
import importlib
import logging
import pathlib
import sys
import time
import traceback
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import harness  # noqa: E402

NODE = HERE.parents[1] / "target" / "debug" / "examples" / "foreign_node"
# Characters of a problem that are printed without --verbose.
PROBLEM_MAX = 300
MODULES = sorted(path.stem for path in (HERE / "trials").glob("[a-z]*.py"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--node", default=str(NODE), help="program of the node (default: %(default)s)")
    parser.add_argument("--only", default="", help="run the trials that have this text in their names")
    parser.add_argument("--jobs", type=int, default=4, help="trials at one time (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=1, help="how often each trial is run")
    parser.add_argument("--list", action="store_true", help="print the names of the trials, and end")
    parser.add_argument("--verbose", action="store_true", help="print what happened in failed trials")
    return parser.parse_args()


async def run_one(program: list[str], name: str, limit: float, function) -> dict:
    """Runs a trial within its time."""
    trial, start, problem = harness.Trial(program), time.monotonic(), None
    try:
        async with trial.stack:
            await asyncio.wait_for(function(trial), limit)
            for peer in trial.peers:
                for error in peer.errors:
                    raise error
    except asyncio.TimeoutError:
        problem = f"took more than {limit} s"
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        trial.trace = traceback.format_exc()
    seconds = time.monotonic() - start
    return {"name": name, "seconds": seconds, "problem": problem, "trial": trial}


async def run_all(program: list[str], trials: list, jobs: int) -> list[dict]:
    free, stray = asyncio.Semaphore(jobs), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: stray.append(context))

    async def turn(one):
        async with free:
            return await run_one(program, *one)

    results = await asyncio.gather(*(turn(one) for one in trials))
    return results + [stray_result(context) for context in stray]


def stray_result(context: dict) -> dict:
    """Makes a failure of an exception that no trial has caught."""
    error = context.get("exception")
    problem = f"{context['message']}: {error!r}"
    trial = harness.Trial([])
    trial.trace = "".join(traceback.format_exception(error)) if error else ""
    return {"name": "outside of the trials", "seconds": 0.0, "problem": problem, "trial": trial}


def check_vectors() -> dict:
    """Runs the tests of the codec as one line of the table."""
    start = time.monotonic()
    suite = unittest.defaultTestLoader.loadTestsFromName("vectors")
    result = unittest.TestResult()
    suite.run(result)
    bad = [f"{test}: {text.strip().splitlines()[-1]}" for test, text in result.failures + result.errors]
    trial = harness.Trial([])
    trial.remark(f"{result.testsRun} tests")
    problem = "; ".join(bad) or (None if result.testsRun else "no tests")
    name = "codec: every byte string of the document"
    return {"name": name, "seconds": time.monotonic() - start, "problem": problem, "trial": trial}


def print_table(results: list[dict], verbose: bool):
    width = max(len(result["name"]) for result in results)
    for result in results:
        word = "FAILED" if result["problem"] else "ok"
        remarks = "; ".join(result["trial"].remarks)
        print(f"{word:6}  {result['name']:{width}}  {result['seconds']:5.1f} s  {remarks}".rstrip())
        if result["problem"]:
            print(f"        {result['problem'] if verbose else shortened(result['problem'])}")
            if verbose:
                print_story(result["trial"])
    failed = sum(1 for result in results if result["problem"])
    print(f"\n{len(results)} trials, {failed} failed")


def shortened(text: str) -> str:
    return text if len(text) <= PROBLEM_MAX else f"{text[:PROBLEM_MAX]} .."


def print_story(trial):
    print(getattr(trial, "trace", "").rstrip())
    for peer in trial.peers:
        print("\n".join(f"        {line}" for line in peer.logs))
    for node in trial.nodes:
        print("\n".join(f"        node: {line}" for line in node.lines[-20:]))


def main() -> int:
    options = arguments()
    # Connections that end with an error are what many trials are about.
    logging.getLogger("quic").setLevel(logging.CRITICAL)
    for module in MODULES:
        importlib.import_module(f"trials.{module}")
    trials = [one for one in harness.TRIALS if options.only in one[0]] * options.repeat
    if options.list:
        print("\n".join(name for name, _, _ in trials))
        return 0
    if not trials:
        print(f"no trial has {options.only!r} in its name", file=sys.stderr)
        return 2
    start = time.monotonic()
    results = [check_vectors()] + asyncio.run(run_all(options.node.split(), trials, options.jobs))
    print_table(results, options.verbose)
    print(f"in {time.monotonic() - start:.1f} s")
    return int(any(result["problem"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
