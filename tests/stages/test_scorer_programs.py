"""Reward models take room beside the stages that ask them, and time to read what these sample."""

from pathlib import Path

from planned import place_of
from tiny_stages import BASE, DEMONSTRATIONS, MODEL, NEW_TOKENS, OPTIMIZER, Surroundings, examine, quiz, reinforce

from reasoning.core.program import device_bytes
from reasoning.evaluation.methods import Greedy
from reasoning.evaluation.scorer_reward import ScorerReward
from reasoning.evaluation.selection import BestOf, ByScorer, Selections
from reasoning.evaluation.verifier import Verifier
from reasoning.models.model import build_model, parameter_count
from reasoning.stages.pretrained_scorer import PretrainedScorer
from reasoning.stages.reward_model import RewardModel
from reasoning.stages.scorer_programs import scorers_beside

JUDGE = RewardModel(name="judge", start=BASE, data=DEMONSTRATIONS, optimizer=OPTIMIZER, steps=1, batch=8)
MESH = Surroundings().context().mesh


def test_a_stage_that_learns_from_a_scorer_holds_it_and_lets_it_read_every_reply():
    stage = reinforce(steps=3, kl_coefficient=0.1, rewards=(ScorerReward(scorer="judge"),), scorers=(JUDGE,))
    programs = {one.name: one for one in stage.programs(place_of(MESH))}
    assert all("judge" in one.beside for name, one in programs.items() if name != "judge: judge")
    judge = programs["judge: judge"]
    assert set(judge.beside) == {"parameters", "optimizer", "reference"}
    assert judge.calls == 3 and judge.tokens >= 16 * NEW_TOKENS
    unembedding = MODEL.width * MODEL.vocabulary  # in whose place a head of one column stands
    held = 4 * (parameter_count(build_model(MODEL)) - unembedding + MODEL.width)
    assert held <= device_bytes(programs["update"].beside["judge"]) <= held + 4 * unembedding + 4


def test_an_exam_holds_its_scorers_beside_every_program_and_a_verifier_is_the_checkpoint_itself():
    ways = tuple(BestOf(size=3, by=ByScorer(scorer=name)) for name in ("judge", "verifier"))
    exam = examine(
        BASE,
        scorers=(JUDGE,),
        verifiers=(Verifier(question="{question}{reply}?", yes="1", no="2"),),
        methods=(Greedy(), Selections(ways=ways)),
        quiz=quiz(),
    )
    told = exam.programs(place_of(MESH))
    names = ["publish", "greedy", "selections", "judge: batch", "judge: judge", "verifier: batch", "verifier: score"]
    assert [one.name for one in told] == names
    assert [one.name for one in told if "judge" not in one.beside] == ["judge: judge"]
    assert set(told[4].beside) == {"weights"} and told[4].calls == 4  # sixteen replies, four at once
    assert set(told[6].beside) == {"weights", "judge"} and told[6].calls == 8


def test_a_scorer_that_is_not_there_yet_is_told_of(tmp_path: Path):
    notes: list[str] = []
    absent = PretrainedScorer(name="prm", path=str(tmp_path / "no"))
    assert scorers_beside((absent,), 4, place_of(MESH, notes), "exam").scorers == {}
    assert notes[0].startswith("exam: neither weights nor passes of its scorer prm are counted (there is no config")
