import json
import os
import socket
from pathlib import Path

import forked
import pytest
from prepared_files import BLOCK, files_corpus, write_texts

from reasoning.core.errors import InputError
from reasoning.pipeline.processes import agree
from reasoning.pipeline.run import Run, RunOptions, Watcher
from reasoning.pipeline.run_stages import run_stages

SCRIPT = """
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from prepared_files import files_corpus

from reasoning.core.artifact import Outcome
from reasoning.stages import pieces
from reasoning.stages.stage import Stage
from reasoning.core.errors import InputError
from reasoning.pipeline.processes import agree
from reasoning.pipeline.run import Run, RunOptions, Watcher
from reasoning.pipeline.run_stages import run_stages
from reasoning.rewards.reward import Judgement
from reasoning.rollouts.rating import judgements_of_all_processes
from reasoning.stages.stage import Stage


@dataclass(frozen=True)
class Add:
    name: str = ""
    number: int = 1
    start: Stage | None = None

    def run(self, inputs, out, context):
        total = self.number + (inputs["start"].results["sum"] if self.start else 0)
        if jax.process_index() == 0:
            (out / "sum").write_text(str(total))
        return Outcome("results", {"sum": total})


port, rank, out = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{port}", 2, rank)
told = {"value": agree(lambda: ["from", jax.process_index(), "ü"])}

def refuse():
    raise InputError("only process 0 knows")

def message(function):
    try:
        function()
    except InputError as error:
        return str(error)

news, warnings = [], []
watcher = Watcher(lambda progress: None, news.append, warnings.append)

def attempt(number, folder, only=()):
    base = Add("base", number)
    run = Run(stages=(Add("zero", 1, base),))
    return run_stages(run, folder, watcher, RunOptions(only=only))

told["error"] = message(lambda: agree(refuse))
told["missing"] = message(lambda: attempt(1, out, ("zero",)))
told["sums"] = [artifact.results["sum"] for artifact in attempt(1, out).values()]
told["again"] = [artifact.results["sum"] for artifact in attempt(1, out).values()]
told["different"] = message(lambda: attempt(rank, out / "b"))
own = [Judgement(1.0, "passed"), Judgement(None, "wrong", 3 + rank, "größer" * 5 * rank, rank)]
every = judgements_of_all_processes(np.array([own], object))
told["judged"] = [[each.verdict, each.failing, each.detail, each.wall_kills] for group in every for each in group]
told["shape"] = every.shape

packed, write = [], pieces.write_part
pieces.write_part = lambda file, *rest: (packed.append(file.name), write(file, *rest))[1]
files = Run(stages=(files_corpus(out.parent),))
[corpus] = run_stages(files, out / "prepared", watcher, RunOptions()).values()
told["corpus"] = dict(corpus.results)
(out.parent / f"packed-{rank}.json").write_text(json.dumps(packed))
print(json.dumps(told))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("processes") / "out"


@pytest.fixture(scope="module")
def two_processes(out):
    """What each of two processes of one job has to tell."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    environment |= {"JAX_PLATFORMS": "cpu"}
    write_texts(out.parent)
    (out.parent / "job.py").write_text(SCRIPT)
    port = str(free_port())
    processes = [forked.start(["job", port, str(rank), str(out)], environment, out.parent) for rank in range(2)]
    try:
        results = [process.communicate(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], [error[-2000:] for _, error in results]
    return [json.loads(output.splitlines()[-1]) for output, _ in results]


def test_two_processes_decide_as_process_0_does_and_one_writes(two_processes, out):
    first, second = two_processes
    assert first == second
    assert first["value"] == ["from", 0, "ü"] and first["error"] == "only process 0 knows"
    assert "--only zero: it is made from base" in first["missing"]
    assert first["sums"] == first["again"] == [1, 2]
    assert len(list((out / "artifacts").iterdir())) == 2
    assert first["different"].startswith("processes 1 have other settings than process 0")


def test_two_processes_know_each_others_reasons(two_processes):
    first, second = two_processes
    passed = ["passed", None, "", 0]
    assert first["judged"] == second["judged"] == [passed, ["wrong", 3, "", 0], passed, ["wrong", 4, "größer" * 5, 1]]
    assert first["shape"] == [2, 2]


def test_two_processes_share_a_corpus_and_leave_what_one_does(two_processes, out, tmp_path):
    told, _ = two_processes
    silent = Watcher(lambda progress: None, lambda line: None, lambda line: None)
    [alone] = run_stages(Run(stages=(files_corpus(out.parent),)), tmp_path, silent, RunOptions()).values()
    assert told["corpus"] == dict(alone.results)
    assert alone.results["removed/exact duplicates"] == alone.results["removed/near duplicates"] == 6
    [together] = (out / "prepared/artifacts").iterdir()
    files = {str(path.relative_to(together)): path for path in together.rglob("*") if path.is_file()}
    assert set(files) == {str(path.relative_to(alone.path)) for path in alone.path.rglob("*") if path.is_file()}
    for name, path in files.items():
        if name != "artifact.json":  # which says how many processes there were
            assert path.read_bytes() == (alone.path / name).read_bytes(), name
    packed = [json.loads((out.parent / f"packed-{rank}.json").read_text()) for rank in range(2)]
    assert all(packed) and not set(packed[0]) & set(packed[1])
    assert len(set(packed[0] + packed[1])) == -(-int(alone.results["documents"]) // BLOCK)


def test_a_single_process_just_calls():
    where = Path("x")
    assert agree(lambda: where) is where

    def refuse():
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        agree(refuse)
