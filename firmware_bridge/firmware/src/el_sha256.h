#ifndef EL_SHA256_H
#define EL_SHA256_H

#include <stdint.h>

#include "el_config.h"

/* SHA-256 (FIPS 180-4) of bytes that lie together. */
void el_sha256(const uint8_t *data, uint32_t count, uint8_t digest[EL_SHA256_BYTES]);

#endif
