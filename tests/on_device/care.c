/* Learn what may be wrong with net_known.h alone, and print what came of it: the test compares it with
 * the host's. */
#include "net_known.h"
#include "port.h"
#include "sample.h"

static int32_t known(const dfe_care *care) {
    int32_t found = 0;
    for (int32_t i = 0; i < care->judge.count; i++) {
        static net_answer answer;
        const int8_t *x = care->judge.x + i * NET_HEIGHT * NET_WIDTH * NET_CHANNELS;
        if (net_predict(x, &answer) != DFE_OK) return 0;
        found += answer.row == care->judge.y[i];
    }
    return found;
}

int main(void) {
    int32_t scores[NET_CLASSES];
    net_reset();
    print_number("before", right());
    dfe_care *care = net_care();
    int status = dfe_care_begin(care);
    for (int32_t i = 0; i < STEPS && status == DFE_OK; i++) {
        int32_t k = i % TRAIN_SAMPLES;
        status = dfe_learn(care, input(train_x, k), train_y[k], scores);
    }
    if (status == DFE_OK) status = net_care_end();
    if (status != DFE_OK) return status;
    print_number("after", right());
    print_number("least", (uint32_t)care->known_first);
    print_number("known", (uint32_t)known(care));
    print_number("judged", (uint32_t)care->judgements);
    print_number("taken_back", (uint32_t)(care->partly + care->wholly));
    print_number("care", NET_CARE_BYTES);
    print_number("counted", (uint32_t)net_learned()->samples);
    print_number("stack", board_stack_used());
    print_bytes("state", net_state(), NET_STATE_BYTES);
    return 0;
}
