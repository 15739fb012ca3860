"""The generative verifier: yes against no by the model's own whole softmax, at each end."""

import full_softmax
import numpy as np
import pytest
import tiny_stages
from tiny_stages import questions_for

from reasoning.core.artifact import Artifact
from reasoning.core.errors import InputError
from reasoning.evaluation.scorers import Scorer
from reasoning.evaluation.verifier import Verifier, verifying


def test_a_score_is_the_probability_of_yes_against_no(base: Artifact):
    candidate = tiny_stages.candidate(base)
    tokenizer, model, params = candidate.tokenizer, candidate.model, candidate.params()
    prompts = questions_for(candidate).prompts[:2]
    replies = [tokenizer.encode("=7"), tokenizer.encode("1+2=3=3")]
    verifier = Verifier(name="self", question="{question}{reply}?", yes="1", no="23", separator="=")
    scorer = verifying((verifier,), candidate)["self"]
    assert isinstance(scorer, Scorer) and scorer.separator == "="
    ends = [[len(replies[0]) - 1], [2, len(replies[1]) - 1]]
    found = scorer.scores(prompts, replies, ends)

    def log_prob(text: str, answer: str) -> float:
        before, after = tokenizer.encode(candidate.exam.chat.prompt(text)), tokenizer.encode(answer)
        return full_softmax.of_text(model, params, before, after)

    read = []
    for prompt, reply, own, scores in zip(prompts, replies, ends, found, strict=True):
        question = tokenizer.decode(prompt, keep_special=False)
        texts = [question + tokenizer.decode(reply[: end + 1], keep_special=False) + "?" for end in own]
        yes, no = (np.exp([log_prob(text, answer) for text in texts]) for answer in ("1", "23"))
        np.testing.assert_allclose(scores, yes / (yes + no), rtol=1e-4)
        read.append(sum(2 * len(tokenizer.encode(candidate.exam.chat.prompt(text))) + 3 for text in texts))
    assert scorer.cost(prompts, replies, ends).tokens_R.tolist() == read


def test_what_can_not_be_asked_is_refused(base: Artifact):
    with pytest.raises(InputError, match="without {reply}; put it in"):
        Verifier(question="Is it?")
    with pytest.raises(InputError, match="needs two different answers"):
        Verifier(yes="a", no="a")
    candidate = tiny_stages.candidate(base)
    scorer = verifying((Verifier(question="{reply}" * 20, yes="1", no="2"),), candidate)["verifier"]
    with pytest.raises(InputError, match="the verifier verifier reads .* more than the model's context of 32"):
        scorer.scores([[5]], [candidate.tokenizer.encode("1+2=3")], [[4]])
