/* A compiled model, as it is run: linked into the firmware, or an image in a slot. */
#ifndef EL_MODEL_H
#define EL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "el_config.h"

struct el_model {
    uint8_t sha256[EL_SHA256_BYTES]; /* of the .tflite */
    uint8_t *input;
    const uint8_t *output;
    uint32_t input_bytes;
    uint32_t output_bytes;
    uint32_t arena_bytes;
    void (*invoke)(void);
};

/* The model that is linked into the firmware; false: there is none. */
bool el_built_in(struct el_model *model);

/* The image in a slot, as its header says; null, or what is wrong with it. Nothing of it is run. */
const char *el_image_check(uint8_t slot, uint32_t length);

/* The model of an image that was checked. Its code tells where input and output lie; null, or what is wrong. */
const char *el_image_open(uint8_t slot, struct el_model *model);

/* The SHA-256 of the model that an image was made from. */
const uint8_t *el_image_model_sha256(uint8_t slot);

/* Does it answer the image's golden input? */
bool el_image_golden(uint8_t slot, const struct el_model *model);

#endif
