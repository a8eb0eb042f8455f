#include "el_frame.h"

#include "el_bytes.h"
#include "el_crc32.h"
#include "el_hal.h"

#define FULL 0xFFu /* the code of a group of 254 bytes that no zero follows */
#define GROUP 254u

enum state { IDLE, FIRST_ZERO, CODE, BYTES, LAST_ZERO };

void el_decoder_start(struct el_decoder *decoder)
{
    decoder->encoded = 0;
    decoder->length = 0;
    decoder->code = FULL; /* no zero comes before the first group */
    decoder->left = 0;
}

static void keep(struct el_decoder *decoder, uint8_t byte)
{
    if (decoder->length < EL_FRAME_BYTES) {
        decoder->frame[decoder->length] = byte;
    }
    decoder->length++;
}

static enum el_found judge(const struct el_decoder *decoder)
{
    enum el_found found;
    if (decoder->encoded == 0u) {
        found = EL_NOTHING;
    } else if (decoder->encoded > EL_MOST_ENCODED) {
        found = EL_DAMAGED_LONG;
    } else if (decoder->left > 0u) {
        found = EL_DAMAGED_COBS;
    } else if (decoder->length < EL_LEAST_FRAME) {
        found = EL_DAMAGED_SHORT;
    } else if (decoder->length > EL_FRAME_BYTES) {
        found = EL_DAMAGED_LONG;
    } else {
        const uint32_t body = decoder->length - EL_CRC_BYTES;
        found = (el_crc32(decoder->frame, body) == el_get32(&decoder->frame[body])) ? EL_FRAME : EL_DAMAGED_CRC;
    }
    return found;
}

enum el_found el_decode(struct el_decoder *decoder, uint8_t byte)
{
    enum el_found found = EL_NOTHING;
    if (byte == 0u) {
        found = judge(decoder);
        const uint32_t length = decoder->length;
        el_decoder_start(decoder);
        /* The caller reads the length; the next byte that isn't zero begins anew. */
        decoder->length = length;
    } else {
        if (decoder->encoded == 0u) {
            decoder->length = 0;
        }
        if (decoder->encoded <= EL_MOST_ENCODED) { /* an endless frame counts no further */
            decoder->encoded++;
            if (decoder->left > 0u) {
                decoder->left--;
                keep(decoder, byte);
            } else {
                if (decoder->code != FULL) {
                    keep(decoder, 0u);
                }
                decoder->code = byte;
                decoder->left = (uint8_t)(byte - 1u);
            }
        }
    }
    return found;
}

void el_send(struct el_sender *sender, uint8_t *data, uint16_t length)
{
    struct el_writer out = {data, (uint16_t)(length + EL_CRC_BYTES), length};
    el_add32(&out, el_crc32(data, length));
    sender->data = data;
    sender->length = out.length;
    sender->at = 0;
    sender->left = 0;
    sender->full = false;
    sender->state = (uint8_t)FIRST_ZERO;
}

static uint8_t group(const struct el_sender *sender)
{
    uint32_t end = sender->at;
    while ((end < sender->length) && ((end - sender->at) < GROUP) && (sender->data[end] != 0u)) {
        end++;
    }
    return (uint8_t)(end - sender->at);
}

/* After a group: over the zero that it stands for, and on. */
static void next_group(struct el_sender *sender)
{
    if (sender->at >= sender->length) {
        sender->state = (uint8_t)LAST_ZERO;
    } else {
        sender->state = (uint8_t)CODE;
        if (!sender->full) {
            sender->at++;
        }
    }
}

bool el_sent(struct el_sender *sender)
{
    bool room = true;
    while (room && (sender->state != (uint8_t)IDLE)) {
        if (sender->state == (uint8_t)CODE) {
            const uint8_t bytes = group(sender);
            room = el_hal_put((uint8_t)(bytes + 1u));
            if (room) {
                sender->left = bytes;
                sender->full = (bytes == GROUP);
                sender->state = (uint8_t)BYTES;
                if (bytes == 0u) {
                    next_group(sender);
                }
            }
        } else if (sender->state == (uint8_t)BYTES) {
            room = el_hal_put(sender->data[sender->at]);
            if (room) {
                sender->at++;
                sender->left--;
                if (sender->left == 0u) {
                    next_group(sender);
                }
            }
        } else {
            room = el_hal_put(0u);
            if (room) {
                sender->state = (sender->state == (uint8_t)FIRST_ZERO) ? (uint8_t)CODE : (uint8_t)IDLE;
            }
        }
    }
    return sender->state == (uint8_t)IDLE;
}
