"""What a run and its supervisor tell each other: JSON, each message after its length."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from reasoning.core.errors import InputError
from reasoning.sandbox.records import Call, Job, Limits, Script, Stdio

HEADER = 4
_FORMS = {"stdio": Stdio, "call": Call, "script": Script}


def packed(message: Mapping[str, Any]) -> bytes:
    """A message with its length in front."""
    data = json.dumps(message, ensure_ascii=True).encode()
    return len(data).to_bytes(HEADER, "big") + data


def job_message(job: Job) -> dict[str, Any]:
    """A job as JSON. Raises InputError for arguments or results that are none."""
    tests = [{"form": _form(test), **asdict(test)} for test in job.tests]
    message = {"source": job.source, "language": job.language, "limits": asdict(job.limits), "tests": tests}
    try:
        json.dumps(message, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"a test's arguments or result are no JSON: {error}; give plain JSON values") from None
    return message


def read_job(message: Mapping[str, Any]) -> Job:
    """The job that a message tells of."""
    tests = [_FORMS[test["form"]](**{key: test[key] for key in test if key != "form"}) for test in message["tests"]]
    return Job(message["source"], tests, message["language"], Limits(**message["limits"]))


def _form(test: Any) -> str:
    return next(name for name, form in _FORMS.items() if isinstance(test, form))
