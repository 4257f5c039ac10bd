/* net.dfe, a net in one file: c/ of a bundle.
 *
 *     offset   bytes  what                          numbers are little-endian
 *     0        4      89 "DFN"
 *     4        4      version of this format, 2
 *     8        4      CRC-32 of all other bytes
 *     12       4      w, words of the table
 *     16       4      n, bytes of the state
 *     20       4      version of the bundle
 *     24       4      version of the semantics
 *     28       4      0
 *     32       32     lineage, SHA-256; zeros: none
 *     64       4 w    the table                     (dfedge.h)
 *     64 + 4w  n      the first state
 *
 * dfedge/native/image.py writes it.  (Version 1 began with "DFE1" and had no checksum.)
 */
#ifndef DFE_RUN_IMAGE_H
#define DFE_RUN_IMAGE_H

#include "rebase.h"

typedef struct {
    const char *path;
    dfe_program *program;
    const void *first; /* the state that was exported */
    void *state;       /* that learns; at first the same */
    dfe_record own;    /* of a state that belongs to it and has learned nothing */
} dfe_net;

/* Ends where the file is not whole or cannot be run here. */
dfe_net dfe_read_net(const char *path);

#endif
