/* What the load generator's parts share: the loop, clocks, numbers, addresses, the process's own CPU time. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH 512
#define CHUNK (256 * 1024)
#define BESIDE (64 * 1024) /* of bulk at once, while something else is measured beside it */

/* What an epoll event points to: the start of a connection of either kind, or of a listener. */
struct handler {
    void (*on_event)(struct handler *self, uint32_t events);
    int fd, epoll; /* epoll: the one that watches it, 0 when none does */
};

/* loop.c: two epolls. Those in `bulk` are served one event at a time, after all that are in `prompt`, and get less of it. */
extern int prompt, bulk;
extern bool bulk_beside;
void open_loop(bool beside);
void watch(struct handler *handler, int epoll, uint32_t events);
bool pass(int wait_ms);
extern uint64_t spun_ns; /* of our CPU time, what went into polls that found nothing */

/* backend.c: listen as "reply:127.0.0.1:9001" says; its connections are served from the same loop. */
void serve(const char *text);

/* Bulk goes while `pouring`. Both ends of it are here, so we know when every byte has arrived: `arrived` is `poured` then. */
extern bool pouring;
extern uint64_t poured, arrived;
void wake_sources(void); /* backend.c: after `pouring` became true */

static inline void die(const char *what)
{
    printf("{\"error\": \"%s: %s\"}\n", what, errno ? strerror(errno) : "wrong");
    exit(1);
}

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static inline uint64_t number(const char *text, uint64_t most)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || *end || end == text || value > most) {
        fprintf(stderr, "not a number up to %llu: %s\n", (unsigned long long)most, text);
        exit(2);
    }
    return value;
}

/* "127.0.0.1:8443" */
static inline struct sockaddr_in address(const char *text)
{
    struct sockaddr_in found = {.sin_family = AF_INET};
    char host[64];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host) {
        fprintf(stderr, "not an address: %s\n", text);
        exit(2);
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    if (inet_pton(AF_INET, host, &found.sin_addr) != 1) {
        fprintf(stderr, "not an IPv4 address: %s\n", host);
        exit(2);
    }
    found.sin_port = htons((uint16_t)number(colon + 1, 65535));
    return found;
}

/* User and system time of this process, in seconds. */
static inline void own_cpu(double *user, double *system)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    *user = (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6;
    *system = (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

static inline void all_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

#endif
