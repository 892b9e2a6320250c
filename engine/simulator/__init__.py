"""The gateway on loopback: all five calls with their real quirks, faults by seed, and the truth about what was accepted.

Imports nothing from the rest of the engine, so that a mistake in reading the protocol cannot hide on both sides.
"""

from engine.simulator.server import Simulator, serve
from engine.simulator.settings import Fault, Layout, RateAnswer, SimulatorSettings, TimeFormat

__all__ = ["Fault", "Layout", "RateAnswer", "Simulator", "SimulatorSettings", "TimeFormat", "serve"]
