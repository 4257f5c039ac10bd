"""What the code costs on a microcontroller: bounds, held by tests/test_firmware.py.

By the compiler's own call graph (-fcallgraph-info), of all kernels: what a linker leaves out is
less, and so is what a net without a frozen trunk uses.
"""

STACK_BYTES = 4_300
CODE_BYTES = 55_500
COMPILER = "arm-none-eabi-gcc 12, -O2"
HOW = f"Cortex-M0+, M4 and M55, {COMPILER}"
