/* dfedge-run: an exported net learns and answers without Python.
 *
 *     dfedge-run memory NET
 *     dfedge-run infer NET IMAGES [LABELS] [--state FILE] [--batch N] [--skip N]
 *     dfedge-run train NET IMAGES LABELS --state FILE [--batch N] [--skip N] [--save-every N]
 *     dfedge-run rebase NET --state FILE
 *
 * NET is c/net.dfe of a bundle; images and labels are IDX files, of which the first N may be
 * skipped.  `train` goes on from the state where there is one, saves after every 50 batches and at
 * the end, and tells of each save where --save-every is given.  `rebase` carries a state over to an
 * update of its program.
 *
 * Exit codes: 0 done, 1 data that cannot be used, 2 usage, 3 what the machine could not (disk,
 * memory, a state in use), 130 and 143 where Ctrl-C or SIGTERM ended it.
 */
#include "fail.h"
#include "pass.h"
#include "state.h"
#include "stop.h"

static void memory(const dfe_net *net) {
    printf("state %d B\n", net->program->state_bytes);
    for (int32_t batch = 1; batch <= 16; batch += 15)
        printf("batch %d: arena of train %lld B, of infer %lld B\n", batch,
               (long long)dfe_arena_of(net, DFE_TRAIN, batch),
               (long long)dfe_arena_of(net, DFE_INFER, batch));
}

int main(int count, char **words) {
    dfe_options options = dfe_parse(count, words);
    dfe_net net = dfe_read_net(options.net);
    if (options.command == DFE_MEMORY) {
        memory(&net);
        return 0;
    }
    if (options.command == DFE_REBASE) {
        dfe_watch_signals();
        dfe_rebase_state(options.state, &net);
        return 0;
    }
    return dfe_pass(&net, &options);
}
