#define _XOPEN_SOURCE 700 /* for SIGXFSZ */
#include "stop.h"

#include <signal.h>
#include <string.h>

static const int wanted[] = {SIGINT, SIGTERM};
static volatile sig_atomic_t came;

static void note(int number) {
    came = number;
    for (int i = 0; i < 2; i++) signal(wanted[i], SIG_DFL);
}

void dfe_watch_signals(void) {
    struct sigaction before, action;
    memset(&action, 0, sizeof action);
    action.sa_handler = note;
    action.sa_flags = SA_RESTART;
    for (int i = 0; i < 2; i++)
        if (!sigaction(wanted[i], NULL, &before) && before.sa_handler != SIG_IGN) /* as nohup's */
            sigaction(wanted[i], &action, NULL);
    signal(SIGXFSZ, SIG_IGN); /* a file that may not grow is an error of the write */
}

int dfe_signal(void) { return came; }
