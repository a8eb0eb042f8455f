/* BBC micro:bit: nRF51822, a Cortex-M0 with 256 kB of flash and 16 kB of RAM. */
#include <string.h>

#include "cortex_m.h"
#include "el_device.h"
#include "el_hal.h"

#define UART 0x40002000u
#define START_RECEIVING EL_REGISTER(UART + 0x000u)
#define START_SENDING EL_REGISTER(UART + 0x008u)
#define RECEIVED EL_REGISTER(UART + 0x108u)
#define SENT EL_REGISTER(UART + 0x11Cu)
#define ALLOW EL_REGISTER(UART + 0x304u)
#define ENABLE EL_REGISTER(UART + 0x500u)
#define SEND_PIN EL_REGISTER(UART + 0x50Cu)
#define RECEIVE_PIN EL_REGISTER(UART + 0x514u)
#define RECEIVE_BYTE EL_REGISTER(UART + 0x518u)
#define SEND_BYTE EL_REGISTER(UART + 0x51Cu)
#define BAUD_RATE EL_REGISTER(UART + 0x524u)
#define RECEIVED_INTERRUPT (1u << 2)
#define UART_INTERRUPT 2u

#define TIMER 0x40008000u
#define TIMER_START EL_REGISTER(TIMER + 0x000u)
#define TIMER_CAPTURE EL_REGISTER(TIMER + 0x040u)
#define TIMER_BITS EL_REGISTER(TIMER + 0x508u)
#define TIMER_PRESCALER EL_REGISTER(TIMER + 0x510u)
#define TIMER_CAPTURED EL_REGISTER(TIMER + 0x540u)

#define RANDOM 0x4000D000u
#define RANDOM_START EL_REGISTER(RANDOM + 0x000u)
#define RANDOM_STOP EL_REGISTER(RANDOM + 0x004u)
#define RANDOM_READY EL_REGISTER(RANDOM + 0x100u)
#define RANDOM_VALUE EL_REGISTER(RANDOM + 0x508u)

#define FLASH 0x4001E000u
#define FLASH_READY EL_REGISTER(FLASH + 0x400u)
#define FLASH_MODE EL_REGISTER(FLASH + 0x504u)
#define FLASH_ERASE EL_REGISTER(FLASH + 0x508u)
#define READ_ONLY 0u
#define WRITE 1u
#define ERASE 2u

/* Its clock has 32,768 Hz. QEMU doesn't emulate it. */
#define WATCHDOG 0x40010000u
#define WATCHDOG_START EL_REGISTER(WATCHDOG + 0x000u)
#define WATCHDOG_COUNT EL_REGISTER(WATCHDOG + 0x504u)
#define WATCHDOG_RELOAD EL_REGISTER(WATCHDOG + 0x600u)
#define WATCHDOG_WORD 0x6E524635u
#define WATCHDOG_S 6u

#define PAGE_BYTES 1024u
#define SLOTS 0x14000u
#define SLOT_BYTES (80u * 1024u)
#define RECORDS 0x3C000u

/* By the linker: the RAM that is left. */
extern uint8_t arena_start[];
extern uint8_t arena_bytes[]; /* its address is the number */

static const struct el_stream streams[] = {{"ramp", EL_INT16, 2, 4, 1000}};

static const struct el_board board = {
    .name = EL_BOARD,
    .core = EL_CORE,
    .slots = 2,
    .streams = 1,
    .slot_address = {SLOTS, SLOTS + SLOT_BYTES},
    .slot_bytes = SLOT_BYTES,
    .arena_address = (uint32_t)arena_start,
    .arena_bytes = (uint32_t)arena_bytes,
    .highest_baud = 1000000u,
    .ticks_hz = 1000000u,
    .stream = streams,
};

static bool sending;
static uint32_t boot_id;

const struct el_board *el_hal_board(void)
{
    return &board;
}

void port_interrupt(void)
{
    if (RECEIVED != 0u) {
        RECEIVED = 0;
        el_received((uint8_t)RECEIVE_BYTE);
    }
}

void systick_handler(void)
{
    /* The nRF51 has no SysTick. */
}

static uint32_t random_number(void)
{
    uint32_t number = 0;
    RANDOM_START = 1;
    for (int i = 0; i < 4; i++) {
        RANDOM_READY = 0;
        while (RANDOM_READY == 0u) {
        }
        number = (number << 8) | (RANDOM_VALUE & 0xFFu);
    }
    RANDOM_STOP = 1;
    return number;
}

void port_start(void)
{
    TIMER_BITS = 3;      /* 32 */
    TIMER_PRESCALER = 4; /* 16 MHz / 2^4 */
    TIMER_START = 1;
    WATCHDOG_COUNT = (32768u * WATCHDOG_S) - 1u;
    WATCHDOG_START = 1;
    boot_id = random_number();
    sending = false;
    SEND_PIN = 24;
    RECEIVE_PIN = 25;
    el_hal_set_baud(EL_FIRST_BAUD);
    ENABLE = 4;
    START_SENDING = 1;
    START_RECEIVING = 1;
    ALLOW = RECEIVED_INTERRUPT;
    cortex_m_allow(UART_INTERRUPT);
}

bool el_hal_put(uint8_t byte)
{
    const bool room = !sending || (SENT != 0u);
    if (room) {
        SENT = 0;
        SEND_BYTE = byte;
        sending = true;
    }
    return room;
}

static void finish_sending(void)
{
    while (sending && (SENT == 0u)) {
    }
}

void el_hal_set_baud(uint32_t baud)
{
    finish_sending();
    /* baud * 2^32 / 16 MHz, and 4096 * 65536 / 1000000 is 268.4354..; its lower 12 bits are reserved. */
    BAUD_RATE = ((baud * 268u) + ((baud / 1000u) * 435u) + 0x800u) & 0xFFFFF000u;
}

uint64_t el_hal_time_us(void)
{
    static uint32_t last;
    static uint64_t wrapped;
    TIMER_CAPTURE = 1;
    const uint32_t now = TIMER_CAPTURED;
    if (now < last) {
        wrapped += 0x100000000u;
    }
    last = now;
    return wrapped + now;
}

uint32_t el_hal_ticks(void)
{
    return (uint32_t)el_hal_time_us();
}

uint32_t el_hal_boot_id(void)
{
    return boot_id;
}

uint32_t el_hal_resets(void)
{
    return cortex_m_resets();
}

void el_hal_reset(void)
{
    finish_sending();
    cortex_m_reset();
}

void el_hal_wait(void)
{
    /* Nothing but the UART wakes this processor, and a stream must: so it doesn't sleep. */
}

void el_hal_watchdog_kick(void)
{
    WATCHDOG_RELOAD = WATCHDOG_WORD;
}

static uintptr_t place(uint8_t area)
{
    return (area < EL_MAX_SLOTS) ? board.slot_address[area] : (RECORDS + ((area - EL_RECORD_A) * PAGE_BYTES));
}

const uint8_t *el_hal_flash(uint8_t area)
{
    return (const uint8_t *)place(area);
}

static void flash_mode(uint32_t mode)
{
    while (FLASH_READY == 0u) {
    }
    FLASH_MODE = mode;
}

bool el_hal_flash_erase(uint8_t area)
{
    const uint32_t start = (uint32_t)place(area);
    const uint32_t count = (area >= EL_RECORD_A) ? PAGE_BYTES : SLOT_BYTES;
    flash_mode(ERASE);
    for (uint32_t at = 0; at < count; at += PAGE_BYTES) {
        FLASH_ERASE = start + at;
        while (FLASH_READY == 0u) {
        }
    }
    flash_mode(READ_ONLY);
    return true;
}

bool el_hal_flash_write(uint8_t area, uint32_t offset, const uint8_t *data, uint32_t count)
{
    const uintptr_t start = place(area) + offset;
    flash_mode(WRITE);
    for (uint32_t at = 0; at < count; at += 4u) {
        uint32_t word;
        (void)memcpy(&word, &data[at], sizeof word);
        EL_REGISTER(start + at) = word;
        while (FLASH_READY == 0u) {
        }
    }
    flash_mode(READ_ONLY);
    return true;
}

bool el_hal_sample(uint8_t stream, uint8_t *values)
{
    static uint16_t ramp;
    const uint16_t pair[2] = {ramp, (uint16_t)~ramp};
    (void)stream;
    (void)memcpy(values, pair, sizeof pair);
    ramp++;
    return true;
}
