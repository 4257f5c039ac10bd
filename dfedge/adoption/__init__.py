"""Bring your own model: a trained net becomes a frozen integer trunk and layers that learn.

load      MODEL -> `graph.Graph`, a list of a dozen float operations; or a refusal
read, read_onnx   a torch or an ONNX graph, both by `translation`, what cannot be by `refusal`
views, pools, windows   what of an order, a form or an attribute matters to what is computed
fold      normalisation and activations folded into them
taps      further layers that a head sees
blocks    which of the last operations can learn, as layers of `dfedge.learn.net`
quantise  the operations below -> integer steps (`dfedge.trunk`), calibrated on samples
adopt     all of it -> an ordinary RUN
"""
