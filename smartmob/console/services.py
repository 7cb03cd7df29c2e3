"""The services of the features that the console calls."""

from __future__ import annotations

import msgspec

from smartmob.commands.service import CommandsService
from smartmob.experiments.service import ExperimentsService
from smartmob.hosts.service import HostsService
from smartmob.marks.service import MarksService
from smartmob.metrics.service import MetricsService
from smartmob.nodes.service import NodesService
from smartmob.processes.service import ProcessesService
from smartmob.turrets.service.firing import TurretsService


class Services(msgspec.Struct, frozen=True):
    """The services of all features."""

    metrics: MetricsService
    hosts: HostsService
    processes: ProcessesService
    commands: CommandsService
    turrets: TurretsService
    marks: MarksService
    nodes: NodesService
    experiments: ExperimentsService
