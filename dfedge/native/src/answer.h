/* What the scores of one sample say: dfedge/device/answers.py. */
#ifndef DFE_ANSWER_H
#define DFE_ANSWER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The nearest class of scores int32 [classes], of equal ones the first; and its lead over the runner-up,
 * 0 where there is one class alone. */
int32_t dfe_nearest(const int32_t *scores, int32_t classes, int64_t *margin);

#ifdef __cplusplus
}
#endif

#endif
