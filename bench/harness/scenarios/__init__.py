"""Promises other than speed, measured; each on a fresh ground, with its bound beside the figure."""

from . import fairness, idle, lanes, latency, pause, rate, scale
from .verdict import Scenario

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario("scale", "what a message costs, from ten thousand recipients to a million", scale.run),
        Scenario("lanes", "200 campaigns over 20 numbers, against one campaign of as many recipients", lanes.run),
        Scenario("latency", "from the scheduled time to the first accepted message", latency.run),
        Scenario("pause", "from asking for a pause to the last message that is still sent", pause.run),
        Scenario("idle", "what the engine uses while there is nothing to do", idle.run),
        Scenario("rate", "how exactly the rate of a number is used", rate.run),
        Scenario("fairness", "a small campaign beside a large one on the same number", fairness.run),
    )
}
