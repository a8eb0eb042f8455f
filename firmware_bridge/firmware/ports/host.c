/* The device as a process: its line is standard input and output, or a pseudo-terminal whose name it prints.

   host [--pty] [--flash FILE] [--cut N] [--watchdog SECONDS]

   The flash outlives a reset, and in a FILE the process. With --cut the process ends in the middle of the N-th flash operation,
   as if the power went. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/time.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "el_device.h"
#include "el_hal.h"

#define PAGE 4096u
#define SLOT_BYTES (512u * 1024u)
#define BASE 0x10000000u /* below 4 GB: addresses in an image have 32 bits */
#define RECORDS (BASE + (2u * SLOT_BYTES))
#define ARENA 0x18000000u
#define ARENA_BYTES (64u * 1024u)
#define FLASH_BYTES ((2u * SLOT_BYTES) + (2u * PAGE))

static const struct el_stream streams[] = {
    {"ramp", EL_INT16, 2, 4, 100},
    {"time of day, s", EL_INT32, 1, 4, 1000},
    {"eight ramps", EL_INT16, 8, 16, 20},
};

static const struct el_board board = {
    .name = "host",
    .core = 0,
    .slots = 2,
    .streams = 3,
    .slot_address = {BASE, BASE + SLOT_BYTES},
    .slot_bytes = SLOT_BYTES,
    .arena_address = ARENA,
    .arena_bytes = ARENA_BYTES,
    .highest_baud = 4000000u,
    .ticks_hz = 1000000000u,
    .stream = streams,
};

static int in = STDIN_FILENO, out = STDOUT_FILENO;
static bool terminal;
static bool full; /* the transmitter had no room */
static int flash_file; /* outlives a reset, and with --flash the process */
static time_t watchdog_s = 6;
static unsigned long cut; /* flash operations until the power goes; 0: it stays */
static char **arguments;
static uint32_t resets;
static uint64_t started_us;
static uint32_t rate = EL_FIRST_BAUD;

static void fail(const char *what)
{
    (void)fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(2);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

const struct el_board *el_hal_board(void)
{
    return &board;
}

/* A pseudo-terminal has no rate, but it remembers the one that the host has set: at another one bytes are garbage. */
static uint8_t as_heard(uint8_t byte)
{
    static const struct {
        speed_t speed;
        uint32_t baud;
    } speeds[] = {{B9600, 9600},     {B57600, 57600},   {B115200, 115200},  {B230400, 230400},
                  {B460800, 460800}, {B921600, 921600}, {B1000000, 1000000}};
    struct termios settings;
    uint32_t baud = rate;
    if (terminal && tcgetattr(in, &settings) == 0) {
        for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++) {
            baud = cfgetospeed(&settings) == speeds[i].speed ? speeds[i].baud : baud;
        }
    }
    return baud == rate ? byte : (uint8_t)(byte * 37u + 11u);
}

bool el_hal_put(uint8_t byte)
{
    const uint8_t heard = as_heard(byte);
    const ssize_t written = write(out, &heard, 1);
    if (written < 0 && errno != EAGAIN && errno != EINTR && !terminal) {
        exit(0); /* the host has gone */
    }
    full = written != 1;
    return !full;
}

void el_hal_set_baud(uint32_t baud)
{
    rate = baud;
}

uint64_t el_hal_time_us(void)
{
    return now_ns() / 1000u - started_us;
}

uint32_t el_hal_ticks(void)
{
    return (uint32_t)now_ns();
}

uint32_t el_hal_boot_id(void)
{
    static uint32_t id;
    while (id == 0 && getrandom(&id, sizeof id, 0) < 0) {
    }
    return id;
}

uint32_t el_hal_resets(void)
{
    return resets;
}

void el_hal_reset(void)
{
    char count[16], fd[16], left[24], file[16];
    (void)snprintf(count, sizeof count, "%u", resets + 1);
    (void)snprintf(fd, sizeof fd, "%d", terminal ? in : -1);
    (void)snprintf(left, sizeof left, "%lu", cut);
    (void)snprintf(file, sizeof file, "%d", flash_file);
    (void)setenv("EL_FLASH", file, 1);
    (void)setenv("EL_RESETS", count, 1);
    (void)setenv("EL_TERMINAL", fd, 1);
    (void)setenv("EL_CUT", left, 1);
    (void)execv("/proc/self/exe", arguments);
    fail("reset");
}

/* It counts the process's own time, so one that others keep from running isn't reset. */
void el_hal_watchdog_kick(void)
{
    const struct itimerval rest = {.it_value = {.tv_sec = watchdog_s}};
    (void)setitimer(ITIMER_VIRTUAL, &rest, NULL);
}

/* What hangs is a model, which calls nothing: so this handler may call what it likes. */
static void bite(int signal)
{
    (void)signal;
    el_hal_reset();
}

static void start_watchdog(void)
{
    struct sigaction action;
    (void)memset(&action, 0, sizeof action);
    action.sa_handler = bite;
    action.sa_flags = SA_NODEFER; /* a signal that is blocked stays so in the process that it becomes */
    (void)sigaction(SIGVTALRM, &action, NULL);
    el_hal_watchdog_kick();
}

void el_hal_wait(void)
{
    struct pollfd ends[2] = {{in, POLLIN, 0}, {out, full ? POLLOUT : 0, 0}};
    const struct timespec idle = {.tv_nsec = (long)el_idle_us() * 1000};
    (void)ppoll(ends, 2, &idle, NULL);
    full = false;
    if ((ends[0].revents & POLLHUP) != 0 && terminal) {
        (void)usleep(1000); /* nobody has it open */
    }
}

const uint8_t *el_hal_flash(uint8_t area)
{
    const uintptr_t at = area >= EL_RECORD_A ? RECORDS + (area - EL_RECORD_A) * PAGE : BASE + area * SLOT_BYTES;
    return (const uint8_t *)at;
}

static uint32_t until_the_cut(uint32_t count)
{
    if (cut == 1) {
        return count / 2;
    }
    cut = cut > 0 ? cut - 1 : 0;
    return count;
}

static bool change(uint8_t area, uint32_t offset, const uint8_t *data, uint32_t count)
{
    const uint32_t much = until_the_cut(count);
    uint8_t *at = (uint8_t *)(uintptr_t)el_hal_flash(area) + offset;
    for (uint32_t i = 0; i < much; i++) {
        at[i] = data != NULL ? at[i] & data[i] : 0xFF; /* flash turns ones into zeros; only erasing makes ones */
    }
    if (much < count) {
        _exit(3);
    }
    return true;
}

bool el_hal_flash_erase(uint8_t area)
{
    return change(area, 0, NULL, area >= EL_RECORD_A ? PAGE : SLOT_BYTES);
}

bool el_hal_flash_write(uint8_t area, uint32_t offset, const uint8_t *data, uint32_t count)
{
    return change(area, offset, data, count);
}

bool el_hal_sample(uint8_t stream, uint8_t *values)
{
    static uint16_t ramp;
    const uint16_t next[8] = {ramp, (uint16_t)~ramp, ramp, (uint16_t)~ramp, ramp, (uint16_t)~ramp, ramp, (uint16_t)~ramp};
    if (stream != 1) {
        (void)memcpy(values, next, streams[stream].sample_bytes);
        ramp++;
    } else {
        const int32_t seconds = (int32_t)(time(NULL) % 86400);
        (void)memcpy(values, &seconds, sizeof seconds);
    }
    return true;
}

static void map(const char *path)
{
    const char *inherited = getenv("EL_FLASH");
    if (inherited != NULL) {
        flash_file = atoi(inherited);
    } else {
        flash_file = path != NULL ? open(path, O_RDWR | O_CREAT, 0644) : memfd_create("flash", 0);
    }
    if (flash_file < 0) {
        fail(path != NULL ? path : "flash");
    }
    const bool new = lseek(flash_file, 0, SEEK_END) == 0;
    if (ftruncate(flash_file, FLASH_BYTES) != 0) {
        fail("flash");
    }
    const int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    void *flash = mmap((void *)(uintptr_t)BASE, FLASH_BYTES, all, MAP_SHARED | MAP_FIXED_NOREPLACE, flash_file, 0);
    void *arena = mmap((void *)(uintptr_t)ARENA, ARENA_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (flash == MAP_FAILED || arena == MAP_FAILED) {
        fail("memory");
    }
    if (new) {
        (void)memset(flash, 0xFF, FLASH_BYTES);
    }
}

static void open_terminal(const char *inherited)
{
    struct termios settings;
    in = inherited != NULL ? atoi(inherited) : posix_openpt(O_RDWR | O_NOCTTY);
    out = in;
    terminal = true;
    if (inherited == NULL) {
        if (in < 0 || grantpt(in) != 0 || unlockpt(in) != 0 || tcgetattr(in, &settings) != 0) {
            fail("pseudo-terminal");
        }
        cfmakeraw(&settings);
        (void)cfsetspeed(&settings, B115200);
        (void)tcsetattr(in, TCSANOW, &settings);
        (void)printf("%s\n", ptsname(in));
        (void)fflush(stdout);
    }
    (void)fcntl(in, F_SETFL, O_NONBLOCK);
}

int main(int argc, char **argv)
{
    const char *flash = NULL, *kept = getenv("EL_CUT"), *counted = getenv("EL_RESETS");
    bool pty = false;
    arguments = argv;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--pty") == 0) {
            pty = true;
        } else if (strcmp(argv[i], "--flash") == 0 && i + 1 < argc) {
            flash = argv[++i];
        } else if (strcmp(argv[i], "--cut") == 0 && i + 1 < argc) {
            cut = strtoul(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--watchdog") == 0 && i + 1 < argc) {
            watchdog_s = (time_t)strtoul(argv[++i], NULL, 10);
        } else {
            (void)fprintf(stderr, "usage: %s [--pty] [--flash FILE] [--cut N] [--watchdog SECONDS]\n", argv[0]);
            return 2;
        }
    }
    cut = kept != NULL ? strtoul(kept, NULL, 10) : cut;
    resets = counted != NULL ? (uint32_t)strtoul(counted, NULL, 10) : 0;
    map(flash);
    if (pty) {
        open_terminal(getenv("EL_TERMINAL"));
    }
    started_us = now_ns() / 1000u;
    start_watchdog();
    el_init();
    for (;;) {
        const struct pollfd asked = {in, POLLIN, 0};
        struct pollfd line = asked;
        if (poll(&line, 1, 0) > 0) {
            uint8_t bytes[256];
            const ssize_t count = read(in, bytes, sizeof bytes);
            if (count == 0 && !terminal) {
                while (el_poll()) {
                }
                return 0;
            }
            for (ssize_t i = 0; i < count; i++) {
                el_received(as_heard(bytes[i]));
            }
        }
        if (!el_poll() || full) {
            el_hal_wait();
        }
    }
}
