/* Images in slots: code that runs where it lies; PROTOCOL.md gives the header. */
#include <string.h>

#include "el_bytes.h"
#include "el_hal.h"
#include "el_model.h"

#define MAGIC 0x494D4C45u /* ELMI */
#define FORMAT 1u
#define HEADER_BYTES 84u

enum field {
    AT_MAGIC = 0,
    AT_FORMAT = 4,
    AT_CORE = 6,
    AT_LENGTH = 8,
    AT_ADDRESS = 12,
    AT_ARENA = 16,
    AT_ARENA_BYTES = 20,
    AT_INPUT = 24,
    AT_INPUT_BYTES = 28,
    AT_OUTPUT = 32,
    AT_OUTPUT_BYTES = 36,
    AT_INVOKE = 40,
    AT_GOLDEN_INPUT = 44,
    AT_GOLDEN_OUTPUT = 48,
    AT_MODEL = 52
};

static uint32_t field(uint8_t slot, enum field at)
{
    return el_get32(&el_hal_flash(slot)[at]);
}

/* Do `count` bytes from `address` on lie in the image, behind its header? */
static bool inside(uint8_t slot, uint32_t address, uint32_t count)
{
    const uint32_t length = field(slot, AT_LENGTH);
    const uint32_t offset = address - field(slot, AT_ADDRESS);
    return (offset >= HEADER_BYTES) && (offset < length) && (count <= (length - offset));
}

static bool in_arena(uint8_t slot, uintptr_t address, uint32_t count)
{
    const uintptr_t offset = address - (uintptr_t)field(slot, AT_ARENA);
    const uint32_t size = field(slot, AT_ARENA_BYTES);
    return (offset < size) && (count <= (size - offset));
}

const char *el_image_check(uint8_t slot, uint32_t length)
{
    const struct el_board *board = el_hal_board();
    const uint8_t *at = el_hal_flash(slot);
    const char *wrong = NULL;
    if ((length < HEADER_BYTES) || (field(slot, AT_MAGIC) != MAGIC) || (el_get16(&at[AT_FORMAT]) != FORMAT) ||
        (field(slot, AT_LENGTH) != length)) {
        wrong = "no image of a model";
    } else if (el_get16(&at[AT_CORE]) != board->core) {
        wrong = "the image is for another processor";
    } else if (field(slot, AT_ADDRESS) != board->slot_address[slot]) {
        wrong = "the image is for another slot";
    } else if ((field(slot, AT_ARENA) != board->arena_address) || (field(slot, AT_ARENA_BYTES) > board->arena_bytes)) {
        wrong = "the image is for another arena";
    } else if (!inside(slot, field(slot, AT_INVOKE), 2u) || !inside(slot, field(slot, AT_INPUT), 2u) ||
               !inside(slot, field(slot, AT_OUTPUT), 2u) ||
               !inside(slot, field(slot, AT_GOLDEN_INPUT), field(slot, AT_INPUT_BYTES)) ||
               !inside(slot, field(slot, AT_GOLDEN_OUTPUT), field(slot, AT_OUTPUT_BYTES))) {
        wrong = "the image's header points outside of it";
    } else {
        /* as it should be */
    }
    return wrong;
}

const uint8_t *el_image_model_sha256(uint8_t slot)
{
    return &el_hal_flash(slot)[AT_MODEL];
}

const char *el_image_open(uint8_t slot, struct el_model *model)
{
    const char *wrong = NULL;
    /* Addresses of code in the image become functions: the one place where numbers turn into code. */
    uint8_t *(*const input)(void) = (uint8_t * (*)(void))(uintptr_t) field(slot, AT_INPUT);
    const uint8_t *(*const output)(void) = (const uint8_t *(*)(void))(uintptr_t)field(slot, AT_OUTPUT);
    model->invoke = (void (*)(void))(uintptr_t)field(slot, AT_INVOKE);
    model->input = input();
    model->output = output();
    model->input_bytes = field(slot, AT_INPUT_BYTES);
    model->output_bytes = field(slot, AT_OUTPUT_BYTES);
    model->arena_bytes = field(slot, AT_ARENA_BYTES);
    (void)memcpy(model->sha256, el_image_model_sha256(slot), EL_SHA256_BYTES);
    if (!in_arena(slot, (uintptr_t)model->input, model->input_bytes) ||
        !in_arena(slot, (uintptr_t)model->output, model->output_bytes)) {
        wrong = "the model's input or output lies outside of its arena";
    }
    return wrong;
}

bool el_image_golden(uint8_t slot, const struct el_model *model)
{
    const uint8_t *at = el_hal_flash(slot);
    const uint32_t base = field(slot, AT_ADDRESS);
    (void)memcpy(model->input, &at[field(slot, AT_GOLDEN_INPUT) - base], model->input_bytes);
    model->invoke();
    return memcmp(model->output, &at[field(slot, AT_GOLDEN_OUTPUT) - base], model->output_bytes) == 0;
}
