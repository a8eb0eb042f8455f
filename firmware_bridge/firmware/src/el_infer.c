/* Inference on request. */
#include <string.h>

#include "el_hal.h"
#include "el_parts.h"

#define PREFIX_BYTES 8u
#define HEAD_BYTES 17u /* of INFER's answer, before the output */

enum status { DONE, NO_MODEL, OTHER_MODEL, BAD_INPUT };

static uint32_t input_written;
static bool output_there;

void el_infer_start(void)
{
    input_written = 0;
    output_there = false;
}

static enum status model_status(const uint8_t *prefix)
{
    const struct el_model *model = el_running();
    enum status status = DONE;
    if (model == NULL) {
        status = NO_MODEL;
    } else if (memcmp(model->sha256, prefix, PREFIX_BYTES) != 0) {
        status = OTHER_MODEL;
    } else {
        /* that one */
    }
    return status;
}

const char *el_on_infer(const struct el_request *request, struct el_writer *out)
{
    const struct el_model *model = el_running();
    const uint32_t count = (uint32_t)request->length - PREFIX_BYTES;
    enum status status = model_status(request->payload);
    if ((status == DONE) && (((count > 0u) ? count : input_written) != model->input_bytes)) {
        status = BAD_INPUT;
    }
    el_add8(out, (uint8_t)status);
    if (status != DONE) {
        el_add_zeros(out, HEAD_BYTES - 1u);
    } else {
        const uint32_t start = el_hal_ticks();
        if (count > 0u) {
            (void)memcpy(model->input, &request->payload[PREFIX_BYTES], count);
        }
        const uint32_t copied = el_hal_ticks();
        model->invoke();
        const uint32_t invoked = el_hal_ticks();
        struct el_writer output = {&out->to[HEAD_BYTES], (uint16_t)(out->room - HEAD_BYTES), 0};
        el_add(&output, model->output, model->output_bytes);
        const uint32_t end = el_hal_ticks();
        el_add32(out, copied - start);
        el_add32(out, invoked - copied);
        el_add32(out, end - invoked);
        el_add32(out, model->output_bytes);
        out->length = (uint16_t)(HEAD_BYTES + output.length);
        input_written = 0; /* its bytes are used up */
        output_there = true;
    }
    return NULL;
}

const char *el_on_input(const struct el_request *request, struct el_writer *out)
{
    const struct el_model *model = el_running();
    const uint32_t offset = el_get32(&request->payload[PREFIX_BYTES]);
    const uint32_t count = (uint32_t)request->length - (PREFIX_BYTES + 4u);
    const char *wrong = NULL;
    if (model_status(request->payload) != DONE) {
        wrong = "that model isn't active";
    } else if ((offset > model->input_bytes) || (count > (model->input_bytes - offset))) {
        wrong = "past the input's end";
    } else if ((offset != 0u) && (offset != input_written)) {
        wrong = "a part before it is missing";
    } else {
        (void)memcpy(&model->input[offset], &request->payload[PREFIX_BYTES + 4u], count);
        input_written = offset + count;
        output_there = false;
        el_add32(out, input_written);
    }
    return wrong;
}

const char *el_on_output(const struct el_request *request, struct el_writer *out)
{
    const struct el_model *model = el_running();
    const uint32_t offset = el_get32(request->payload);
    const char *wrong = NULL;
    if ((model == NULL) || !output_there) {
        wrong = "there is no output: INFER first";
    } else if (offset > model->output_bytes) {
        wrong = "past the output's end";
    } else {
        el_add32(out, offset);
        el_add(out, &model->output[offset], model->output_bytes - offset);
    }
    return wrong;
}
