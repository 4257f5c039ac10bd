# Processors whose floats, and with them the vectors of a Cortex-M55, lie in registers of their own:
# without that ABI the compiler offers no MVE.
set(float soft)
if(NET_CPU MATCHES "^cortex-m(4|7|33|35p|55|85)$")
    set(float hard)
endif()
set(processor -mcpu=${NET_CPU} -mthumb -mfloat-abi=${float})
target_compile_options(dfedge PUBLIC ${processor} -O2 -ffreestanding -ffunction-sections -fdata-sections)
target_sources(dfedge INTERFACE ${CMAKE_CURRENT_LIST_DIR}/startup.c)
target_link_options(dfedge INTERFACE ${processor} -nostartfiles -Wl,--gc-sections
    -L${CMAKE_CURRENT_LIST_DIR} -T${CMAKE_CURRENT_LIST_DIR}/link.ld)
