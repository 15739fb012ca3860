"""The stages of a run, one file each; what experiment files name as ``@stages.GRPO`` and so on."""

from reasoning.stages.collect import Collect
from reasoning.stages.cut import Cut
from reasoning.stages.distill import Distill, OnPolicyDistill
from reasoning.stages.evaluate import Evaluate
from reasoning.stages.grpo import GRPO
from reasoning.stages.label_replies import LabelReplies
from reasoning.stages.prepare import Prepare, TokenizerTraining
from reasoning.stages.pretrain import Pretrain
from reasoning.stages.pretrained import Pretrained
from reasoning.stages.pretrained_scorer import PretrainedScorer
from reasoning.stages.reward_model import RewardModel
from reasoning.stages.settings import KeepBest
from reasoning.stages.sft import SFT
from reasoning.stages.step_labels import Steps
from reasoning.stages.text_loss import TextLoss
from reasoning.stages.write_answers import WriteAnswers

__all__ = [
    "GRPO",
    "SFT",
    "Collect",
    "Cut",
    "Distill",
    "Evaluate",
    "KeepBest",
    "LabelReplies",
    "OnPolicyDistill",
    "Prepare",
    "Pretrain",
    "Pretrained",
    "PretrainedScorer",
    "RewardModel",
    "Steps",
    "TextLoss",
    "TokenizerTraining",
    "WriteAnswers",
]
