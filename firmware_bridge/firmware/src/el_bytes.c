#include "el_bytes.h"

void el_add8(struct el_writer *out, uint8_t value)
{
    if (out->length < out->room) {
        out->to[out->length] = value;
        out->length++;
    }
}

void el_add16(struct el_writer *out, uint16_t value)
{
    el_add8(out, (uint8_t)(value & 0xFFu));
    el_add8(out, (uint8_t)(value >> 8));
}

void el_add32(struct el_writer *out, uint32_t value)
{
    el_add16(out, (uint16_t)(value & 0xFFFFu));
    el_add16(out, (uint16_t)(value >> 16));
}

void el_add64(struct el_writer *out, uint64_t value)
{
    el_add32(out, (uint32_t)(value & 0xFFFFFFFFu));
    el_add32(out, (uint32_t)(value >> 32));
}

void el_add(struct el_writer *out, const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; (i < count) && (out->length < out->room); i++) {
        el_add8(out, from[i]);
    }
}

void el_add_zeros(struct el_writer *out, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        el_add8(out, 0u);
    }
}

void el_add_text(struct el_writer *out, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        el_add8(out, (uint8_t)*at);
    }
}
