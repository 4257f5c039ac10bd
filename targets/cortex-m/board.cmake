target_compile_options(net PUBLIC -mcpu=${NET_CPU} -mthumb -O2 -ffreestanding -ffunction-sections -fdata-sections)
target_sources(net INTERFACE ${CMAKE_CURRENT_LIST_DIR}/startup.c)
target_link_options(net INTERFACE -mcpu=${NET_CPU} -mthumb -nostartfiles -Wl,--gc-sections
    -L${CMAKE_CURRENT_LIST_DIR} -T${CMAKE_CURRENT_LIST_DIR}/link.ld)
