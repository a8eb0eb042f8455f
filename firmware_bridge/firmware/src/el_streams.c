/* Samples of sensors, numbered by their periods: whatever is missing was dropped, and is counted. */
#include <string.h>

#include "el_device.h"
#include "el_hal.h"
#include "el_parts.h"

#define SAMPLES 0x11u

struct stream {
    bool on;
    uint32_t period_us;
    uint64_t next_us;
    uint32_t number;  /* of the next sample */
    uint32_t dropped; /* since it was switched on */
    uint32_t waiting_dropped; /* dropped when the first that waits was taken */
    uint32_t first;   /* number of the first that waits */
    uint64_t first_us;
    uint8_t *values;  /* that wait; its share of the pool */
    uint16_t room;
    uint16_t bytes;
    bool closed; /* after them one is missing */
};

static struct stream streams[EL_MAX_STREAMS];
static uint8_t pool[EL_STREAM_BYTES];

void el_streams_start(void)
{
    (void)memset(streams, 0, sizeof streams);
}

static void drop(struct stream *s, uint32_t count)
{
    s->dropped += count;
    s->number += count;
    s->closed = s->bytes > 0u;
    el_stats.drops += count;
}

static void take(uint8_t index, uint64_t now)
{
    struct stream *s = &streams[index];
    const uint8_t size = el_hal_board()->stream[index].sample_bytes;
    if (s->closed || (((uint32_t)s->bytes + size) > s->room) || !el_hal_sample(index, &s->values[s->bytes])) {
        drop(s, 1u);
    } else {
        if (s->bytes == 0u) {
            s->first = s->number;
            s->first_us = now;
            s->waiting_dropped = s->dropped;
        }
        s->bytes = (uint16_t)(s->bytes + size);
        s->number++;
    }
}

static void send_waiting(uint8_t index)
{
    struct stream *s = &streams[index];
    struct el_writer *out = (s->bytes > 0u) ? el_unasked() : NULL;
    if (out != NULL) {
        el_add8(out, index);
        el_add32(out, s->first);
        el_add64(out, s->first_us);
        el_add32(out, s->waiting_dropped);
        el_add(out, s->values, s->bytes);
        el_unasked_send(SAMPLES);
        s->bytes = 0;
        s->closed = false;
    }
}

bool el_streams_poll(void)
{
    bool worked = false;
    for (uint8_t i = 0; i < el_hal_board()->streams; i++) {
        struct stream *s = &streams[i];
        const uint64_t now = el_hal_time_us();
        if (s->on && (now >= s->next_us)) {
            const uint32_t late = (uint32_t)(now - s->next_us) / s->period_us;
            if (late > 0u) {
                drop(s, late); /* the device was busy */
            }
            s->next_us += ((uint64_t)late + 1u) * s->period_us;
            take(i, now);
            worked = true;
        }
        send_waiting(i);
    }
    return worked;
}

/* cppcheck-suppress unusedFunction ; a port that can sleep so exactly asks it */
uint32_t el_idle_us(void)
{
    uint64_t idle = 1000u;
    const uint64_t now = el_hal_time_us();
    for (uint8_t i = 0; i < el_hal_board()->streams; i++) {
        const struct stream *s = &streams[i];
        if (s->on) {
            const uint64_t left = (s->next_us > now) ? (s->next_us - now) : 0u;
            idle = (left < idle) ? left : idle;
        }
    }
    return (uint32_t)idle;
}

/* Equal shares of the pool to those that are on. What waits of the others was in another share: it is dropped. */
static void share_the_pool(void)
{
    uint16_t on = 0;
    uint16_t at = 0;
    for (uint8_t i = 0; i < el_hal_board()->streams; i++) {
        on = (uint16_t)(on + (streams[i].on ? 1u : 0u));
    }
    for (uint8_t i = 0; i < el_hal_board()->streams; i++) {
        struct stream *s = &streams[i];
        if (s->on) {
            const uint32_t waiting = (uint32_t)s->bytes / el_hal_board()->stream[i].sample_bytes;
            s->dropped += waiting;
            el_stats.drops += waiting;
            s->bytes = 0;
            s->closed = false;
            s->values = &pool[at];
            s->room = (uint16_t)(EL_STREAM_BYTES / on);
            at = (uint16_t)(at + s->room);
        }
    }
}

const char *el_on_stream(const struct el_request *request, struct el_writer *out)
{
    const struct el_board *board = el_hal_board();
    const uint8_t index = request->payload[0];
    const bool on = request->payload[1] != 0u;
    const uint32_t period_us = el_get32(&request->payload[2]);
    const char *wrong = NULL;
    if (index >= board->streams) {
        wrong = "no such stream";
    } else if (on && (period_us < board->stream[index].least_period_us)) {
        wrong = "the period is too short";
    } else {
        const struct el_stream *about = &board->stream[index];
        struct stream *s = &streams[index];
        (void)memset(s, 0, sizeof *s);
        s->on = on;
        s->period_us = period_us;
        s->next_us = el_hal_time_us();
        share_the_pool();
        el_add8(out, about->format);
        el_add8(out, about->channels);
        el_add32(out, on ? period_us : 0u);
        el_add_text(out, about->name);
    }
    return wrong;
}
