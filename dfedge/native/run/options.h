/* The words of a command line. */
#ifndef DFE_RUN_OPTIONS_H
#define DFE_RUN_OPTIONS_H

#include <stdint.h>

typedef enum { DFE_MEMORY, DFE_ANSWER, DFE_LEARN, DFE_REBASE } dfe_command;

typedef struct {
    dfe_command command;
    const char *net, *images, *labels, *state;
    int32_t batch, skip;
    int32_t save_every; /* batches */
    int tells_saves;
} dfe_options;

/* Ends where they make no sense. */
dfe_options dfe_parse(int count, char **words);

#endif
