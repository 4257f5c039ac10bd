/* The calls of random nets: see calls.h. */
#include "calls.h"

#include "cases.h"

int main(void) {
    for (int32_t i = 0; i < VALUES; i++) x[i] = (int8_t)draw(1, 127);
    all_calls(FIRST, NETS, sizeof NETS / sizeof *NETS);
    return 0;
}
