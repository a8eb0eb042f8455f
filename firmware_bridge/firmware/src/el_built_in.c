/* The model that is linked into the firmware: `edgeloop compile-c --name model`, and EL_BUILT_IN_MODEL defined. */
#include "el_model.h"

#ifdef EL_BUILT_IN_MODEL
#include "model.h"

static uint8_t digit(char c)
{
    return (uint8_t)((c <= '9') ? (c - '0') : ((c - 'a') + 10));
}

bool el_built_in(struct el_model *model)
{
    for (unsigned int i = 0; i < EL_SHA256_BYTES; i++) {
        const char *at = &model_model_sha256[2u * i];
        model->sha256[i] = (uint8_t)((unsigned int)digit(at[0]) * 16u + digit(at[1]));
    }
    model->input = (uint8_t *)model_input();
    model->output = (const uint8_t *)model_output();
    model->input_bytes = MODEL_INPUT_BYTES;
    model->output_bytes = MODEL_OUTPUT_BYTES;
    model->arena_bytes = model_arena_bytes;
    model->invoke = model_invoke;
    return true;
}
#else
bool el_built_in(struct el_model *model)
{
    (void)model;
    return false;
}
#endif
