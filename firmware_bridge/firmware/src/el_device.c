/* The line: bytes in, requests to their handlers, answers out. */
#include "el_device.h"

#include <string.h>

#include "el_bytes.h"
#include "el_frame.h"
#include "el_hal.h"
#include "el_parts.h"

#define ANSWER 0x80u
#define HELLO 0x01u
#define BAUD 0x02u
#define LOG 0x03u
#define PING 0x04u
#define RESET 0x06u
#define ERROR 0xFFu
#define AFRESH(type) (((type) == HELLO) || ((type) == PING))

#define UNKNOWN_TYPE 1u
#define BAD_PAYLOAD 2u
#define OTHER_VERSION 3u
#define REFUSED 5u

#define LEAST_BAUD 1200u
#define HELLO_WITHIN_US 1000000u
#define SILENT_FOR_US 5000000u
#define UNASKED_PAYLOAD_BYTES (17u + EL_STREAM_BYTES) /* a SAMPLES */
#define UNASKED_BYTES (EL_LEAST_FRAME + UNASKED_PAYLOAD_BYTES)
#define ANY EL_PAYLOAD_BYTES

const char *const el_misfit = "the payload doesn't fit its type";
struct el_stats el_stats;

/* Written by el_received alone, maybe in an interrupt: `head` and `overruns`; by the rest alone: `tail`. */
static uint8_t ring[EL_RING_BYTES];
static volatile uint16_t head;
static volatile uint16_t tail;
static volatile uint32_t overruns;

static struct el_decoder decoder;

/* What is sent: one frame after the other. A buffer is busy until its frame has left. */
static enum occupied { NEITHER, ANSWERS, UNASKED } sending;
static struct el_sender sender;

static uint8_t answer[EL_ANSWER_BYTES]; /* the last one, for the case that it must be repeated */
static uint16_t answer_length;         /* without its CRC */
static bool answer_busy;
static bool answer_kept;
static uint8_t answered_type;
static uint32_t answered_crc;

static uint8_t unasked[UNASKED_BYTES];
static struct el_writer unasked_payload;
static uint16_t unasked_length;
static bool unasked_busy;
static uint16_t unasked_sequence;

static uint32_t baud;       /* of the line */
static uint32_t next_baud;  /* after the answer; 0: it stays */
static bool hello_awaited;  /* at the new rate */
static bool reset_awaited;  /* after the answer */
static uint64_t heard_us;   /* when the last whole frame came */
static uint64_t changed_us; /* when the rate was changed */

static el_handler on_hello;
static el_handler on_baud;
static el_handler on_ping;
static el_handler on_stats;
static el_handler on_reset;

static const struct {
    uint8_t type;
    uint16_t least; /* bytes of payload */
    uint16_t most;
    el_handler *handler;
} requests[] = {
    {HELLO, 0, 0, on_hello},
    {BAUD, 4, 4, on_baud},
    {PING, 0, 0, on_ping},
    {0x05, 0, 0, on_stats},
    {RESET, 0, 0, on_reset},
    {0x10, 6, 6, el_on_stream},
    {0x20, 37, 37, el_on_begin},
    {0x21, 4, ANY, el_on_data},
    {0x22, 1, 1, el_on_end},
    {0x23, 33, 33, el_on_activate},
    {0x24, 33, 33, el_on_confirm},
    {0x25, 1, 1, el_on_slot},
    {0x30, 8, ANY, el_on_infer},
    {0x31, 12, ANY, el_on_input},
    {0x32, 4, 4, el_on_output},
};

void el_received(uint8_t byte)
{
    const uint16_t next = (uint16_t)((head + 1u) & (EL_RING_BYTES - 1u));
    if (next == tail) {
        overruns++;
    } else {
        ring[head] = byte;
        head = next;
    }
}

static const char *on_hello(const struct el_request *request, struct el_writer *out)
{
    const struct el_board *board = el_hal_board();
    const struct el_model *model = el_running();
    (void)request;
    hello_awaited = false;
    el_add8(out, EL_VERSION);
    el_add16(out, EL_FRAME_BYTES);
    el_add16(out, EL_RING_BYTES - 1u);
    el_add8(out, board->slots);
    el_add8(out, el_running_slot());
    el_add32(out, board->arena_bytes);
    el_add32(out, board->ticks_hz);
    if (model != NULL) {
        el_add(out, model->sha256, EL_SHA256_BYTES);
    } else {
        el_add_zeros(out, EL_SHA256_BYTES);
    }
    el_add32(out, el_hal_boot_id());
    el_add_text(out, board->name);
    return NULL;
}

static const char *on_baud(const struct el_request *request, struct el_writer *out)
{
    const uint32_t wanted = el_get32(request->payload);
    const char *wrong = NULL;
    if ((wanted < LEAST_BAUD) || (wanted > el_hal_board()->highest_baud)) {
        wrong = "the line can't have that rate";
    } else {
        next_baud = wanted;
        el_add32(out, wanted);
    }
    return wrong;
}

static const char *on_ping(const struct el_request *request, struct el_writer *out)
{
    (void)request;
    el_add64(out, el_hal_time_us());
    return NULL;
}

static const char *on_stats(const struct el_request *request, struct el_writer *out)
{
    (void)request;
    el_add32(out, el_stats.crc_errors);
    el_add32(out, el_stats.damaged);
    el_add32(out, el_stats.strays);
    el_add32(out, overruns);
    el_add32(out, el_stats.drops);
    el_add32(out, el_hal_resets());
    el_add32(out, el_stats.arena_high_water);
    return NULL;
}

static const char *on_reset(const struct el_request *request, struct el_writer *out)
{
    (void)request;
    (void)out;
    reset_awaited = true;
    return NULL;
}

struct el_writer *el_unasked(void)
{
    struct el_writer *out = NULL;
    if (!unasked_busy) {
        unasked_payload.to = &unasked[EL_HEAD_BYTES];
        unasked_payload.room = UNASKED_PAYLOAD_BYTES;
        unasked_payload.length = 0;
        out = &unasked_payload;
    }
    return out;
}

static uint16_t finish(uint8_t *frame, uint8_t type, uint16_t sequence, uint16_t payload_bytes)
{
    struct el_writer out = {frame, EL_HEAD_BYTES, 0};
    el_add8(&out, EL_VERSION);
    el_add8(&out, type);
    el_add16(&out, sequence);
    return (uint16_t)(EL_HEAD_BYTES + payload_bytes);
}

void el_unasked_send(uint8_t type)
{
    unasked_length = finish(unasked, type, unasked_sequence, unasked_payload.length);
    unasked_busy = true;
    unasked_sequence++;
}

void el_log(enum el_level level, const char *text)
{
    struct el_writer *out = el_unasked();
    if (out == NULL) {
        el_stats.drops++;
    } else {
        el_add8(out, (uint8_t)level);
        el_add_text(out, text);
        el_unasked_send(LOG);
    }
}

/* Find the handler, and let it answer. Returns the ERROR's code, or 0. */
static uint8_t handle(uint8_t type, const struct el_request *request, struct el_writer *out, const char **text)
{
    uint8_t code = UNKNOWN_TYPE;
    *text = "unknown type";
    for (uint32_t i = 0; i < ((sizeof requests) / (sizeof requests[0])); i++) {
        if (requests[i].type == type) {
            *text = el_misfit;
            if ((request->length >= requests[i].least) && (request->length <= requests[i].most)) {
                *text = requests[i].handler(request, out);
            }
            code = REFUSED;
            if (*text == NULL) {
                code = 0;
            } else if (*text == el_misfit) {
                code = BAD_PAYLOAD;
            } else {
                /* refused */
            }
        }
    }
    return code;
}

/* A whole frame is in the decoder. */
static void frame_came(void)
{
    const uint8_t *frame = decoder.frame;
    const uint8_t type = frame[1];
    const uint16_t sequence = el_get16(&frame[2]);
    const uint32_t body = decoder.length - EL_CRC_BYTES;
    const uint32_t crc = el_get32(&frame[body]);
    const bool kept = answer_kept && (type == answered_type) && (crc == answered_crc);
    heard_us = el_hal_time_us();
    if ((type & ANSWER) != 0u) {
        el_stats.strays++;
    } else if (type == LOG) {
        /* nobody reads here */
    } else {
        /* The CRC is of the sequence, too. */
        if (!kept || AFRESH(type)) {
            const struct el_request request = {&frame[EL_HEAD_BYTES], (uint16_t)(body - EL_HEAD_BYTES)};
            struct el_writer out = {&answer[EL_HEAD_BYTES], EL_ANSWER_BYTES - EL_LEAST_FRAME, 0};
            const char *text = "1";
            const uint8_t code = (frame[0] == EL_VERSION) ? handle(type, &request, &out, &text) : OTHER_VERSION;
            if (code != 0u) {
                out.length = 0;
                el_add8(&out, code);
                el_add8(&out, type);
                el_add_text(&out, text);
            }
            answer_length = finish(answer, (uint8_t)((code != 0u) ? ERROR : (type | ANSWER)), sequence, out.length);
            answered_type = type;
            answered_crc = crc;
        }
        answer_kept = type != HELLO;
        answer_busy = true;
    }
}

static void byte_came(uint8_t byte)
{
    switch (el_decode(&decoder, byte)) {
    case EL_FRAME:
        frame_came();
        break;
    case EL_DAMAGED_CRC:
        el_stats.crc_errors++;
        break;
    case EL_DAMAGED_COBS:
    case EL_DAMAGED_SHORT:
    case EL_DAMAGED_LONG:
        el_stats.damaged++;
        break;
    case EL_NOTHING:
    default:
        break;
    }
}

static void change_baud(uint32_t to)
{
    el_hal_set_baud(to);
    baud = to;
    changed_us = el_hal_time_us();
    heard_us = changed_us;
    el_decoder_start(&decoder);
}

/* After the answer has left, and as time goes by. */
static void look_after_the_line(void)
{
    const uint64_t now = el_hal_time_us();
    if (reset_awaited) {
        el_hal_reset();
    } else if (next_baud != 0u) {
        hello_awaited = next_baud != baud;
        change_baud(next_baud);
        next_baud = 0;
    } else if (baud == EL_FIRST_BAUD) {
        hello_awaited = false;
    } else if (((now - heard_us) > SILENT_FOR_US) || (hello_awaited && ((now - changed_us) > HELLO_WITHIN_US))) {
        hello_awaited = false;
        change_baud(EL_FIRST_BAUD);
    } else {
        /* all is well */
    }
}

/* As much as the line takes now; an answer goes first. Returns true where nothing is left. */
static bool send(void)
{
    bool more = true;
    while (more && el_sent(&sender)) {
        if (sending == ANSWERS) {
            answer_busy = false;
        } else if (sending == UNASKED) {
            unasked_busy = false;
        } else {
            /* nothing was under way */
        }
        sending = NEITHER;
        if (answer_busy) {
            sending = ANSWERS;
            el_send(&sender, answer, answer_length);
        } else if (unasked_busy) {
            sending = UNASKED;
            el_send(&sender, unasked, unasked_length);
        } else {
            more = false;
        }
    }
    return !more;
}

void el_init(void)
{
    head = 0;
    tail = 0;
    overruns = 0;
    (void)memset(&el_stats, 0, sizeof el_stats);
    (void)memset(&sender, 0, sizeof sender);
    sending = NEITHER;
    answer_busy = false;
    answer_kept = false;
    unasked_busy = false;
    unasked_sequence = 0;
    baud = EL_FIRST_BAUD;
    next_baud = 0;
    hello_awaited = false;
    reset_awaited = false;
    heard_us = 0;
    el_decoder_start(&decoder);
    el_streams_start();
    el_infer_start();
    el_slots_start();
}

bool el_poll(void)
{
    bool busy = !send();
    el_hal_watchdog_kick();
    /* No request is looked at before the last one's answer has left: it would be written over. */
    while ((tail != head) && !answer_busy) {
        const uint8_t byte = ring[tail];
        tail = (uint16_t)((tail + 1u) & (EL_RING_BYTES - 1u));
        byte_came(byte);
        busy = true;
    }
    if (el_streams_poll()) {
        busy = true;
    }
    if (send()) {
        look_after_the_line();
    } else {
        busy = true;
    }
    return busy;
}
