/* Learn what may be wrong with net_known.h alone, and print what came of it: the test compares it with
 * the host's. */
#include <stdio.h>

#include "data.h"
#include "net_known.h"

static int32_t right(const dfe_care *care) {
    int32_t found = 0;
    for (int32_t i = 0; i < care->judge.count; i++) {
        int32_t scores[NET_CLASSES], best = 0;
        if (net_infer(1, care->judge.x + i * IMAGE_BYTES, scores) != DFE_OK) return 0;
        for (int32_t k = 1; k < NET_CLASSES; k++)
            if (scores[k] > scores[best]) best = k;
        found += best == care->judge.y[i];
    }
    return found;
}

int main(void) {
    int32_t scores[NET_CLASSES];
    net_reset();
    dfe_care *care = net_care();
    int status = dfe_care_begin(care);
    for (int32_t i = 0; i < COUNT && status == DFE_OK; i++)
        status = dfe_learn(care, x + i * IMAGE_BYTES, y[i], scores);
    if (status == DFE_OK) status = net_care_end();
    if (status != DFE_OK) return status;
    printf("least %d\nknown %d\ntaken_back %d\nram %d\ncounted %d\nstate ", (int)care->known_first,
           (int)right(care), (int)(care->partly + care->wholly), (int)NET_CARE_BYTES,
           (int)net_learned()->samples);
    const uint8_t *byte = net_state();
    for (int32_t i = 0; i < NET_STATE_BYTES; i++) printf("%02x", byte[i]);
    printf("\n");
    return 0;
}
