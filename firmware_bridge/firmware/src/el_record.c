#include "el_record.h"

#include <string.h>

#include "el_bytes.h"
#include "el_crc32.h"
#include "el_hal.h"

#define MAGIC 0x43524C45u /* ELRC */
#define HEAD_BYTES 16u
#define SLOT_BYTES (8u + EL_SHA256_BYTES)
#define BODY_BYTES (HEAD_BYTES + (EL_MAX_SLOTS * SLOT_BYTES))
#define RECORD_BYTES (BODY_BYTES + 8u) /* the CRC, and 4 bytes to the flash's unit */

typedef char record_is_of_whole_units[((RECORD_BYTES % EL_FLASH_UNIT) == 0u) ? 1 : -1];

static bool whole(const uint8_t *at)
{
    return (el_get32(at) == MAGIC) && (el_get32(&at[BODY_BYTES]) == el_crc32(at, BODY_BYTES));
}

/* The area of the newest whole record; 0: there is none. */
static uint8_t newest(void)
{
    const uint8_t *a = el_hal_flash(EL_RECORD_A);
    const uint8_t *b = el_hal_flash(EL_RECORD_B);
    uint8_t found = 0;
    if (whole(a) && whole(b)) {
        /* Modulo 2^32: the distance tells which one came later. */
        found = ((el_get32(&b[4]) - el_get32(&a[4])) < 0x80000000u) ? EL_RECORD_B : EL_RECORD_A;
    } else if (whole(a)) {
        found = EL_RECORD_A;
    } else if (whole(b)) {
        found = EL_RECORD_B;
    } else {
        /* a new device */
    }
    return found;
}

void el_record_read(struct el_record *record)
{
    const uint8_t area = newest();
    (void)memset(record, 0, sizeof *record);
    record->confirmed = EL_BUILT_IN;
    if (area != 0u) {
        const uint8_t *at = el_hal_flash(area);
        record->confirmed = at[8];
        for (uint32_t i = 0; i < EL_MAX_SLOTS; i++) {
            const uint8_t *slot = &at[HEAD_BYTES + (i * SLOT_BYTES)];
            record->slot[i].state = slot[0];
            record->slot[i].length = el_get32(&slot[4]);
            (void)memcpy(record->slot[i].sha256, &slot[8], EL_SHA256_BYTES);
        }
    }
}

bool el_record_write(const struct el_record *record)
{
    const uint8_t old = newest();
    const uint8_t area = (old == EL_RECORD_A) ? EL_RECORD_B : EL_RECORD_A;
    uint8_t bytes[RECORD_BYTES];
    struct el_writer out = {bytes, sizeof bytes, 0};
    el_add32(&out, MAGIC);
    el_add32(&out, (old == 0u) ? 1u : (el_get32(&el_hal_flash(old)[4]) + 1u));
    el_add32(&out, record->confirmed);
    el_add32(&out, 0u);
    for (uint32_t i = 0; i < EL_MAX_SLOTS; i++) {
        el_add32(&out, record->slot[i].state);
        el_add32(&out, record->slot[i].length);
        el_add(&out, record->slot[i].sha256, EL_SHA256_BYTES);
    }
    el_add32(&out, el_crc32(bytes, BODY_BYTES));
    el_add32(&out, 0xFFFFFFFFu);
    return el_hal_flash_erase(area) && el_hal_flash_write(area, 0, bytes, RECORD_BYTES) &&
           (memcmp(el_hal_flash(area), bytes, RECORD_BYTES) == 0);
}
