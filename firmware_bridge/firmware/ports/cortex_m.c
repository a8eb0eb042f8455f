/* Start, vectors and reset of a Cortex-M. */
#include "cortex_m.h"

#include <string.h>

#include "el_device.h"
#include "el_hal.h"

#define INTERRUPTS 48
#define RESET_MAGIC 0x45447273u

extern uint32_t data_load[];
extern uint32_t data_start[];
extern uint32_t data_bytes[]; /* its address is the number */
extern uint32_t bss_start[];
extern uint32_t bss_bytes[];
extern uint32_t stack_top[];

void reset_handler(void);

/* Not set to zero at a reset; of chance after power-on, which the magic number tells. */
static uint32_t reset_magic __attribute__((section(".noinit")));
static uint32_t reset_count __attribute__((section(".noinit")));

/* A fault, such as a model's on trial, ends in a reset: the confirmed slot runs then. */
static void fault(void)
{
    cortex_m_reset();
}

typedef void handler(void);
/* The processor reads them. */
struct vectors {
    uint32_t *stack; /* cppcheck-suppress unusedStructMember */
    handler *system[15]; /* cppcheck-suppress unusedStructMember */
    handler *interrupt[INTERRUPTS]; /* cppcheck-suppress unusedStructMember */
};

#define EIGHT port_interrupt, port_interrupt, port_interrupt, port_interrupt, \
    port_interrupt, port_interrupt, port_interrupt, port_interrupt
__attribute__((section(".vectors"), used)) static const struct vectors vectors = {
    stack_top,
    {reset_handler, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, systick_handler},
    {EIGHT, EIGHT, EIGHT, EIGHT, EIGHT, EIGHT},
};

void cortex_m_allow(uint32_t interrupt)
{
    EL_REGISTER(0xE000E100u + ((interrupt / 32u) * 4u)) = 1u << (interrupt % 32u);
}

void cortex_m_reset(void)
{
    __asm volatile("dsb" ::: "memory");
    EL_REGISTER(0xE000ED0Cu) = 0x05FA0004u; /* AIRCR: SYSRESETREQ */
    for (;;) {
    }
}

void cortex_m_sleep(void)
{
    __asm volatile("wfi" ::: "memory");
}

uint32_t cortex_m_resets(void)
{
    return reset_count;
}

void reset_handler(void)
{
    (void)memcpy(data_start, data_load, (size_t)(uintptr_t)data_bytes);
    (void)memset(bss_start, 0, (size_t)(uintptr_t)bss_bytes);
    reset_count = (reset_magic == RESET_MAGIC) ? (reset_count + 1u) : 0u;
    reset_magic = RESET_MAGIC;
    port_start();
    el_init();
    for (;;) {
        if (!el_poll()) {
            el_hal_wait();
        }
    }
}
