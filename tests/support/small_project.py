"""A small experiment of a user's own: a corpus, a base model, GRPO with a reward from a module beside the file."""

import os
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path

import forked
import jax

EXPERIMENT = """
subject = @tasks.chains.Chains
subject.minimum_operands = 2
subject.maximum_operands = 3
writer = @tasks.worked_corpus.WorkedCorpus
writer.subject = subject
documents = @data.sources.Generated
documents.write = writer
documents.count = 200
lines = @data.sources.Jsonl
lines.path = '{folder}/lines.jsonl'
vocabulary = @stages.TokenizerTraining
vocabulary.kind = 'char'
vocabulary.size = 80
vocabulary.symbols = @tasks.chains.term_symbols
corpus = @stages.Prepare
corpus.sources = (documents,)
corpus.tokenizer = vocabulary
corpus.length = 32

block = @models.config.BlockKind
stack = @models.config.Stack
stack.count = 1
stack.pattern = (block,)
model = @models.config.ModelConfig
model.vocabulary = 80
model.width = 16
model.heads = 2
model.mlp_width = 32
model.stacks = (stack,)
model.context = 32
optimizer = @training.optimizers.AdamW
optimizer.learning_rate = 1e-2
base = @stages.Pretrain
base.model = model
base.data = corpus
base.optimizer = optimizer
base.steps = 4
base.batch = 8

problems = @tasks.problems.ProblemSet
problems.tasks = (subject,)
problems.split = 'train'
problems.count = 8
talk = @data.chat.format.ChatFormat
zero = @stages.GRPO
zero.start = base
zero.problems = problems
zero.rewards = (@{module}.early_end,)
zero.reward_weights = (1.0,)
zero.optimizer = optimizer
zero.steps = 6
zero.questions = 2
zero.samples = 4
zero.max_new_tokens = 8
zero.chat = talk

shape = @core.mesh.MeshShape
run = @pipeline.Run
run.stages = (zero,)
run.mesh = shape
run.cpu_devices = {devices}
run.checkpoint_every = 2
"""

MODULE = '''
"""A user's own rewards."""

import resource
import time
from pathlib import Path

FULL = Path(__file__).with_name("full")
LIMIT = 20_000
seen = []


def early_end(completions, truncated, **columns):
    """In the third step, where there is a file ``full``, no file may grow any longer: the disk has filled up.

    The file names the run's folder: first the checkpoint of the second step, which is written meanwhile, is whole.
    """
    seen.append(len(completions))
    if FULL.exists() and len(seen) == 3:
        while not list(Path(FULL.read_text()).glob("artifacts/.zero-*/checkpoints/step_00000002")):
            time.sleep(0.01)
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
    return [float(not cut) for cut in truncated]


def too_few(completions, **columns):
    return [1.0]


def words(completions, **columns):
    return ["good"] * len(completions)
'''


@dataclass(frozen=True)
class Project:
    """An experiment file, a module with rewards beside it, and the folder that a run of it writes to."""

    folder: Path
    module: str
    out: Path

    @property
    def file(self) -> Path:
        return self.folder / "small.gin"

    def arguments(self, *more: str) -> list[str]:
        return ["run", str(self.file), "--out", str(self.out), *more]

    def start(self, *more: str, limit: int = 0) -> "subprocess.CompletedProcess[str]":
        """The command in a process of its own, with a cache of compiled programs for the processes of this run alone.

        With ``limit``, no file of it may grow beyond so many KiB.
        """
        kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
        environment = kept | {"JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": f"{self.out}_cache"}
        return forked.run(["reasoning", *self.arguments(*more)], environment, 600, largest=1024 * limit)

    def artifact(self, stage: str) -> Path:
        [found] = (self.out / "artifacts").glob(f"{stage}-*")
        return found

    def largest(self, stage: str, content: str) -> Path:
        """The largest file of a stage's checkpoint or records."""
        files = [path for path in (self.artifact(stage) / content).rglob("*") if path.is_file()]
        return max(files, key=lambda path: path.stat().st_size)


def new_project(folder: Path, devices: int = 0) -> Project:
    """Writes file and module into a folder; the module has a name of its own, since Python imports a name once.

    It runs on so many CPU devices, or (0) on those of this process.
    """
    project = Project(folder, f"rewards_{zlib.crc32(str(folder).encode())}", folder / "out")
    (folder / f"{project.module}.py").write_text(MODULE)
    text = EXPERIMENT.format(folder=folder, module=project.module, devices=devices or jax.device_count())
    project.file.write_text(text)
    return project
