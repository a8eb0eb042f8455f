/* A bare Cortex-M on QEMU's MPS2 boards: inputs come over the first UART, outputs go back, then QEMU ends. */
#include "m.h"

#include <string.h>

#define UART ((volatile uint32_t *)0x40004000)
enum { DATA, STATE, CONTROL, INTERRUPT, BAUD_DIVIDER };
#define TRANSMIT_FULL 1u
#define RECEIVED 2u

extern uint32_t data_load[], data_start[], data_end[], bss_start[], bss_end[];
extern uint32_t stack_top[];
void reset(void);

static void stop(uint32_t reason)
{
    /* Semihosting's SYS_EXIT: 0x20026 is ADP_Stopped_ApplicationExit, anything else a failure. */
    register uint32_t operation __asm__("r0") = 0x18;
    register uint32_t argument __asm__("r1") = reason;
    __asm__ volatile("bkpt 0xab" : : "r"(operation), "r"(argument) : "memory");
    for (;;) {
    }
}

static void fault(void)
{
    stop(0x20023);
}

__attribute__((section(".vectors"), used)) static void *const vectors[16] = {
    stack_top, (void *)reset, (void *)fault, (void *)fault, (void *)fault, (void *)fault, (void *)fault,
};

static void receive(uint8_t *to, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        while (!(UART[STATE] & RECEIVED)) {
        }
        to[i] = (uint8_t)UART[DATA];
    }
}

static void transmit(const uint8_t *from, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        while (UART[STATE] & TRANSMIT_FULL) {
        }
        UART[DATA] = from[i];
    }
}

void reset(void)
{
    memcpy(data_start, data_load, (size_t)((uint8_t *)data_end - (uint8_t *)data_start));
    memset(bss_start, 0, (size_t)((uint8_t *)bss_end - (uint8_t *)bss_start));
    UART[BAUD_DIVIDER] = 16;
    UART[CONTROL] = 3;
    for (uint32_t i = 0; i < SAMPLES; i++) {
        receive((uint8_t *)m_input(), M_INPUT_BYTES);
        m_invoke();
        transmit((const uint8_t *)m_output(), M_OUTPUT_BYTES);
    }
    stop(0x20026);
}
