"""Rank 0's part of a run: the servers' API, the workload's materials, the results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mls.commands.outcome import Outcome
from mls.config.config import Config
from mls.config.settings import Settings
from mls.core.run_result import CanaryReport
from mls.load.canaries.known import Canaries
from mls.load.canaries.plan import obstacle, plan, ruled_out
from mls.load.canaries.reference import NoReferenceError, ask
from mls.load.rank import Harvest
from mls.load.spec import RunSpec
from mls.load.workload.builder import Materials
from mls.load.workload.preparation import prepare
from mls.server.access import target_of
from mls.server.adapters import check_adapters
from mls.server.api import ServerApi


class Control:
    """The control of one run. The other ranks don't import this module, nor the analysis."""

    def __init__(
        self,
        config: Config,
        settings: Settings,
        seed: int,
        urls: Sequence[str],
        output: Path | None,
    ) -> None:
        """Raises `UserError` when a URL or a setting of the server's access is wrong."""
        # On rank 0 alone: other hosts may lack the variables that it reads
        targets = tuple(target_of(url, settings.server, settings.run) for url in urls)
        self._targets = targets
        self._seed = seed
        self._canary_seed = config.seed
        self._settings = settings
        self._results = Path(config.results)
        self._outcome = Outcome(config, settings, seed, targets, output)
        # One object a server for the whole run: each remembers the endpoints that its server lacks
        self._apis = [
            ServerApi(target, run=settings.run, metrics_url=settings.server.metrics_url)
            for target in targets
        ]

    def spec(self) -> RunSpec:
        """The run's specification, for all ranks. Raises `UserError`."""
        outcome = self._outcome
        served_as, run_id, run = outcome.introduce(self._apis)
        for api in self._apis:
            check_adapters(api, run)
        settings = replace(self._settings, run=run)
        materials = prepare(
            settings, self._seed, self._results, self._apis[0], served_as, self._canary_seed
        )
        texts = materials.texts
        outcome.prepare(materials.notes, texts.facts if texts else None, materials.template)
        canaries = self._canaries(settings, materials, served_as)
        return RunSpec(
            *(settings, self._targets, served_as, self._seed, run_id),
            *(materials, outcome.salted, canaries),
        )

    def _canaries(
        self, settings: Settings, materials: Materials, served_as: str | None
    ) -> Canaries | None:
        """The canaries of the load, asked alone; None, for a reason on record, where it has none."""
        rule = ruled_out(settings)
        why = rule or obstacle(settings, materials)
        canaries = None
        if why is None:
            mix = plan(settings, self._canary_seed, self._seed, materials)
            try:
                known = ask(self._apis[0], mix, settings.run, served_as, self._outcome.salted)
                canaries = Canaries(mix, known)
            except NoReferenceError as error:
                why = str(error)
        keep_output = settings.run.keep_output
        self._outcome.canaries = (
            canaries.report(keep_output)
            if canaries
            else CanaryReport(why_none=why, ruled_out=rule is not None)
        )
        return canaries

    def before(self) -> None:
        """Record the servers' state between warm-up and load. Never raises."""
        self._outcome.before(self._apis)

    def conclude(self, harvest: Harvest) -> None:
        """Record the servers' state after the load; write and print the results.

        Raises `UserError` when there is no result.
        """
        self._outcome.after(self._apis)
        self._outcome.conclude(harvest)
