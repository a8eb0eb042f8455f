/* The firmware without its board: a port calls these. */
#ifndef EL_DEVICE_H
#define EL_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

/* Once, after the board is up: chooses the model that runs. */
void el_init(void);

/* A byte came from the line; may be called in an interrupt. */
void el_received(uint8_t byte);

/* Do what there is to do. Returns false where there is nothing more: the port may wait for an interrupt. */
bool el_poll(void);

/* How long there will be nothing to do if nothing comes: until the next sample, at most 1 ms. */
uint32_t el_idle_us(void);

#endif
