/* Ctrl-C and SIGTERM are one wish: stop soon, keep what was learned, and say so. */
#ifndef DFE_RUN_STOP_H
#define DFE_RUN_STOP_H

/* From now on the first of them is only noted, and the second ends the process. */
void dfe_watch_signals(void);

/* The one that came; 0: none. */
int dfe_signal(void);

#endif
