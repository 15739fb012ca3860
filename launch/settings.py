"""Settings of a target: a frozen dataclass whose fields are flags, each with the sentence that documents it."""

import argparse
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

Settings = TypeVar("Settings", bound="Launch")


def option(told: str, default: Any = MISSING) -> Any:
    """A documented field; one without a default must be given."""
    return field(metadata={"help": told}) if default is MISSING else field(default=default, metadata={"help": told})


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What every target that is not this machine's own processes is told."""

    name: str = option("names the job and its folder (default: the experiment file's name)", "")
    retries: int = option("how often the job begins again after a failure; being preempted doesn't count", 3)
    cells: str = option("of a sweep, only these cells, by number from 0: 0,3,4", "")
    folder: str = option("where the files of launches are kept, a folder for each name", "runs/launch")
    python: str = option("the Python of the target that has the requirements", "python3")
    dirty: bool = option("ship changes of tracked files that no commit holds, too", False)
    force: bool = option("launch without planning first whether it fits", False)
    store: str = option("s3://BUCKET/RUN or gs://BUCKET/RUN; each job copies its stages into a folder there", "")
    detach: bool = option("don't follow the log once the job is submitted", False)


@dataclass(frozen=True, kw_only=True)
class CloudTpus(Launch):
    """What all ways of renting TPUs from Google Cloud are told; results lie in a bucket that every host mounts."""

    accelerator: str = option("the TPU: v5e-1, v5e-16, v5p-64, 2xv5e-256 for two slices")
    bucket: str = option("name of the bucket for the results, with a hierarchical namespace")
    spot: bool = option("use capacity that may be taken away: cheaper, and the run goes on", False)


def add_settings(parser: argparse.ArgumentParser, record: type[Launch]) -> None:
    """A flag for every field of a record of settings."""
    for each in fields(record):
        flag, told = f"--{each.name.replace('_', '-')}", each.metadata["help"]
        if each.type is bool:
            parser.add_argument(flag, action="store_true", help=told)
        elif each.default is MISSING:
            parser.add_argument(flag, type=each.type, required=True, help=told)
        else:
            shown = f" (default {each.default})" if each.default not in ("", 0) else ""
            parser.add_argument(flag, type=each.type, default=each.default, help=told + shown)


def settings_of(record: type[Settings], options: argparse.Namespace) -> Settings:
    """The record that the flags give."""
    return record(**{each.name: getattr(options, each.name) for each in fields(record)})
