#ifndef EL_CRC32_H
#define EL_CRC32_H

#include <stdint.h>

/* IEEE 802.3's CRC-32. */
uint32_t el_crc32(const uint8_t *data, uint32_t count);

#endif
