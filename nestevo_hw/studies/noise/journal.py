"""Memory of a benchmark: every score as it is found, so that an interrupted one can go on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.jsonlines import Journal
from nestevo_hw.studies.noise.bench import Scores
from nestevo_hw.studies.noise.plan import Trial

JOURNAL = "journal.jsonl"
RESULTS = "results.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredTrial(Trial):
    """A trial with its scores, as it goes to files and other processes."""

    scores: Scores

    @classmethod
    def of(cls, trial: Trial, scores: Scores) -> "ScoredTrial":
        """A trial and its scores together."""
        return cls(sweep=trial.sweep, value=trial.value, repeat=trial.repeat, training=trial.training, scores=scores)

    @property
    def trial(self) -> Trial:
        """The trial alone."""
        return Trial(sweep=self.sweep, value=self.value, repeat=self.repeat, training=self.training)


class ScoreJournal:
    """Scores by trial, kept in a journal for all that they depend on.

    Args:
        folder: of the benchmark.
        identity: all that its scores depend on.
        resume: go on with what is there.

    Raises:
        ConfigError: the folder holds scores of another configuration, or some that are not to be resumed, or nothing
            to resume.
        InputError: the journal is damaged.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        path, results = folder / JOURNAL, folder / RESULTS
        if resume and not path.is_file():
            raise ConfigError(f"{folder} holds no benchmark to resume; leave --resume out")
        if results.is_file() and not (resume or path.is_file()):
            raise ConfigError(f"{folder} holds the results of a benchmark; choose another --out")
        self._journal = Journal(path, ScoredTrial, identity, holds="scores", resume=resume)
        self.scores: dict[Trial, Scores] = {record.trial: record.scores for record in self._journal.records}

    def keep(self, trial: Trial, scores: Scores) -> None:
        """Remember the scores of a trial, at once and for good."""
        self._journal.append(ScoredTrial.of(trial, scores))
        self.scores[trial] = scores
