/* What a build may change, on the compiler's command line. */
#ifndef EL_CONFIG_H
#define EL_CONFIG_H

/* The largest decoded frame that is taken, head and CRC in it. A longer input comes in parts, by INPUT. */
#ifndef EL_FRAME_BYTES
#define EL_FRAME_BYTES 672u
#endif

/* The largest that is answered. An output that is longer than this less 25 bytes is read by OUTPUT. */
#ifndef EL_ANSWER_BYTES
#define EL_ANSWER_BYTES 672u
#endif

/* The receive buffer: a power of two. HELLO's window is one byte less. At 921,600 baud 1 kB is what comes in 11 ms: where the
   host's round trip takes longer (a USB adapter's latency timer is 16 ms), a delivery is faster with 2 or 4 kB. */
#ifndef EL_RING_BYTES
#define EL_RING_BYTES 1024u
#endif

/* DATA in flight while a slot is written: as many encoded frames as fit the receive buffer. */
#ifndef EL_DATA_BYTES
#define EL_DATA_BYTES 232u
#endif
#define EL_DATA_WINDOW ((EL_RING_BYTES - 1u) / (EL_DATA_BYTES + EL_LEAST_FRAME + 8u))

/* Samples that wait to be sent; the streams that are on have equal shares. They wait only while the line is busy, so this bounds
   their delay, too: by the time of two frames. A full frame spends 29 bytes beside its samples. */
#ifndef EL_STREAM_BYTES
#define EL_STREAM_BYTES 272u
#endif

#define EL_VERSION 1u
#define EL_FIRST_BAUD 115200u
#define EL_MAX_SLOTS 2u
#ifndef EL_MAX_STREAMS
#define EL_MAX_STREAMS 2u
#endif
#define EL_SHA256_BYTES 32u
#define EL_FLASH_UNIT 8u /* writes are multiples of it, at multiples of it */

#define EL_HEAD_BYTES 4u
#define EL_CRC_BYTES 4u
#define EL_LEAST_FRAME (EL_HEAD_BYTES + EL_CRC_BYTES)
#define EL_MOST_ENCODED (EL_FRAME_BYTES + (EL_FRAME_BYTES + 253u) / 254u)
#define EL_PAYLOAD_BYTES (EL_FRAME_BYTES - EL_LEAST_FRAME)

#if EL_FRAME_BYTES < 64u || EL_FRAME_BYTES > 1032u
#error "EL_FRAME_BYTES: the protocol has 64 to 1032"
#endif
#if EL_ANSWER_BYTES < 128u || EL_ANSWER_BYTES > 1032u
#error "EL_ANSWER_BYTES: from 128, which HELLO and SLOT need, to the protocol's 1032"
#endif
#if (EL_RING_BYTES & (EL_RING_BYTES - 1u)) != 0u
#error "EL_RING_BYTES is no power of two"
#endif
#if EL_DATA_BYTES % EL_FLASH_UNIT != 0u || EL_DATA_BYTES + EL_LEAST_FRAME + 4u > EL_FRAME_BYTES
#error "EL_DATA_BYTES: a multiple of EL_FLASH_UNIT that fits a frame"
#endif
#if EL_DATA_WINDOW == 0u
#error "EL_RING_BYTES: not even one DATA fits the receive buffer"
#endif
#if EL_STREAM_BYTES + 17u + EL_LEAST_FRAME > 1032u
#error "EL_STREAM_BYTES: SAMPLES don't fit the protocol's largest frame"
#endif

#endif
