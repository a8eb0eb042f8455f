/* Arm's MPS2 boards, as QEMU has them: Cortex-M3, M4, M7, and M33 in its secure world.

   These boards have no flash. RAM that the start-up code leaves alone stands in for it: it outlives a soft reset
   (SYSRESETREQ), and no power cut. The boot id is made of the debugger's clock (semihosting). QEMU's cycle counter
   stands still, and its time is the host's, so ticks aren't counted. But with `-icount shift=0` an instruction takes 1 ns: built
   with EL_COUNTING, which is for that alone, ticks are SysTick's, and so 1 for every 40 or 50 instructions. */
#include <string.h>

#include "cortex_m.h"
#include "el_device.h"
#include "el_hal.h"

#if EL_CORE == 0xD21u
#define UART 0x50200000u
#define RECEIVE_INTERRUPT 32u
#define CLOCK_HZ 20000000u
#define WATCHDOG 0x50081000u
#define BASE 0x38100000u
#else
#define UART 0x40004000u
#define RECEIVE_INTERRUPT 0u
#define CLOCK_HZ 25000000u
#define WATCHDOG 0x40008000u
#define BASE 0x20100000u
#endif

/* CMSDK UART. */
#define DATA EL_REGISTER(UART)
#define STATE EL_REGISTER(UART + 4u)
#define CONTROL EL_REGISTER(UART + 8u)
#define INTERRUPT EL_REGISTER(UART + 12u)
#define DIVIDER EL_REGISTER(UART + 16u)
#define TRANSMIT_FULL 1u
#define RECEIVED 2u

/* CMSDK watchdog: at the end of its first period comes the NMI, whose handler resets as a fault's does; should that hang, too, it
   resets by itself at the end of the second one. */
#define WATCHDOG_LOAD EL_REGISTER(WATCHDOG)
#define WATCHDOG_CONTROL EL_REGISTER(WATCHDOG + 8u)
#define WATCHDOG_CLEAR EL_REGISTER(WATCHDOG + 12u)
#define WATCHDOG_LOCK EL_REGISTER(WATCHDOG + 0xC00u)
#define WATCHDOG_KEY 0x1ACCE551u
#define WATCHDOG_S 6u

#define SYSTICK_CONTROL EL_REGISTER(0xE000E010u)
#define SYSTICK_RELOAD EL_REGISTER(0xE000E014u)
#define SYSTICK_VALUE EL_REGISTER(0xE000E018u)
#define TICKS_PER_MS (CLOCK_HZ / 1000u)

#ifdef EL_COUNTING
#define TICKS_HZ CLOCK_HZ
#else
#define TICKS_HZ 0u
#endif

#define SLOT_BYTES (448u * 1024u)
#define PAGE_BYTES 4096u
#define RECORDS (BASE + (2u * SLOT_BYTES))
#define ARENA (BASE + 0xF0000u)
#define ARENA_BYTES (64u * 1024u)

static const struct el_stream streams[] = {{"ramp", EL_INT16, 2, 4, 1000}};

static const struct el_board board = {
    .name = EL_BOARD,
    .core = EL_CORE,
    .slots = 2,
    .streams = 1,
    .slot_address = {BASE, BASE + SLOT_BYTES},
    .slot_bytes = SLOT_BYTES,
    .arena_address = ARENA,
    .arena_bytes = ARENA_BYTES,
    .highest_baud = CLOCK_HZ / 16u,
    .ticks_hz = TICKS_HZ,
    .stream = streams,
};

static volatile uint32_t milliseconds;
static uint32_t boot_id;

const struct el_board *el_hal_board(void)
{
    return &board;
}

static uint32_t debugger(uint32_t operation, const void *argument)
{
    register uint32_t r0 __asm("r0") = operation;
    register const void *r1 __asm("r1") = argument;
    __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

void port_interrupt(void)
{
    if ((STATE & RECEIVED) != 0u) {
        INTERRUPT = RECEIVED; /* before the byte is read: another one may come at once */
        el_received((uint8_t)DATA);
    }
}

void systick_handler(void)
{
    milliseconds++;
}

void port_start(void)
{
    boot_id = (debugger(0x11u, NULL) << 8) + (debugger(0x10u, NULL) << 4) + cortex_m_resets() + 1u; /* time and clock */
    SYSTICK_RELOAD = TICKS_PER_MS - 1u;
    SYSTICK_VALUE = 0;
    SYSTICK_CONTROL = 7u; /* the core's clock, its interrupt, on */
    el_hal_set_baud(EL_FIRST_BAUD);
    WATCHDOG_LOCK = WATCHDOG_KEY;
    WATCHDOG_LOAD = CLOCK_HZ * WATCHDOG_S;
    WATCHDOG_CONTROL = 3u; /* interrupt and reset */
    CONTROL = 0xBu; /* transmit, receive, interrupt on receiving */
    cortex_m_allow(RECEIVE_INTERRUPT);
}

bool el_hal_put(uint8_t byte)
{
    const bool room = (STATE & TRANSMIT_FULL) == 0u;
    if (room) {
        DATA = byte;
    }
    return room;
}

void el_hal_set_baud(uint32_t baud)
{
    while ((STATE & TRANSMIT_FULL) != 0u) {
    }
    const uint64_t start = el_hal_time_us();
    while ((el_hal_time_us() - start) < 2000u) {
        /* The shift register doesn't say that it is empty: a byte takes less than this. */
    }
    DIVIDER = CLOCK_HZ / baud;
}

/* The milliseconds and what SysTick has counted in this one; read again where one ended in between. */
uint64_t el_hal_time_us(void)
{
    static uint32_t last_ms;
    static uint64_t wrapped_ms;
    uint32_t ms;
    uint32_t value;
    do {
        ms = milliseconds;
        value = SYSTICK_VALUE;
    } while (ms != milliseconds);
    if (ms < last_ms) {
        wrapped_ms += 0x100000000u;
    }
    last_ms = ms;
    return ((wrapped_ms + ms) * 1000u) + ((TICKS_PER_MS - 1u - value) / (CLOCK_HZ / 1000000u));
}

uint32_t el_hal_ticks(void)
{
#ifdef EL_COUNTING
    return (uint32_t)((el_hal_time_us() * CLOCK_HZ) / 1000000u);
#else
    return 0;
#endif
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
    cortex_m_reset();
}

void el_hal_wait(void)
{
    cortex_m_sleep();
}

void el_hal_watchdog_kick(void)
{
    WATCHDOG_CLEAR = 1u; /* counts from LOAD again */
}

static uintptr_t place(uint8_t area)
{
    return (area < EL_MAX_SLOTS) ? board.slot_address[area] : (RECORDS + ((area - EL_RECORD_A) * PAGE_BYTES));
}

const uint8_t *el_hal_flash(uint8_t area)
{
    return (const uint8_t *)place(area);
}

bool el_hal_flash_erase(uint8_t area)
{
    (void)memset((uint8_t *)place(area), 0xFF, (area >= EL_RECORD_A) ? PAGE_BYTES : SLOT_BYTES);
    return true;
}

bool el_hal_flash_write(uint8_t area, uint32_t offset, const uint8_t *data, uint32_t count)
{
    (void)memcpy((uint8_t *)(place(area) + offset), data, count);
    __asm volatile("dsb\n\tisb" ::: "memory"); /* it may be code */
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
