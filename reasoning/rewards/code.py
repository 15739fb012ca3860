"""The accuracy reward of programs: a reply's program runs in the sandbox, and tests that it never sees decide."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from reasoning.core.errors import InputError
from reasoning.data.chat.format import ChatFormat
from reasoning.rewards.programs import continuation_of, program_of
from reasoning.rewards.reward import UNGRADED, Flags, Format, Judgement, Texts, Value
from reasoning.rewards.text import cut_off
from reasoning.sandbox.grading import Sandbox, grade, isolation
from reasoning.sandbox.records import NOT_GRADED, Grade, Job, Language, Limits, Test, read_tests
from reasoning.tasks.problems import Problem

_LANGUAGES: tuple[Language, ...] = get_args(Language)
_NO_PROGRAM = Judgement(0.0, "refused", None, "the reply holds no whole program")


@dataclass(frozen=True)
class Code:
    """1.0 for a reply whose program passes all tests of its problem, else 0.0; a reward in TRL's batched form.

    Tests are in the problems' column ``tests`` (``sandbox.records.read_tests``), the language in ``language`` (Python
    where a problem has none). With a column of a ``prefix``, replies continue it. ``partial`` gives the share of tests
    passed. What fails through no fault of the reply is ``UNGRADED``: a fault of the grader, and a problem whose own
    ``solution`` fails its tests. DeepSeek-R1 (arXiv 2501.12948, section 2.2.2): a compiler and predefined test cases.
    """

    tests: str = "tests"
    language: str = "language"
    prefix: str = ""  # a column whose text replies continue, as HumanEval's do; empty: replies hold whole programs
    solution: str = "solution"  # a column of right programs, with which tests are tried; empty: they are trusted
    partial: bool = False
    limits: Limits = Limits()
    sandbox: Sandbox = Sandbox()

    @property
    def __name__(self) -> str:
        """``code``, with the column where it isn't ``tests``, so that visible and hidden tests can be told apart."""
        return ("code" if self.tests == "tests" else f"code_{self.tests}") + ("_share" if self.partial else "")

    def __call__(self, prompts: Texts, completions: Texts, **columns: Any) -> list[Value]:
        """One value a completion."""
        return [each.value for each in self.judge(prompts, completions, **columns)]

    def judge(
        self, prompts: Texts, completions: Texts, truncated: Flags = None, chat: Format = None, **columns: Any
    ) -> list[Judgement]:
        """Grades all completions, and the problems' own solutions, in one go (``rewards.reward.Explaining``)."""
        tags, jobs = chat or ChatFormat(), list[Job]()
        cut = cut_off(completions, truncated)
        plans = []
        for row, completion in enumerate(completions):
            problem = {name: values[row] for name, values in columns.items() if isinstance(values, Sequence)}
            tests, language = self._tests(problem), self._language(problem)
            own = self._program(completion, language, problem, cut[row], tags)
            solution = self._solution(problem)
            plans.append([[] if text is None else self._jobs(text, tests, language, jobs) for text in (own, solution)])
        grades = grade(jobs, self.sandbox) if jobs else []
        return [self._judged(*([grades[place] for place in places] for places in plan)) for plan in plans]

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises InputError, naming the problem, for one that has no tests or can't fail them, and without a sandbox.

        (``rewards.reward.Selective``)
        """
        for problem in problems:
            try:
                self._tests(problem.columns)
                self._language(problem.columns)
                if self.prefix and not isinstance(problem.columns.get(self.prefix), str):
                    raise InputError(f"its column {self.prefix!r} has no text that a reply could continue")
            except InputError as error:
                where = f"the problem {problem.question!r:.60} ({problem.kind})"
                raise InputError(f"the reward {self.__name__} can't judge {where}: {error}") from None
        if problems:
            isolation(self.sandbox)

    def remarks(self, problems: Sequence[Problem]) -> Sequence[str]:
        """How many problems' own solutions fail, in a sentence; InputError where all do (``rewards.reward``)."""
        asked = [problem for problem in problems if self._solution(problem.columns) is not None]
        jobs = list[Job]()
        for problem in asked:
            tests, language = self._tests(problem.columns), self._language(problem.columns)
            jobs.append(Job(self._solution(problem.columns) or "", tests, language, self.limits))
        found = grade(jobs, self.sandbox) if jobs else []
        pairs = [(problem, each) for problem, each in zip(asked, found, strict=True) if _fails(each)]
        if not pairs:
            return ()
        verdicts = ", ".join(
            f"{count} {verdict}" for verdict, count in Counter(one.verdict for _, one in pairs).items()
        )
        told = (
            f"{len(pairs)} of {len(asked)} problems fail their own tests ({verdicts}), the first of them "
            f"{pairs[0][0].question!r:.60}: {pairs[0][1].detail}"
        )
        if len(pairs) == len(asked):
            raise InputError(f"the reward {self.__name__}: {told}; mend solutions or tests, or set solution = ''")
        return (f"the reward {self.__name__}: {told}; replies to them are not graded",)

    def _tests(self, columns: Mapping[str, Any]) -> tuple[Test, ...]:
        if columns.get(self.tests) is None:
            raise InputError(f"it has no column {self.tests!r}; give it tests, or reward its kind by another function")
        return read_tests(columns[self.tests])

    def _language(self, columns: Mapping[str, Any]) -> Language:
        named = columns.get(self.language)
        for language in _LANGUAGES:
            if named in (None, language) or (named == "" and language == "python"):
                return language
        raise InputError(f"its {self.language} is {named!r:.40}; programs can be in {', '.join(_LANGUAGES)}")

    def _solution(self, columns: Mapping[str, Any]) -> str | None:
        given = columns.get(self.solution) if self.solution else None
        return self._begun(columns) + given if isinstance(given, str) and given.strip() else None

    def _begun(self, columns: Mapping[str, Any]) -> str:
        return str(columns.get(self.prefix) or "") if self.prefix else ""

    def _program(
        self, completion: str, language: Language, columns: Mapping[str, Any], cut: bool, chat: ChatFormat
    ) -> str | None:
        """The program to be run; None for a reply without one, or that was cut off before its end."""
        if self.prefix:
            added = continuation_of(completion, language, cut)
            return None if added is None else self._begun(columns) + added
        return None if cut else program_of(completion, language, chat)

    def _jobs(self, source: str, tests: Sequence[Test], language: Language, jobs: list[Job]) -> list[int]:
        """Adds a program's jobs, one a test where shares count, and gives their places."""
        parts = [[test] for test in tests] if self.partial else [tests]
        jobs += [Job(source, part, language, self.limits) for part in parts]
        return list(range(len(jobs) - len(parts), len(jobs)))

    def _judged(self, own: Sequence[Grade], solution: Sequence[Grade]) -> Judgement:
        """What grades say of a reply; without any, it holds no program."""
        kills = sum(each.wall_kills for each in own)
        if broken := [each for each in solution if _fails(each)]:
            detail = f"its own solution: {broken[0].verdict} {broken[0].detail}".strip()
            return Judgement(UNGRADED, "invalid_problem", None, detail, kills)
        if not own:
            return _NO_PROGRAM
        missed = [(place, each) for place, each in enumerate(own) if each.verdict != "passed"]
        if lost := [each for _, each in missed if each.verdict in NOT_GRADED]:
            return Judgement(UNGRADED, lost[0].verdict, None, lost[0].detail, kills)
        if not missed:
            return Judgement(1.0, "passed", wall_kills=kills)
        place, first = missed[0]
        failing = first.failing if not self.partial else place
        value = 1 - len(missed) / len(own) if self.partial else 0.0
        return Judgement(value, first.verdict, failing, first.detail, kills)


def _fails(grade: Grade) -> bool:
    """Whether a problem's own solution doesn't pass, by no fault of the grader."""
    return grade.verdict not in ("passed", "infrastructure")
