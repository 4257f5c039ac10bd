"""make: two archives, the net's and the kernels', by any compiler."""

from string import Template

from dfedge.exporters.ecosystems.example import BARE, example
from dfedge.exporters.ecosystems.firmware import EXAMPLE, Firmware

MAKEFILE = Template("""# make            build/lib$prefix.a, and build/libdfedge.a for all nets
# make example    build/learn as well, on this machine
# make CC=arm-none-eabi-gcc AR=arm-none-eabi-ar \\
#      CFLAGS="-O2 -mcpu=$cpu -mthumb -ffunction-sections -fdata-sections"
CFLAGS ?= -O2
OWN := $own
OBJECTS := $$(patsubst %.c,build/%.o,$$(OWN:%.S=build/%.o))
KERNELS := $$(wildcard dfedge/*.c)
HEADERS := $$(wildcard *.h dfedge/*.h)

.PHONY: all example clean
all: build/lib$prefix.a build/libdfedge.a

example: build/learn

build/lib$prefix.a: $$(OBJECTS)
build/libdfedge.a: $$(KERNELS:%.c=build/%.o)
build/%.a:
\trm -f $$@
\t$$(AR) rcs $$@ $$^

build/learn: $example/main.c build/lib$prefix.a build/libdfedge.a
\t$$(CC) $$(CFLAGS) -I. -o $$@ $$^

build/%.o: %.c $$(HEADERS)
\t@mkdir -p $$(@D)
\t$$(CC) -std=c99 $$(CFLAGS) -I. -c -o $$@ $$<

build/%.o: %.S $$(wildcard *.dfe *.bin)
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS) -I. -c -o $$@ $$<

clean:
\trm -rf build
""")


def files(firmware: Firmware) -> dict[str, str]:
    """A Makefile and an example for a bare machine or a host."""
    makefile = MAKEFILE.substitute(
        prefix=firmware.prefix,
        own=" ".join(firmware.own),
        cpu=firmware.cpu or "cortex-m4",
        example=EXAMPLE,
    )
    return {"Makefile": makefile, f"{EXAMPLE}/main.c": example(BARE, firmware.prefix)}
