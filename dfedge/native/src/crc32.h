/* CRC-32 as of Ethernet and zlib: finds every change of one bit, and of up to 32 in a row. */
#ifndef DFE_CRC32_H
#define DFE_CRC32_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of what was summed before, 0 at first, and these bytes. */
uint32_t dfe_crc32(uint32_t sum, const void *bytes, size_t count);

#ifdef __cplusplus
}
#endif

#endif
