/* A wire between two network namespaces: whatever goes in at one end comes out at the other after so long, at so many bits
   a second. It is `tc netem` for kernels that have none.

     wire NAMESPACE_A NAMESPACE_B DELAY_US MBIT          makes a TUN device `wire0` in each

   It says `ready`, and lasts until its standard input ends. */
#include "common.h"

#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>

#define PACKET 1600
#define QUEUE 1024

struct end {
    int fd;
    uint64_t free_at; /* when the last packet that came in here has left */
    uint32_t first, count;
    struct { uint64_t due; uint32_t size; unsigned char data[PACKET]; } queue[QUEUE];
};

static struct end ends[2];
static uint64_t delay_ns, mbit;

static int tun_in(const char *namespace)
{
    char path[128];
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strcpy(request.ifr_name, "wire0");
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int there = open(path, O_RDONLY | O_CLOEXEC);
    if (there < 0 || setns(there, CLONE_NEWNET) < 0)
        die(path);
    close(there);
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
        die("/dev/net/tun");
    return fd;
}

/* What waits at an end; a packet that finds the queue full is lost, as on any wire. */
static void take_in(struct end *end, uint64_t now)
{
    for (int i = 0; i < 64; i++) {
        static unsigned char lost[PACKET];
        bool full = end->count == QUEUE;
        uint32_t at = (end->first + end->count) % QUEUE;
        ssize_t got = read(end->fd, full ? lost : end->queue[at].data, PACKET);
        if (got <= 0)
            return;
        if (full)
            continue;
        end->free_at = (end->free_at > now ? end->free_at : now) + (uint64_t)got * 8000 / mbit;
        end->queue[at].due = end->free_at + delay_ns;
        end->queue[at].size = (uint32_t)got;
        end->count++;
    }
}

static void give_out(struct end *from, struct end *to, uint64_t now)
{
    while (from->count && from->queue[from->first].due <= now) {
        if (write(to->fd, from->queue[from->first].data, from->queue[from->first].size) < 0 && errno == EAGAIN)
            return;
        from->first = (from->first + 1) % QUEUE;
        from->count--;
    }
}

int main(int count, char **words)
{
    if (count != 5) {
        fprintf(stderr, "wire NAMESPACE_A NAMESPACE_B DELAY_US MBIT\n");
        return 2;
    }
    delay_ns = number(words[3], 10000000) * 1000;
    mbit = number(words[4], 100000);
    prctl(PR_SET_TIMERSLACK, 1);
    for (int i = 0; i < 2; i++)
        ends[i].fd = tun_in(words[1 + i]);
    puts("ready");
    fflush(stdout);
    for (;;) {
        uint64_t now = now_ns(), next = now + 1000000000;
        for (int i = 0; i < 2; i++) {
            take_in(&ends[i], now);
            give_out(&ends[i], &ends[1 - i], now);
            if (ends[i].count && ends[i].queue[ends[i].first].due < next)
                next = ends[i].queue[ends[i].first].due;
        }
        struct pollfd watched[] = {{0, POLLIN, 0}, {ends[0].fd, POLLIN, 0}, {ends[1].fd, POLLIN, 0}};
        uint64_t wait = next > now ? next - now : 0;
        struct timespec most = {(time_t)(wait / 1000000000), (long)(wait % 1000000000)};
        ppoll(watched, 3, &most, NULL);
        if (watched[0].revents)
            return 0;
    }
}
