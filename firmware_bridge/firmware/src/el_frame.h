/* Frames: bytes of the line in, frames out, and the other way; PROTOCOL.md says how. */
#ifndef EL_FRAME_H
#define EL_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "el_config.h"

enum el_found {
    EL_NOTHING,      /* the frame isn't at its end */
    EL_FRAME,        /* one is whole */
    EL_DAMAGED_COBS, /* a group reaches past the end */
    EL_DAMAGED_SHORT,
    EL_DAMAGED_LONG,
    EL_DAMAGED_CRC
};

struct el_decoder {
    uint8_t frame[EL_FRAME_BYTES]; /* decoded: version, type, sequence, payload, CRC */
    uint32_t encoded;              /* bytes since the last zero */
    uint32_t length;               /* of the decoded ones; past EL_FRAME_BYTES they are counted and not kept */
    uint8_t code;                  /* of the group that is read */
    uint8_t left;                  /* of its bytes */
};

void el_decoder_start(struct el_decoder *decoder);

/* Take a byte. Where it ends a frame, that is in `frame`, `length` bytes of it, until the next byte. */
enum el_found el_decode(struct el_decoder *decoder, uint8_t byte);

struct el_sender {
    const uint8_t *data;
    uint16_t length;
    uint16_t at;   /* the next byte of data */
    uint8_t left;  /* of the group that is written */
    bool full;     /* no zero follows that group */
    uint8_t state; /* what comes next */
};

/* Write the CRC behind `length` bytes and begin to send both; the bytes must stay until all is sent. */
void el_send(struct el_sender *sender, uint8_t *data, uint16_t length);

/* Send as much as the line takes now; true: all was sent. */
bool el_sent(struct el_sender *sender);

#endif
