/* The loop of clients and backends.

   While small requests are measured beside bulk, one event of a bulk connection (64 KiB of it) is all that may come between
   two looks at the others: or a part of the latency measured would be the load generator's own. */
#include "common.h"

int prompt, bulk;
bool bulk_beside, pouring;
uint64_t poured, arrived;
static struct handler turnstile; /* the bulk epoll, as `prompt` watches it */

static void on_bulk(struct handler *self, uint32_t events)
{
    struct epoll_event event;
    (void)events;
    if (epoll_wait(self->fd, &event, 1, 0) > 0)
        ((struct handler *)event.data.ptr)->on_event(event.data.ptr, event.events);
}

void open_loop(bool beside)
{
    bulk_beside = beside;
    bulk = prompt = epoll_create1(EPOLL_CLOEXEC);
    if (!beside)
        return;
    bulk = epoll_create1(EPOLL_CLOEXEC);
    turnstile = (struct handler){on_bulk, bulk, 0};
    watch(&turnstile, prompt, EPOLLIN);
}

void watch(struct handler *h, int epoll, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = h};
    if (h->epoll && h->epoll != epoll) {
        epoll_ctl(h->epoll, EPOLL_CTL_DEL, h->fd, NULL);
        h->epoll = 0;
    }
    if (epoll_ctl(epoll, h->epoll ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, h->fd, &event) < 0)
        die("epoll_ctl");
    h->epoll = epoll;
}

uint64_t spun_ns;

static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Whether there was anything to do. */
bool pass(int wait_ms)
{
    static uint64_t idle_since; /* by our CPU time; 0 when not idle */
    struct epoll_event events[BATCH];
    int ready = epoll_wait(prompt, events, BATCH, wait_ms);
    if (!ready) {
        if (!idle_since)
            idle_since = cpu_ns();
        return false;
    }
    if (idle_since) {
        spun_ns += cpu_ns() - idle_since;
        idle_since = 0;
    }
    for (int i = 0; i < ready; i++)
        ((struct handler *)events[i].data.ptr)->on_event(events[i].data.ptr, events[i].events);
    return ready > 0;
}
