/* Little-endian numbers in bytes that may lie at any address. */
#ifndef EL_BYTES_H
#define EL_BYTES_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes that are appended, and never past `room`. */
struct el_writer {
    uint8_t *to;
    uint16_t room;
    uint16_t length;
};

static inline uint16_t el_get16(const uint8_t *from)
{
    return (uint16_t)((uint16_t)from[0] | ((uint16_t)from[1] << 8));
}

static inline uint32_t el_get32(const uint8_t *from)
{
    return (uint32_t)el_get16(from) | ((uint32_t)el_get16(&from[2]) << 16);
}

void el_add8(struct el_writer *out, uint8_t value);
void el_add16(struct el_writer *out, uint16_t value);
void el_add32(struct el_writer *out, uint32_t value);
void el_add64(struct el_writer *out, uint64_t value);

/* As many of the bytes as fit. */
void el_add(struct el_writer *out, const uint8_t *from, uint32_t count);
void el_add_zeros(struct el_writer *out, uint32_t count);
void el_add_text(struct el_writer *out, const char *text);

#endif
