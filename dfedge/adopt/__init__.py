"""Bring your own model: a trained torch net becomes a frozen integer trunk and layers that learn.

load      MODEL -> an exported graph
read      the graph -> `graph.Graph`, a list of a dozen float operations; or a refusal
fold      normalisation and activations folded into them
taps      further layers that a head sees
blocks    which of the last operations can learn, as layers of `dfedge.learn.net`
quantise  the operations below -> integer steps (`dfedge.trunk`), calibrated on samples
adopt     all of it -> an ordinary RUN
"""
