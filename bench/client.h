/* A client's connections: see client.c. */
#ifndef BENCH_CLIENT_H
#define BENCH_CLIENT_H

#include "common.h"
#include "tls.h"

enum mode { SETUP, RR, UP, DOWN, IDLE, SERVE, MODES };
enum state { CONNECTING, HANDSHAKING, GREETING, OPEN, ENDING };

#define MOST_SIZE (1 << 20)
#define MOST_HELLOS 64
#define MOST_PERMUTED 32
#define FIRST_SIZE 100 /* of the first message within TLS, and of what a backend answers */

/* What a connection begins with, the ranges of it that are made anew each time, and where the extensions are that
   come in another order each time. */
struct hello {
    unsigned char wire[16384];
    uint32_t size, ranges;
    struct { uint32_t from, size; } range[8], permuted; /* `size` of that: how many */
};

struct conn {
    struct handler handler;
    enum mode mode;
    enum state state;
    bool writes; /* EPOLLOUT is asked for */
    uint32_t unsent, unread;
    uint64_t began;
    struct tls *tls;
    struct ticket *ticket;
};

/* How all of them go on. */
struct plan {
    enum mode mode;
    struct sockaddr_in target, source; /* source: 0, or the first of `sources` addresses */
    uint32_t sources, size;
    uint64_t most_ops;
    bool by_reset;
    uint32_t key_share; /* TLS is spoken if it is not 0: where it is in the hello */
    bool resume;
    uint32_t hello_count;
    struct hello hello[MOST_HELLOS], beside; /* connections take one of them after the other */
};

struct counts {
    uint64_t started, finished, failed, opened, resumed, tickets, resets;
    const char *why; /* the first that failed did */
    bool measuring;
};

extern struct plan plan;
extern struct counts counts;

static inline uint32_t extension_size(const unsigned char *extension)
{
    return 4 + extension[2] * 256u + extension[3];
}

void start(struct conn *conn);
void request(struct conn *conn);
void want_writes(struct conn *conn, bool wanted);
void print_latencies(void); /* [[µs, how often], …], since forget_latencies */
void forget_latencies(void);

#endif
