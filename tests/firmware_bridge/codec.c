/* The firmware's codec behind pipes. A question: 'd' or 'e', u32 length, bytes. Answers: u32 length, bytes.
   'd', bytes of a line: for each thing found a byte (enum el_found); for a frame also u16 length and its bytes.
   'e', a frame without its CRC: how it goes on the line.
   'c', bytes: their CRC-32. 's', bytes: their SHA-256. */
#include <stdio.h>
#include <string.h>

#include "el_bytes.h"
#include "el_crc32.h"
#include "el_frame.h"
#include "el_hal.h"
#include "el_sha256.h"

static uint8_t question[1u << 16];
static uint8_t answer[1u << 16];
static struct el_writer out;
static unsigned int full; /* every third byte finds the transmitter full */

bool el_hal_put(uint8_t byte)
{
    full++;
    if (full % 3u == 0u) {
        return false;
    }
    el_add8(&out, byte);
    return true;
}

static void decode(uint32_t length)
{
    static struct el_decoder decoder;
    el_decoder_start(&decoder);
    for (uint32_t i = 0; i < length; i++) {
        const enum el_found found = el_decode(&decoder, question[i]);
        if (found != EL_NOTHING) {
            el_add8(&out, (uint8_t)found);
        }
        if (found == EL_FRAME) {
            el_add16(&out, (uint16_t)decoder.length);
            el_add(&out, decoder.frame, decoder.length);
        }
    }
}

static void encode(uint32_t length)
{
    struct el_sender sender;
    el_send(&sender, question, (uint16_t)length);
    while (!el_sent(&sender)) {
    }
}

int main(void)
{
    uint8_t head[5];
    while (fread(head, sizeof head, 1, stdin) == 1) {
        const uint32_t length = el_get32(&head[1]);
        uint8_t digest[EL_SHA256_BYTES], size[4];
        struct el_writer sized = {size, sizeof size, 0};
        if (length > sizeof question - EL_CRC_BYTES || (length > 0 && fread(question, length, 1, stdin) != 1)) {
            return 1;
        }
        out = (struct el_writer){answer, sizeof answer - 1, 0};
        if (head[0] == 'd') {
            decode(length);
        } else if (head[0] == 'e') {
            encode(length);
        } else if (head[0] == 'c') {
            el_add32(&out, el_crc32(question, length));
        } else {
            el_sha256(question, length, digest);
            el_add(&out, digest, sizeof digest);
        }
        el_add32(&sized, out.length);
        if (fwrite(size, sizeof size, 1, stdout) != 1 || (out.length > 0 && fwrite(answer, out.length, 1, stdout) != 1) ||
            fflush(stdout) != 0) {
            return 1;
        }
    }
    return 0;
}
