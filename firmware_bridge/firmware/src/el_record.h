/* Which slot to run, and what the slots hold: what outlives a reset and a power cut at any moment. */
#ifndef EL_RECORD_H
#define EL_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "el_config.h"

#define EL_NO_SLOT 255u
#define EL_BUILT_IN 254u

enum el_slot_state { EL_EMPTY, EL_RECEIVING, EL_VERIFIED, EL_TRIAL, EL_CONFIRMED };

struct el_slot {
    uint8_t state; /* of the first three */
    uint32_t length;
    uint8_t sha256[EL_SHA256_BYTES];
};

struct el_record {
    uint8_t confirmed; /* the slot that the next boot runs */
    struct el_slot slot[EL_MAX_SLOTS];
};

/* The newest whole record, or that of a new device. */
void el_record_read(struct el_record *record);

/* Write it over the older of the two; false: the flash failed, and the newer one still counts. */
bool el_record_write(const struct el_record *record);

#endif
