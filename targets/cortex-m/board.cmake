target_compile_options(dfedge PUBLIC -mcpu=${NET_CPU} -mthumb -O2 -ffreestanding -ffunction-sections -fdata-sections)
target_sources(dfedge INTERFACE ${CMAKE_CURRENT_LIST_DIR}/startup.c)
target_link_options(dfedge INTERFACE -mcpu=${NET_CPU} -mthumb -nostartfiles -Wl,--gc-sections
    -L${CMAKE_CURRENT_LIST_DIR} -T${CMAKE_CURRENT_LIST_DIR}/link.ld)
