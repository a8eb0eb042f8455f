/* libFuzzer's port. An input is read as commands: a request of which the head and CRC are made right, bytes as they are,
   or time that passes. What comes out must be whole frames; flash is written as flash can be. */
#include <stdlib.h>
#include <string.h>

#include "el_bytes.h"
#include "el_crc32.h"
#include "el_device.h"
#include "el_frame.h"
#include "el_hal.h"
#include "el_model.h"

#define SLOT_BYTES 512u
#define PAGE_BYTES 128u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct el_stream streams[] = {{"ramp", EL_INT16, 2, 4, 100}, {"wide", EL_INT8, 90, 90, 100}};
static struct el_board board = {
    .name = "fuzz",
    .slots = 2,
    .streams = 2,
    .slot_address = {0x1000u, 0x2000u},
    .slot_bytes = SLOT_BYTES,
    .arena_address = 0x3000u,
    .arena_bytes = 64u,
    .highest_baud = 1000000u,
    .stream = streams,
};

static uint8_t flash[4][SLOT_BYTES];
static uint64_t time_us;
static bool reset;
static struct el_decoder line;

static void must(bool holds)
{
    if (!holds) {
        abort();
    }
}

const struct el_board *el_hal_board(void)
{
    return &board;
}

bool el_hal_put(uint8_t byte)
{
    const enum el_found found = el_decode(&line, byte);
    must((found == EL_NOTHING) || (found == EL_FRAME));
    return true;
}

void el_hal_set_baud(uint32_t baud)
{
    must(baud <= board.highest_baud);
}

uint64_t el_hal_time_us(void)
{
    return time_us;
}

uint32_t el_hal_ticks(void)
{
    return (uint32_t)time_us;
}

uint32_t el_hal_boot_id(void)
{
    return 1;
}

uint32_t el_hal_resets(void)
{
    return 0;
}

void el_hal_reset(void)
{
    reset = true;
}

void el_hal_wait(void)
{
}

void el_hal_watchdog_kick(void)
{
}

static uint8_t *place(uint8_t area)
{
    must((area < 2u) || (area == EL_RECORD_A) || (area == EL_RECORD_B));
    return flash[(area < 2u) ? area : (area - EL_RECORD_A + 2u)];
}

const uint8_t *el_hal_flash(uint8_t area)
{
    return place(area);
}

bool el_hal_flash_erase(uint8_t area)
{
    (void)memset(place(area), 0xFF, (area < 2u) ? SLOT_BYTES : PAGE_BYTES);
    return true;
}

bool el_hal_flash_write(uint8_t area, uint32_t offset, const uint8_t *data, uint32_t count)
{
    must((offset % EL_FLASH_UNIT == 0u) && (count % EL_FLASH_UNIT == 0u));
    must((offset <= SLOT_BYTES) && (count <= SLOT_BYTES - offset));
    for (uint32_t i = 0; i < count; i++) {
        must(place(area)[offset + i] == 0xFFu); /* erased before */
        place(area)[offset + i] = data[i];
    }
    return true;
}

bool el_hal_sample(uint8_t stream, uint8_t *values)
{
    (void)memset(values, 7, streams[stream].sample_bytes);
    return true;
}

static uint8_t tensors[8];

static void invoke(void)
{
    tensors[4] = (uint8_t)(tensors[0] + tensors[1] + tensors[2] + tensors[3]);
    tensors[0] = 0; /* the input is used up */
}

/* A model of four bytes in and one out, whose SHA-256 is easily found: zeros. */
bool el_built_in(struct el_model *model)
{
    *model = (struct el_model){.input = tensors, .output = &tensors[4], .input_bytes = 4, .output_bytes = 1, .invoke = invoke};
    return true;
}

static void run(void)
{
    while (el_poll() && !reset) {
    }
    if (reset) {
        reset = false;
        el_init();
    }
}

static void receive(const uint8_t *data, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        el_received(data[i]);
        run();
    }
}

/* Without COBS's zeros in it a frame can be written as groups of one byte. */
static void request(const uint8_t *data, uint8_t count)
{
    uint8_t frame[256 + 16] = {EL_VERSION};
    struct el_writer out = {frame, sizeof frame, 1};
    el_add(&out, data, count);
    while (out.length < EL_HEAD_BYTES) {
        el_add8(&out, 0);
    }
    el_add32(&out, el_crc32(frame, out.length));
    uint8_t code = 1;
    uint16_t start = 0;
    el_received(0);
    for (uint16_t i = 0; i <= out.length; i++) {
        if ((i == out.length) || (frame[i] == 0u)) {
            el_received(code);
            receive(&frame[start], (size_t)(i - start));
            start = (uint16_t)(i + 1u);
            code = 1;
        } else if (code == 254u) {
            return; /* a full group: bytes as they are find it */
        } else {
            code++;
        }
    }
    el_received(0);
    run();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    (void)memset(flash, 0x55, sizeof flash); /* a chip's old content */
    time_us = 0;
    reset = false;
    el_decoder_start(&line);
    el_init();
    size_t at = 0;
    while (at + 2u <= size) {
        const uint8_t kind = data[at];
        const size_t rest = size - at - 2u;
        const uint8_t count = (data[at + 1u] < rest) ? data[at + 1u] : (uint8_t)rest;
        const uint8_t *bytes = &data[at + 2u];
        if (kind % 4u == 0u) {
            receive(bytes, count);
        } else if (kind % 4u == 1u) {
            time_us += (uint64_t)count * count * 100u;
            run();
        } else {
            request(bytes, count);
        }
        at += 2u + count;
    }
    return 0;
}
