/* Which program a state belongs to, and how it is carried over to an update of it.
 *
 * To another program a state's integers may mean something else.  Not so where both are of one
 * lineage: they come of one trained net with one set of scales (dfedge/learn/lineage.py,
 * dfedge/device/rebase.py).
 *
 *     dfe_record own = NET_RECORD;
 *     dfe_identify(net_program(), net_first(), &own);
 *     switch (dfe_belonging(&store.record, &own)) ...
 */
#ifndef DFE_REBASE_H
#define DFE_REBASE_H

#include "dfedge.h"
#include "store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum dfe_belonging {
    DFE_OWN,
    DFE_ANOTHER_PROGRAM, /* of the same lineage and layout: dfe_rebase carries it over */
    DFE_ANOTHER_LAYOUT,  /* of the same lineage: other classes, another rule or byte order */
    DFE_ANOTHER_LINEAGE, /* or of none */
    DFE_ROLLED_BACK,     /* the program is older than the one that the state was learned with */
};

/* Set identity and layout: CRC-32 of table and first state, and of where the tensors lie. */
void dfe_identify(const dfe_program *program, const void *first, dfe_record *record);

/* Of a state that was found, to a program. */
int dfe_belonging(const dfe_record *found, const dfe_record *own);

/* Carry over a state that DFE_ANOTHER_PROGRAM has left, where it lies: what learning moved stays,
 * the rates become the new program's; from another semantics, the dither and the running error
 * begin anew.  Gives its new record, with what was counted. */
dfe_record dfe_rebase(const dfe_program *program, const void *first, void *state,
                      const dfe_record *found, const dfe_record *own);

#ifdef __cplusplus
}
#endif

#endif
