"""Search over steps: what it is with one beam, what is kept of each turn, and that problems don't meet.

Shapes: P problems.
"""

import hashlib
from dataclasses import dataclass, field, replace

import jax
import numpy as np
import pytest
import tiny_stages
from tiny_stages import questions_for, quiz

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.data.tokenizers.tokenizer import end_ids
from reasoning.evaluation.exam import Questions
from reasoning.evaluation.methods import Greedy, check_methods, replies_by, tokens_of
from reasoning.evaluation.scorers import Cost, minimum
from reasoning.evaluation.steps import StepSearch
from reasoning.generation.engine import sampling_program
from reasoning.rewards.reward import scorers_of

KEY = jax.random.key(11)
EXAM = quiz(max_new_tokens=10)
Text = tuple[int, ...]


def worth(prompt: Text, reply: Text) -> float:
    """A number of two texts that nobody can foresee."""
    return int.from_bytes(hashlib.sha256(repr((prompt, reply)).encode()).digest()[:6]) / 2**48


@dataclass
class Recording:
    """A scorer by chance, which remembers what it was asked in each turn: problem's prompts with replies so far."""

    separator: str = ""
    turns: list[list[tuple[Text, Text]]] = field(default_factory=list)

    def scores(self, prompts, replies, ends) -> list[np.ndarray]:
        self.turns.append([(tuple(prompt), tuple(reply)) for prompt, reply in zip(prompts, replies, strict=True)])
        assert all(places == [len(reply) - 1] for places, reply in zip(ends, replies, strict=True))
        return [np.array([worth(*pair)]) for pair in self.turns[-1]]

    def cost(self, prompts, replies, ends) -> Cost:
        read_R = np.array([len(prompt) + len(reply) for prompt, reply in zip(prompts, replies, strict=True)])
        return Cost(read_R, 2.0 * read_R)


@pytest.fixture(scope="module")
def candidate(base: Artifact):
    return tiny_stages.candidate(base, EXAM)


def searched(candidate, questions: Questions | None = None, **changes):
    """The answers of a search, and what its scorer saw."""
    recording = Recording()
    settings = {"scorer": "chance", "beams": 4, "branches": 2, "separator": "=", "step_tokens": 3}
    method = StepSearch(**{**settings, **changes})
    scored = replace(candidate, scorers={"chance": recording})
    return replies_by(method, scored, questions or questions_for(candidate), KEY), recording


def test_one_beam_with_one_branch_at_temperature_0_is_the_greedy_reply(candidate):
    found, recording = searched(candidate, beams=1, branches=1, temperature=0.0)
    greedy = Greedy().replies(candidate, questions_for(candidate), KEY)
    assert found.texts == greedy.texts and len(recording.turns) > 1
    np.testing.assert_array_equal(found.spent, greedy.decoded)
    np.testing.assert_allclose(found.log_probs, greedy.log_probs, atol=1e-5)


@pytest.mark.parametrize("trees", [1, 2, 4])
def test_of_each_tree_the_best_that_differ_go_on_and_the_best_reply_is_given(candidate, trees):
    found, recording = searched(candidate, trees=trees)
    prompts, ends = questions_for(candidate).prompts, candidate.tokenizer.encode("=")
    [stop] = end_ids(candidate.tokenizer, EXAM.chat)
    kept_by = {(tuple(prompt), tree): [()] * (4 // trees) for prompt in prompts for tree in range(trees)}
    ended = {prompt: [] for prompt in kept_by}
    for turn in recording.turns:
        rest = list(turn)
        for prompt, tree in kept_by:
            live = kept_by[prompt, tree]
            ways = 2
            seen = [rest.pop(0)[1] for _ in range(ways * len(live))]
            # Each candidate goes on from what was kept, by one step: up to the separator, or three tokens, or the end.
            for number, reply in enumerate(seen):
                before = live[number // ways]
                step = reply[len(before) :]
                assert reply[: len(before)] == before and 1 <= len(step) <= 3 and not set(step[:-1]) & set(ends)
            different = list(dict.fromkeys([*ended[prompt, tree], *seen]))
            best = sorted(different, key=lambda reply: -worth(prompt, reply))[: 4 // trees]
            over = {reply for reply in different if reply[-1] == stop or len(reply) == 10}
            ended[prompt, tree] = [reply for reply in best if reply in over]
            kept_by[prompt, tree] = [reply for reply in best if reply not in over]
        assert not rest
    assert not any(kept_by.values())
    for row, prompt in enumerate(map(tuple, prompts)):
        best = max(
            (each for tree in range(trees) for each in ended[prompt, tree]), key=lambda each: worth(prompt, each)
        )
        said = best[:-1] if best[-1] == stop else best
        assert found.lengths[row, 0] == len(best)
        assert found.texts[row] == candidate.tokenizer.decode_batch([said], lenient=True)
        [scores] = found.judged["chance"].steps[row]
        assert scores[-1] == worth(prompt, best)


def test_a_problem_gets_the_same_whatever_else_is_in_the_pool(candidate):
    questions = questions_for(candidate)
    few = replace(questions, problems=questions.problems[:2], prompts=questions.prompts[:2])
    (all_found, _), (few_found, _) = searched(candidate), searched(candidate, few)
    assert all_found.texts[:2] == few_found.texts
    np.testing.assert_allclose(all_found.log_probs[:2], few_found.log_probs, atol=1e-5)


def test_tokens_are_of_all_candidates_and_what_the_scorer_read_is_told(candidate):
    found, recording = searched(candidate)
    read = {tuple(prompt): 0 for prompt in questions_for(candidate).prompts}
    for turn in recording.turns:
        for prompt, reply in turn:
            read[prompt] += len(prompt) + len(reply)
    judged = found.judged["chance"]
    assert judged.tokens[:, 0].tolist() == list(read.values()) and judged.flops[:, 0].tolist() == [
        2.0 * each for each in read.values()
    ]
    method = StepSearch(scorer="chance", beams=4, branches=2)
    assert scorers_of(method) == ("chance",)
    np.testing.assert_array_equal(tokens_of(method, found)["step_beam_chance_last@8"], found.spent)


def test_an_exam_takes_few_programs_and_gives_the_same_again(candidate):
    before = sampling_program.cache_info().misses
    found = searched(candidate, aggregate=minimum)[0]
    assert sampling_program.cache_info().misses - before <= 3
    again = searched(candidate, aggregate=minimum)[0]
    assert found.texts == again.texts
    np.testing.assert_array_equal(found.log_probs, again.log_probs)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trees": 3}, "keeps 4 beams in 3 trees; each tree keeps as many"),
        ({"separator": ""}, "has no separator"),
        ({"separator": "\n\n"}, "no token holds"),
        ({"scorer": "prm"}, "there is no scorer prm to search by"),
    ],
)
def test_what_cannot_be_searched_is_refused(candidate, changes, message):
    settings = {"scorer": "chance", "beams": 4, "step_tokens": 3, "separator": "="} | changes
    with pytest.raises(InputError, match=message):
        method = StepSearch(**settings)
        check_methods("methods", (method,), EXAM)
        replies_by(method, replace(candidate, scorers={"chance": Recording()}), questions_for(candidate), KEY)


def test_a_last_step_without_room_in_the_context_is_refused(candidate):
    longer = replace(candidate, exam=quiz(max_new_tokens=18))
    with pytest.raises(
        InputError, match="leaves 18 for its last step, more than the model's context of 32; lower step_t"
    ):
        searched(longer, step_tokens=18)
