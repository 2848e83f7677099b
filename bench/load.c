/* The load generator: clients and backends in one epoll loop, which opens connections as TLS clients do, and measures.

     load setup --to HOST:PORT --hello FILE [--vary FROM:SIZE]… --count N --open K --close fin|reset
     load rr    … --count N --open K --size BYTES        requests and responses of BYTES each, on K connections
     load up    … --seconds S --open K                   as many bytes as go, towards the backend
     load down  … --seconds S --open K                   the same, from the backend
     load idle  … --open K                               K connections, held
     load serve --serve MODE:HOST:PORT…                  nothing but the backends: see backend.c

   A connection begins with the hello of FILE, with the bytes of each --vary range made anew (random, session
   id, key shares: no two real hellos are equal), and is open once the backend's first bytes came back.
   `setup` also ends it: `fin` ends our direction, waits for the other's end and closes; `reset` resets.

   Every mode takes --serve. Clients and backends share one thread, and while it measures it polls for 200 µs before it
   sleeps: to wake a sleeping process on another core costs the one that sends to it (the proxy) several microseconds,
   which no network would, and the slower the proxy the more often. --spin 0 lets it sleep at once.

   It prints `ready` when its K connections are open (`setup`: at once), waits for a line on its standard
   input, does its work, prints one line of JSON, with its own CPU time, and closes when its input ends.
   `setup` and `rr` stop after --at-most seconds, whatever the count. It gives up after --give-up seconds without an operation. */
#include "common.h"

enum mode { SETUP, RR, UP, DOWN, IDLE, SERVE };
enum state { CONNECTING, GREETING, OPEN, ENDING };

struct conn {
    struct handler handler;
    enum state state;
    bool writes; /* EPOLLOUT is asked for */
    uint32_t unsent, unread;
    uint64_t began;
};

#define MOST_OPEN 60000
#define MOST_RANGES 8
#define MOST_SIZE (1 << 20)
#define SPIN_NS 200000 /* longer than a proxy keeps us waiting while it works */

static enum mode mode;
static struct sockaddr_in target;
static unsigned char hello[65536];
static struct { uint32_t from, size; } ranges[MOST_RANGES];
static uint32_t hello_size, range_count, open_count = 1, size = 100, sources = 1, greeting = 1;
static uint64_t most_ops = 1000, give_up = 10;
static double seconds = 1, at_most = 20;
static bool by_reset, spin = true;

static struct conn *conns;
static char chunk[MOST_SIZE];
static int epoll;
static uint64_t started, finished, failed, bytes, opened, rng = 88172645463325252ull;
static uint32_t source;
static bool measuring;

/* Latencies in nanoseconds: 64 steps for each power of two, so a step is at most 1.6 % wide. */
static uint32_t steps[64 * 64];

static void note(uint64_t ns)
{
    int power = ns < 64 ? 0 : 63 - __builtin_clzll(ns) - 5;
    steps[power * 64 + (int)(ns >> power)]++;
}

static double quantile(double q)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < 64 * 64; i++)
        total += steps[i];
    for (int i = 0; i < 64 * 64; i++)
        if ((seen += steps[i]) && (double)seen >= q * (double)total)
            return (double)((uint64_t)(i % 64) << (i / 64)) / 1000;
    return 0;
}

static void vary(void)
{
    for (uint32_t r = 0; r < range_count; r++)
        for (uint32_t i = 0; i < ranges[r].size; i += 8) {
            rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
            uint32_t rest = ranges[r].size - i;
            memcpy(hello + ranges[r].from + i, &rng, rest < 8 ? rest : 8);
        }
}

static void watch(struct conn *c, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | (c->writes ? EPOLLOUT : 0), .data.ptr = c};
    if (epoll_ctl(epoll, operation, c->handler.fd, &event) < 0)
        die("epoll_ctl");
}

static void want_writes(struct conn *c, bool wanted)
{
    if (c->writes != wanted) {
        c->writes = wanted;
        watch(c, EPOLL_CTL_MOD);
    }
}

static bool greet(struct conn *c)
{
    vary();
    ssize_t sent = send(c->handler.fd, hello, hello_size, MSG_NOSIGNAL);
    if (sent == (ssize_t)hello_size) {
        c->state = GREETING;
        c->unread = greeting;
        return true;
    }
    return sent < 0 && errno == EAGAIN;
}

static void on_event(struct handler *self, uint32_t events);

static void start(struct conn *c)
{
    int on = 1;
    started++;
    c->handler.on_event = on_event;
    c->handler.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->handler.fd < 0)
        die("socket");
    setsockopt(c->handler.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (sources > 1) { /* more client addresses: more ports than one address has */
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + source++ % sources);
        setsockopt(c->handler.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(c->handler.fd, (struct sockaddr *)&from, sizeof from) < 0)
            die("bind");
    }
    c->began = now_ns();
    c->state = CONNECTING;
    if (connect(c->handler.fd, (struct sockaddr *)&target, sizeof target) < 0 && errno != EINPROGRESS)
        die("connect");
    if (!greet(c)) { /* on loopback it is connected by now */
        failed++;
        close(c->handler.fd);
        c->handler.fd = -1;
        return;
    }
    c->writes = c->state == CONNECTING;
    watch(c, EPOLL_CTL_ADD);
}

static void fail(struct conn *c)
{
    failed++;
    close(c->handler.fd);
    c->handler.fd = -1;
    if (mode == SETUP && started < most_ops)
        start(c);
}

static void request(struct conn *c)
{
    if (started >= most_ops)
        return;
    started++;
    c->began = now_ns();
    c->unread = size;
    ssize_t sent = send(c->handler.fd, chunk, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) {
        fail(c);
        return;
    }
    c->unsent = size - (uint32_t)(sent < 0 ? 0 : sent);
    want_writes(c, c->unsent > 0);
}

static void done(struct conn *c)
{
    note(now_ns() - c->began);
    finished++;
    close(c->handler.fd);
    c->handler.fd = -1;
    if (started < most_ops)
        start(c);
}

/* The backend's first bytes are there. */
static void greeted(struct conn *c)
{
    c->state = OPEN;
    opened++;
    if (mode != SETUP)
        return;
    if (by_reset) {
        struct linger now = {1, 0};
        setsockopt(c->handler.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        done(c);
    } else {
        c->state = ENDING;
        shutdown(c->handler.fd, SHUT_WR);
    }
}

static void pour(struct conn *c)
{
    for (int i = 0; i < 4; i++) {
        ssize_t sent = send(c->handler.fd, chunk, CHUNK, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                fail(c);
            return;
        }
        bytes += (uint64_t)sent;
    }
}

static void on_event(struct handler *self, uint32_t events)
{
    struct conn *c = (struct conn *)self;
    if (c->handler.fd < 0)
        return;
    if (events & EPOLLOUT) {
        if (c->state == CONNECTING) {
            if (!greet(c)) {
                fail(c);
                return;
            }
            if (c->state == GREETING)
                want_writes(c, false);
        } else if (mode == UP && measuring) {
            pour(c);
        } else if (c->unsent) {
            ssize_t sent = send(c->handler.fd, chunk, c->unsent, MSG_NOSIGNAL);
            if (sent > 0)
                c->unsent -= (uint32_t)sent;
            want_writes(c, c->unsent > 0);
        }
    }
    if (c->handler.fd < 0 || !(events & ~(uint32_t)EPOLLOUT))
        return;
    bool bulk = mode == DOWN && c->state != GREETING;
    if (bulk && !measuring)
        return;
    ssize_t got = recv(c->handler.fd, bulk ? NULL : chunk, bulk ? 4 * CHUNK : sizeof chunk, bulk ? MSG_TRUNC : 0);
    if (got < 0) {
        if (errno != EAGAIN)
            fail(c);
        return;
    }
    if (got == 0) {
        if (c->state == ENDING && mode == SETUP)
            done(c);
        else if (c->state == ENDING) {
            finished++;
            close(c->handler.fd);
            c->handler.fd = -1;
        } else
            fail(c);
        return;
    }
    if (mode == UP || mode == DOWN)
        bytes += mode == DOWN && measuring ? (uint64_t)got : 0;
    if (c->state == GREETING) {
        if ((uint32_t)got >= c->unread)
            greeted(c);
        else
            c->unread -= (uint32_t)got;
    } else if (mode == RR && c->state == OPEN) {
        if ((uint32_t)got >= c->unread) {
            note(now_ns() - c->began);
            finished++;
            request(c);
        } else
            c->unread -= (uint32_t)got;
    }
}

static bool told, events_seen;

static void on_input(struct handler *self, uint32_t events)
{
    char line[64];
    (void)events;
    told = read(self->fd, line, sizeof line) <= 0;
}

static void pass(int wait)
{
    struct epoll_event events[BATCH];
    int ready = epoll_wait(epoll, events, BATCH, wait);
    events_seen = ready > 0;
    for (int i = 0; i < ready; i++)
        ((struct handler *)events[i].data.ptr)->on_event(events[i].data.ptr, events[i].events);
}

/* Turn the loop until `*counter` is `goal`, or for so many seconds; never longer than `give_up` without progress. */
static void turn(const uint64_t *counter, uint64_t goal, double at_most)
{
    bool spinning = spin && measuring;
    uint64_t last = ~0ull, since = now_ns(), since_event = since, ends = since + (uint64_t)(at_most * 1e9);
    while (*counter + failed < goal) {
        uint64_t now = now_ns();
        if (now >= ends)
            return;
        if (finished + opened + bytes + failed != last)
            last = finished + opened + bytes + failed, since = now;
        else if (now - since > give_up * 1000000000ull) {
            fprintf(stderr, "nothing happened for %llu s\n", (unsigned long long)give_up);
            exit(1);
        }
        pass(spinning ? 0 : 100);
        if (events_seen) {
            since_event = now;
            spinning = spin && measuring;
        } else if (spinning && now - since_event > SPIN_NS)
            spinning = false;
    }
}

static void read_hello(const char *path)
{
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, hello, sizeof hello);
    if (got <= 0)
        die(path);
    hello_size = (uint32_t)got;
    close(fd);
}

static void read_flags(int count, char **words)
{
    static const char *const modes[] = {"setup", "rr", "up", "down", "idle", "serve"};
    int found = -1;
    for (int i = 0; count > 1 && i < 6; i++)
        if (!strcmp(words[1], modes[i]))
            found = i;
    if (found < 0 || count % 2) {
        fprintf(stderr, "load setup|rr|up|down|idle|serve …: see the head of load.c\n");
        exit(2);
    }
    mode = (enum mode)found;
    for (int i = 2; i + 1 < count; i += 2) {
        const char *flag = words[i], *value = words[i + 1];
        if (!strcmp(flag, "--to"))
            target = address(value);
        else if (!strcmp(flag, "--hello"))
            read_hello(value);
        else if (!strcmp(flag, "--vary")) {
            if (range_count == MOST_RANGES || sscanf(value, "%u:%u", &ranges[range_count].from, &ranges[range_count].size) != 2
                || (uint64_t)ranges[range_count].from + ranges[range_count].size > sizeof hello)
                die("--vary");
            range_count++;
        } else if (!strcmp(flag, "--count"))
            most_ops = number(value, 100000000);
        else if (!strcmp(flag, "--open"))
            open_count = (uint32_t)number(value, MOST_OPEN);
        else if (!strcmp(flag, "--size"))
            size = (uint32_t)number(value, MOST_SIZE);
        else if (!strcmp(flag, "--seconds"))
            seconds = (double)number(value, 600);
        else if (!strcmp(flag, "--at-most"))
            at_most = (double)number(value, 600);
        else if (!strcmp(flag, "--sources"))
            sources = (uint32_t)number(value, 250);
        else if (!strcmp(flag, "--give-up"))
            give_up = number(value, 600);
        else if (!strcmp(flag, "--serve"))
            serve(epoll, value);
        else if (!strcmp(flag, "--spin"))
            spin = number(value, 1);
        else if (!strcmp(flag, "--close"))
            by_reset = !strcmp(value, "reset");
        else {
            fprintf(stderr, "no such flag: %s\n", flag);
            exit(2);
        }
    }
    if (mode != SERVE && (!hello_size || !target.sin_port)) {
        fprintf(stderr, "--to and --hello are needed\n");
        exit(2);
    }
}

/* Serve until standard input ends. */
static void serve_until_told(void)
{
    struct handler input = {on_input, 0};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &input};
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    while (!told)
        pass(-1);
}

int main(int count, char **words)
{
    char line[64];
    all_descriptors();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    read_flags(count, words);
    conns = calloc(open_count, sizeof *conns);
    if (mode == RR)
        greeting = hello_size; /* the backend echoes the hello as well */
    if (mode == SERVE) {
        puts("ready");
        fflush(stdout);
        serve_until_told();
        return 0;
    }
    if (mode != SETUP)
        for (uint32_t i = 0; i < open_count; i++) {
            start(&conns[i]);
            turn(&opened, i < 64 ? 0 : i - 64, 600); /* at most 64 at once on their way */
        }
    turn(&opened, mode == SETUP ? 0 : open_count, 600);
    puts("ready");
    fflush(stdout);
    if (read(0, line, sizeof line) <= 0)
        return 1;

    double user, system, user_then, system_then;
    own_cpu(&user_then, &system_then);
    measuring = true;
    started = finished = 0;
    uint64_t began = now_ns();
    switch (mode) {
    case SETUP:
        for (uint32_t i = 0; i < open_count && started < most_ops; i++)
            start(&conns[i]);
        turn(&finished, most_ops, at_most);
        break;
    case RR:
        for (uint32_t i = 0; i < open_count; i++)
            request(&conns[i]);
        turn(&finished, most_ops, at_most);
        break;
    case UP:
    case DOWN:
        for (uint32_t i = 0; i < open_count && mode == UP; i++)
            want_writes(&conns[i], true);
        turn(&finished, ~0ull >> 1, seconds);
        for (uint32_t i = 0; i < open_count; i++) /* every byte has arrived when the other side ends too */
            if (conns[i].handler.fd >= 0) {
                want_writes(&conns[i], false);
                conns[i].state = ENDING;
                shutdown(conns[i].handler.fd, SHUT_WR);
            }
        turn(&finished, open_count, 60);
        break;
    case IDLE:
    case SERVE:
        break;
    }
    uint64_t took = now_ns() - began;
    own_cpu(&user, &system);
    printf("{\"operations\": %llu, \"failed\": %llu, \"bytes\": %llu, \"seconds\": %.6f, \"cpu_user\": %.6f, "
           "\"cpu_system\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n",
           (unsigned long long)finished, (unsigned long long)failed, (unsigned long long)bytes, (double)took / 1e9,
           user - user_then, system - system_then, quantile(0.5), quantile(0.99), quantile(0.999));
    fflush(stdout);
    serve_until_told();
    return 0;
}
