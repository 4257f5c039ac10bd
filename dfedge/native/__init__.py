"""The integer step in C: fused kernels, an interpreter of plans, and what builds and calls them.

``src/`` is freestanding C99 without allocation: portable C is the definition; the AVX2 and
AVX512-VNNI loops (chosen at run time) and the NEON ones (where the processor is an aarch64) give
the same bits.  No int32 activation, no error tensor and no gradient buffer exists: a convolution
rounds as it sums, an error is made where it is read, and weights are moved in place, tile by tile.

Modules: `table` (a plan as the interpreter reads it), `block` (tensors in one block of memory),
`trunk` (a frozen trunk in the table), `places` (where its values lie), `build` (the compiler),
`cache` (where compiled libraries are kept),
`library` (ctypes), `program` (a plan and its state, ready to be called), `folder` (the sources that
a project of one's own is made of: `sources`, `net_store`, `known`; `naming` of what is in them),
`image` (a net in one file), `store` (the two slots of ``src/store.h``, by ctypes), `rendering`
(names of the two renderings of a format), `glue` (the interpreter inside ExecuTorch and
onnxruntime: ``ops/``).
"""
