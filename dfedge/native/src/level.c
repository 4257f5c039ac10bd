/* Which instruction set is used. */
#include "level.h"

static const dfe_level *const levels[] = {
#if defined DFE_MVE /* the only one: what is not used is not in the firmware */
    &dfe_mve,
#elif defined DFE_SIMD32
    &dfe_cortex_m,
#elif DFE_SMALL
    &dfe_scalar,
#else
    &dfe_portable,
#endif
#ifdef DFE_X86
    &dfe_avx2,
    &dfe_avx512,
#endif
#ifdef DFE_ARM64
    &dfe_neon,
    &dfe_dotprod,
#endif
};

enum { LEVELS = sizeof levels / sizeof *levels };

#ifdef DFE_ARM64
#ifdef __linux__
#include <sys/auxv.h>
static int dotprod(void) { return getauxval(AT_HWCAP) >> 20 & 1; } /* HWCAP_ASIMDDP */
#else
static int dotprod(void) {
#ifdef __ARM_FEATURE_DOTPROD
    return 1;
#else
    return 0;
#endif
}
#endif
#endif

/* Chosen once; a race between two first calls chooses the same. */
static int32_t used = -1;

static int here(int32_t number) {
#ifdef DFE_X86
    __builtin_cpu_init();
    if (number == 1) return __builtin_cpu_supports("avx2") != 0;
    if (number == 2)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vnni");
#endif
#ifdef DFE_ARM64
    if (number == 1) return 1;
    if (number == 2) return dotprod();
#endif
    return number == 0;
}

const char *dfe_level_name(int32_t number) {
    return number >= 0 && number < LEVELS ? levels[number]->name : NULL;
}

int dfe_use_level(int32_t number) {
    if (number < 0 || number >= LEVELS || !here(number)) return DFE_BAD_CALL;
    used = number;
    return DFE_OK;
}

int32_t dfe_level_used(void) {
    if (used < 0) {
        int32_t best = LEVELS - 1;
        while (!here(best)) best--;
        used = best;
    }
    return used;
}

const dfe_level *dfe_level_now(void) { return levels[dfe_level_used()]; }
