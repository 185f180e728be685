"""How Hypothesis runs here: the same examples each time, so that a red test is a change in the code."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    # On a busy machine the first example of a process can be slow: that says nothing about the code.
    "fixed", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)  # fmt: skip
settings.load_profile("fixed")
