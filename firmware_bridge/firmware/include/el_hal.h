/* What the firmware asks of a board. A port is one file that defines these. */
#ifndef EL_HAL_H
#define EL_HAL_H

#include <stdbool.h>
#include <stdint.h>

#include "el_config.h"

/* Areas of flash: the slots are 0, 1, ...; and two pages for the record of which slot to run. */
#define EL_RECORD_A 0x80u
#define EL_RECORD_B 0x81u

/* How a stream's values are written. */
enum el_format { EL_INT8 = 1, EL_INT16 = 2, EL_INT32 = 3, EL_FLOAT32 = 4 };

struct el_stream {
    const char *name;         /* what is measured, with its unit */
    uint8_t format;           /* enum el_format */
    uint8_t channels;         /* values in a sample */
    uint8_t sample_bytes;     /* of all channels */
    uint32_t least_period_us; /* between two samples */
};

struct el_board {
    const char *name;
    uint16_t core; /* the part number in CPUID; 0: a process */
    uint8_t slots; /* up to EL_MAX_SLOTS */
    uint8_t streams;
    uint32_t slot_address[EL_MAX_SLOTS];
    uint32_t slot_bytes;
    uint32_t arena_address; /* of delivered models; nothing else may lie there */
    uint32_t arena_bytes;
    uint32_t highest_baud;
    uint32_t ticks_hz; /* of el_hal_ticks; 0: it doesn't count */
    const struct el_stream *stream;
};

const struct el_board *el_hal_board(void);

/* Give the transmitter a byte; false where it has no room now. */
bool el_hal_put(uint8_t byte);

/* Change the line's rate, once the last byte has left. */
void el_hal_set_baud(uint32_t baud);

/* Since boot; never goes back. Called at least once a minute. */
uint64_t el_hal_time_us(void);

/* A fast counter that wraps. */
uint32_t el_hal_ticks(void);

/* A number that is another one after each boot. */
uint32_t el_hal_boot_id(void);

/* Resets since the device got its power. */
uint32_t el_hal_resets(void);

/* Restart, once the last byte has left. */
void el_hal_reset(void);

/* Sleep until an interrupt; may return at once. */
void el_hal_wait(void);

/* All is well: the watchdog, which the port starts before el_init, begins anew. It must bear 5 s without this, which a model or
   the erasing of a slot may take, and reset the board soon after. */
void el_hal_watchdog_kick(void);

/* Where an area lies; it is read, and a slot is run, in place. */
const uint8_t *el_hal_flash(uint8_t area);

/* Make all bytes of an area 0xFF. */
bool el_hal_flash_erase(uint8_t area);

/* Write erased bytes: offset and count are multiples of EL_FLASH_UNIT. */
bool el_hal_flash_write(uint8_t area, uint32_t offset, const uint8_t *data, uint32_t count);

/* Take one sample of a stream, little-endian; false where the sensor has none. */
bool el_hal_sample(uint8_t stream, uint8_t *values);

#endif
