/* Delivery of models into slots, and the choice of the one that runs. */
#include <string.h>

#include "el_hal.h"
#include "el_parts.h"
#include "el_record.h"
#include "el_sha256.h"

static struct el_record record;
static struct el_model model;
static uint8_t running;   /* a slot, EL_BUILT_IN or EL_NO_SLOT */
static uint8_t receiving; /* the slot that DATA goes to, or EL_NO_SLOT */
static uint32_t next_offset;

const struct el_model *el_running(void)
{
    return (running == EL_NO_SLOT) ? NULL : &model;
}

uint8_t el_running_slot(void)
{
    return running;
}

static bool intact(uint8_t slot)
{
    uint8_t digest[EL_SHA256_BYTES];
    const struct el_slot *s = &record.slot[slot];
    el_sha256(el_hal_flash(slot), s->length, digest);
    return memcmp(digest, s->sha256, sizeof digest) == 0;
}

static void run(uint8_t slot, const struct el_model *which)
{
    model = *which;
    running = slot;
    if (model.arena_bytes > el_stats.arena_high_water) {
        el_stats.arena_high_water = model.arena_bytes;
    }
}

/* Everything that must hold before an image's code is called, and its golden answer; null, or what is wrong. */
static const char *try_image(uint8_t slot, struct el_model *found)
{
    struct el_slot *s = &record.slot[slot];
    const char *wrong;
    if (s->state != (uint8_t)EL_VERIFIED) {
        wrong = "the slot holds no verified image";
    } else if (!intact(slot)) {
        /* So that the same image may be delivered again; the next record says so, too. */
        (void)memset(s, 0, sizeof *s);
        wrong = "the slot's SHA-256 is another one than when it was verified";
    } else {
        wrong = el_image_check(slot, s->length);
        if (wrong == NULL) {
            wrong = el_image_open(slot, found);
        }
        if ((wrong == NULL) && !el_image_golden(slot, found)) {
            wrong = "the model answers its golden input wrongly";
        }
    }
    return wrong;
}

void el_slots_start(void)
{
    struct el_model found;
    const char *wrong = NULL;
    running = EL_NO_SLOT;
    receiving = EL_NO_SLOT;
    next_offset = 0;
    el_record_read(&record);
    if (record.confirmed < el_hal_board()->slots) {
        wrong = try_image(record.confirmed, &found);
        if (wrong == NULL) {
            run(record.confirmed, &found);
        } else {
            record.confirmed = EL_BUILT_IN;
        }
    }
    if ((running == EL_NO_SLOT) && el_built_in(&found)) {
        run(EL_BUILT_IN, &found);
    }
    if (wrong != NULL) {
        el_log(EL_ERROR, wrong);
    } else {
        el_log(EL_INFO, "started");
    }
}

/* Where the writing of a slot stopped: all behind it is erased. A unit that a power cut left half written counts as
   written; END then finds that the SHA-256 differs, and the slot is sent again. */
static uint32_t written(uint8_t slot, uint32_t length)
{
    const uint8_t *at = el_hal_flash(slot);
    uint32_t end = length;
    while ((end > 0u) && (at[end - 1u] == 0xFFu)) {
        end--;
    }
    const uint32_t up = ((end + EL_FLASH_UNIT - 1u) / EL_FLASH_UNIT) * EL_FLASH_UNIT;
    return (up < length) ? up : length;
}

static const char *store(const struct el_record *changed)
{
    const char *wrong = NULL;
    if (el_record_write(changed)) {
        record = *changed;
    } else {
        wrong = "the record can't be written";
    }
    return wrong;
}

const char *el_on_begin(const struct el_request *request, struct el_writer *out)
{
    const struct el_board *board = el_hal_board();
    const uint8_t slot = request->payload[0];
    const uint32_t length = el_get32(&request->payload[1]);
    const uint8_t *sha256 = &request->payload[5];
    const char *wrong = NULL;
    if (slot >= board->slots) {
        wrong = "no such slot";
    } else if ((length == 0u) || (length > board->slot_bytes)) {
        wrong = "the image doesn't fit the slot";
    } else {
        struct el_record changed = record;
        struct el_slot *s = &changed.slot[slot];
        const bool same = (s->length == length) && (memcmp(s->sha256, sha256, EL_SHA256_BYTES) == 0);
        if (same && (s->state == (uint8_t)EL_VERIFIED)) {
            next_offset = length;
        } else if (((slot == running) || (slot == record.confirmed))) {
            wrong = "the slot is in use";
        } else if (same && (s->state == (uint8_t)EL_RECEIVING)) {
            if (receiving != slot) {
                next_offset = written(slot, length);
            }
        } else {
            /* The record first: a slot that is only half erased must not count as verified. */
            s->state = (uint8_t)EL_RECEIVING;
            s->length = length;
            (void)memcpy(s->sha256, sha256, EL_SHA256_BYTES);
            receiving = EL_NO_SLOT;
            next_offset = 0;
            wrong = store(&changed);
            if ((wrong == NULL) && !el_hal_flash_erase(slot)) {
                wrong = "the slot can't be erased";
            }
        }
        if (wrong == NULL) {
            receiving = slot;
            el_add32(out, next_offset);
            el_add16(out, EL_DATA_WINDOW);
            el_add16(out, EL_DATA_BYTES);
        }
    }
    return wrong;
}

/* Whole units, and the image's end filled up to one. */
static bool write(const uint8_t *data, uint32_t count)
{
    const uint32_t whole = count - (count % EL_FLASH_UNIT);
    bool good = (whole == 0u) || el_hal_flash_write(receiving, next_offset, data, whole);
    if (good && (whole < count)) {
        uint8_t last[EL_FLASH_UNIT];
        (void)memset(last, 0xFF, sizeof last);
        (void)memcpy(last, &data[whole], count - whole);
        good = el_hal_flash_write(receiving, next_offset + whole, last, sizeof last);
    }
    return good && (memcmp(&el_hal_flash(receiving)[next_offset], data, count) == 0);
}

const char *el_on_data(const struct el_request *request, struct el_writer *out)
{
    const uint32_t offset = el_get32(request->payload);
    const uint8_t *data = &request->payload[4];
    const uint32_t count = (uint32_t)request->length - 4u;
    const char *wrong = NULL;
    if (receiving == EL_NO_SLOT) {
        wrong = "no BEGIN came before";
    } else if (offset == next_offset) {
        const uint32_t length = record.slot[receiving].length;
        if ((count > (length - offset)) || (((count % EL_FLASH_UNIT) != 0u) && (count != (length - offset)))) {
            wrong = el_misfit;
        } else if (!write(data, count)) {
            /* What was half written can't be written again: BEGIN finds out how far it goes. */
            receiving = EL_NO_SLOT;
            wrong = "the slot can't be written";
        } else {
            next_offset += count;
        }
    } else {
        /* Twice, or after one that was lost: the answer says where to go on. */
    }
    if (wrong == NULL) {
        el_add32(out, next_offset);
    }
    return wrong;
}

const char *el_on_end(const struct el_request *request, struct el_writer *out)
{
    const uint8_t slot = request->payload[0];
    const char *wrong = NULL;
    if (slot >= el_hal_board()->slots) {
        wrong = "no such slot";
    } else if (record.slot[slot].state == (uint8_t)EL_VERIFIED) {
        /* it was verified before */
    } else if ((slot != receiving) || (next_offset != record.slot[slot].length)) {
        wrong = "not all of it has come";
    } else {
        struct el_record changed = record;
        receiving = EL_NO_SLOT;
        if (intact(slot)) {
            changed.slot[slot].state = (uint8_t)EL_VERIFIED;
            wrong = store(&changed);
        } else {
            (void)memset(&changed.slot[slot], 0, sizeof changed.slot[slot]);
            wrong = store(&changed);
            if ((wrong == NULL) && el_hal_flash_erase(slot)) {
                wrong = "the SHA-256 differs: send it again";
            }
        }
    }
    if (wrong == NULL) {
        el_add8(out, slot);
    }
    return wrong;
}

/* Is this the hash of what the slot holds? Of the linked-in model it is the model's own. */
static bool named(uint8_t slot, const uint8_t *sha256, const struct el_model *built_in)
{
    const uint8_t *held = (slot == EL_BUILT_IN) ? built_in->sha256 : record.slot[slot].sha256;
    return memcmp(held, sha256, EL_SHA256_BYTES) == 0;
}

const char *el_on_activate(const struct el_request *request, struct el_writer *out)
{
    const uint8_t slot = request->payload[0];
    struct el_model found;
    const bool there = (slot == EL_BUILT_IN) ? el_built_in(&found) : (slot < el_hal_board()->slots);
    const char *wrong = NULL;
    if (!there) {
        wrong = "no such slot";
    } else if (!named(slot, &request->payload[1], &found)) {
        wrong = "the slot holds another image";
    } else {
        el_infer_start(); /* the arena is used */
        if (slot != EL_BUILT_IN) {
            wrong = try_image(slot, &found);
        }
        if (wrong == NULL) {
            run(slot, &found);
            el_add8(out, slot);
        }
    }
    return wrong;
}

const char *el_on_confirm(const struct el_request *request, struct el_writer *out)
{
    const uint8_t slot = request->payload[0];
    const char *wrong = NULL;
    if ((slot == EL_NO_SLOT) || (slot != running)) {
        wrong = "the slot doesn't run: ACTIVATE it first";
    } else if (!named(slot, &request->payload[1], &model)) {
        wrong = "the slot holds another image";
    } else if (slot != record.confirmed) {
        struct el_record changed = record;
        changed.confirmed = slot;
        wrong = store(&changed);
    } else {
        /* it was confirmed before */
    }
    if (wrong == NULL) {
        el_add8(out, slot);
    }
    return wrong;
}

const char *el_on_slot(const struct el_request *request, struct el_writer *out)
{
    const struct el_board *board = el_hal_board();
    const uint8_t slot = request->payload[0];
    const char *wrong = NULL;
    if (slot >= board->slots) {
        wrong = "no such slot";
    } else {
        const struct el_slot *s = &record.slot[slot];
        const bool good = (s->state == (uint8_t)EL_VERIFIED) && (el_image_check(slot, s->length) == NULL);
        uint8_t state = s->state;
        if (slot == record.confirmed) {
            state = (uint8_t)EL_CONFIRMED;
        } else if (slot == running) {
            state = (uint8_t)EL_TRIAL;
        } else {
            /* as the record says */
        }
        el_add8(out, slot);
        el_add8(out, state);
        el_add16(out, board->core);
        el_add32(out, board->slot_address[slot]);
        el_add32(out, board->slot_bytes);
        el_add32(out, board->arena_address);
        el_add32(out, s->length);
        el_add(out, s->sha256, EL_SHA256_BYTES);
        if (good) {
            el_add(out, el_image_model_sha256(slot), EL_SHA256_BYTES);
        } else {
            el_add_zeros(out, EL_SHA256_BYTES);
        }
    }
    return wrong;
}
