/* The firmware's parts, and what they ask of each other. */
#ifndef EL_PARTS_H
#define EL_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "el_bytes.h"
#include "el_model.h"

enum el_level { EL_DEBUG = 10, EL_INFO = 20, EL_WARNING = 30, EL_ERROR = 40 };

/* A request's payload; its length was checked against the table. */
struct el_request {
    const uint8_t *payload;
    uint16_t length;
};

/* A handler appends the answer's payload. It returns null, or the text of ERROR 5; or el_misfit, for ERROR 2. */
typedef const char *el_handler(const struct el_request *request, struct el_writer *out);
extern const char *const el_misfit;

/* The device: its line, and what it sends unasked. */
struct el_stats {
    uint32_t crc_errors;
    uint32_t damaged;
    uint32_t strays;
    uint32_t drops;
    uint32_t arena_high_water;
};
extern struct el_stats el_stats;

/* Text for a person; where the line is busy it is dropped and counted. */
void el_log(enum el_level level, const char *text);

/* Room for the payload of a frame that is sent unasked; null while the last one is under way. */
struct el_writer *el_unasked(void);
void el_unasked_send(uint8_t type);

/* Slots. */
void el_slots_start(void);
const struct el_model *el_running(void); /* null: none */
uint8_t el_running_slot(void);
el_handler el_on_begin;
el_handler el_on_data;
el_handler el_on_end;
el_handler el_on_activate;
el_handler el_on_confirm;
el_handler el_on_slot;

/* Inference. */
void el_infer_start(void); /* forget input and output: another model runs, or its arena was used */
el_handler el_on_infer;
el_handler el_on_input;
el_handler el_on_output;

/* Streams. */
void el_streams_start(void);
bool el_streams_poll(void);
el_handler el_on_stream;

#endif
