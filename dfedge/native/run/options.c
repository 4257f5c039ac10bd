#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fail.h"

enum { LARGEST_BATCH = 4096, LARGEST = 1 << 30, SAVE_EVERY = 50 };

static const struct {
    const char *name;
    size_t least, most; /* NET, IMAGES, LABELS */
    int needs_state;
} commands[] = {
    [DFE_MEMORY] = {"memory", 1, 1, 0},
    [DFE_ANSWER] = {"infer", 2, 3, 0},
    [DFE_LEARN] = {"train", 3, 3, 1},
    [DFE_REBASE] = {"rebase", 1, 1, 1},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void usage(void) {
    fputs("usage: dfedge-run memory NET\n"
          "       dfedge-run infer NET IMAGES [LABELS] [--state FILE] [--batch N] [--skip N]\n"
          "       dfedge-run train NET IMAGES LABELS --state FILE [--batch N] [--skip N]\n"
          "                        [--save-every N]\n"
          "       dfedge-run rebase NET --state FILE\n",
          stderr);
    exit(DFE_USAGE);
}

static int32_t number(const char *option, const char *word, int32_t least, int32_t most) {
    char *end;
    errno = 0;
    long n = strtol(word, &end, 10);
    if (errno || end == word || *end || n < least || n > most)
        dfe_fail(DFE_USAGE, option, "is %s; allowed: whole numbers from %d to %d",
                 word, least, most);
    return (int32_t)n;
}

static dfe_command command_of(const char *word) {
    for (int i = 0; word && i < COMMANDS; i++)
        if (!strcmp(word, commands[i].name)) return (dfe_command)i;
    usage();
    return DFE_MEMORY;
}

dfe_options dfe_parse(int count, char **words) {
    const char *command = NULL;
    dfe_options o = {.batch = 16, .save_every = SAVE_EVERY};
    const char **places[] = {&command, &o.net, &o.images, &o.labels};
    size_t place = 0;
    for (int i = 1; i < count; i++) {
        const char *word = words[i], *next = i + 1 < count ? words[i + 1] : NULL;
        if (next && !strcmp(word, "--state")) {
            o.state = words[++i];
        } else if (next && !strcmp(word, "--batch")) {
            o.batch = number(word, words[++i], 1, LARGEST_BATCH);
        } else if (next && !strcmp(word, "--skip")) {
            o.skip = number(word, words[++i], 0, LARGEST);
        } else if (next && !strcmp(word, "--save-every")) {
            o.save_every = number(word, words[++i], 1, LARGEST);
            o.tells_saves = 1;
        } else if (word[0] == '-' || place == sizeof places / sizeof *places) {
            usage();
        } else {
            *places[place++] = word;
        }
    }
    o.command = command_of(command);
    if (place < 1 + commands[o.command].least || place > 1 + commands[o.command].most ||
        (commands[o.command].needs_state && !o.state))
        usage();
    return o;
}
