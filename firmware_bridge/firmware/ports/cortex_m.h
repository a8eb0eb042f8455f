/* What the Cortex-M ports have in common: start, vectors, reset. */
#ifndef CORTEX_M_H
#define CORTEX_M_H

#include <stdint.h>

#include "el_config.h"

#define EL_REGISTER(address) (*(volatile uint32_t *)(uintptr_t)(address))

/* By the port: bring the board up before anything runs, and answer interrupts. */
void port_start(void);
void port_interrupt(void);
void systick_handler(void);

/* By cortex_m.c. */
void cortex_m_allow(uint32_t interrupt);
void cortex_m_reset(void);
void cortex_m_sleep(void);
uint32_t cortex_m_resets(void);

#endif
