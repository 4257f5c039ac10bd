/* Learns three samples; goes on from a state file, if one is on stdin; prints the state file of what it
 * knows then.  Exits with what net_import gave. */
#include <stdio.h>
#include <string.h>

#include "net_store.h"

static uint8_t file[1 << 20];
static uint32_t there;

static int from_file(void *context, uint32_t at, void *into, uint32_t bytes) {
    (void)context;
    if (at > there || bytes > there - at) return 1;
    memcpy(into, file + at, bytes);
    return 0;
}

static int to_stdout(void *context, const void *from, uint32_t bytes) {
    *(uint32_t *)context += bytes;
    return fwrite(from, 1, bytes, stdout) != bytes;
}

int main(void) {
    static int8_t x[NET_HEIGHT * NET_WIDTH * NET_CHANNELS];
    static net_answer answer;
    uint32_t written = 0;
    net_reset();
    for (int i = 0; i < 3; i++) {
        x[i] = 127;
        if (net_learn(x, 3, &answer) != DFE_OK) return 100;
    }
    there = (uint32_t)fread(file, 1, sizeof file, stdin);
    int status = there ? net_import(from_file, 0) : DFE_STORED;
    if (net_export(to_stdout, &written) != DFE_STORED) return 101;
    return written == NET_FILE_BYTES ? status : 102;
}
