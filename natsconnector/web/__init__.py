"""A quiet HTTP site with bounds, and the rule of which hosts and origins it answers. Imports nothing of ours."""
