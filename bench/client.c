/* A client's connections: connect, the hello (or a TLS handshake), what the mode does, the end. */
#include "client.h"

struct plan plan = {.sources = 1, .size = 100, .most_ops = ~0ull};
struct counts counts;
static unsigned char chunk[MOST_SIZE];
static uint64_t rng;
static uint32_t source;

/* Latencies in nanoseconds: 64 steps for each power of two, so a step is at most 1.6 % wide. */
static uint32_t steps[64 * 64];

static void note(uint64_t ns)
{
    if (!counts.measuring)
        return;
    int power = ns < 64 ? 0 : 63 - __builtin_clzll(ns) - 5;
    steps[power * 64 + (int)(ns >> power)]++;
}

void print_latencies(void)
{
    const char *between = "";
    putchar('[');
    for (int i = 0; i < 64 * 64; i++)
        if (steps[i]) {
            printf("%s[%.1f, %u]", between, (double)((uint64_t)(i % 64) << (i / 64)) / 1000, steps[i]);
            between = ", ";
        }
    putchar(']');
}

void forget_latencies(void)
{
    memset(steps, 0, sizeof steps);
}

static uint64_t draw(void)
{
    if (!rng)
        rng = now_ns() | 1; /* or every generator would send the same hellos */
    rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
    return rng;
}

static void vary(struct hello *hello)
{
    for (uint32_t r = 0; r < hello->ranges; r++)
        for (uint32_t i = 0; i < hello->range[r].size; i += 8) {
            uint64_t drawn = draw();
            uint32_t rest = hello->range[r].size - i;
            memcpy(hello->wire + hello->range[r].from + i, &drawn, rest < 8 ? rest : 8);
        }
}

/* What is sent: where extensions are permuted a copy, since the ranges say where they stood. */
static const unsigned char *permute(const struct hello *hello)
{
    static unsigned char wire[sizeof hello->wire];
    const unsigned char *extension[MOST_PERMUTED], *at = hello->wire + hello->permuted.from;
    uint32_t count = hello->permuted.size;
    if (!count)
        return hello->wire;
    for (uint32_t i = 0; i < count; at += extension_size(at), i++) {
        uint32_t other = draw() % (i + 1);
        extension[i] = extension[other];
        extension[other] = at;
    }
    memcpy(wire, hello->wire, hello->size);
    unsigned char *to = wire + hello->permuted.from;
    for (uint32_t i = 0; i < count; to += extension_size(extension[i]), i++)
        memcpy(to, extension[i], extension_size(extension[i]));
    return wire;
}

static bool is_bulk(const struct conn *c)
{
    return c->mode == UP || c->mode == DOWN;
}

static void await(struct conn *c)
{
    watch(&c->handler, is_bulk(c) ? bulk : prompt, EPOLLIN | (c->writes ? EPOLLOUT : 0));
}

void want_writes(struct conn *c, bool wanted)
{
    if (c->writes != wanted) {
        c->writes = wanted;
        await(c);
    }
}

static void drop(struct conn *c)
{
    close(c->handler.fd);
    c->handler.fd = -1;
    tls_free(c->tls);
    c->tls = NULL;
}

static void fail(struct conn *c, const char *why)
{
    counts.failed++;
    if (!counts.why)
        counts.why = why;
    drop(c);
    if (c->mode == SETUP && counts.started < plan.most_ops)
        start(c);
}

static const char *because(const struct conn *c)
{
    return c->tls ? tls_why : strerror(errno);
}

/* Sends so much; what does not go is sent when it can be. */
static bool put(struct conn *c, uint32_t size)
{
    if (c->tls) {
        for (uint32_t from = 0; from < size; from += CHUNK)
            if (!tls_write(c->tls, c->handler.fd, chunk, size - from < CHUNK ? size - from : CHUNK))
                return false;
        want_writes(c, tls_unsent(c->tls));
        return true;
    }
    ssize_t sent = send(c->handler.fd, chunk, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return false;
    c->unsent = size - (uint32_t)(sent < 0 ? 0 : sent);
    want_writes(c, c->unsent > 0);
    return true;
}

/* True when all is sent, or nothing more goes for now. */
static bool put_unsent(struct conn *c)
{
    if (c->tls)
        return tls_flush(c->tls, c->handler.fd);
    if (!c->unsent)
        return true;
    ssize_t sent = send(c->handler.fd, chunk, c->unsent, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN;
    c->unsent -= (uint32_t)sent;
    return true;
}

static bool has_unsent(const struct conn *c)
{
    return c->tls ? tls_unsent(c->tls) : c->unsent > 0;
}

static bool greet(struct conn *c)
{
    static uint32_t next;
    struct hello *hello = c->mode != plan.mode && !plan.key_share ? &plan.beside : &plan.hello[next++ % plan.hello_count];
    if (plan.key_share) {
        if (!c->tls) {
            vary(hello);
            c->tls = tls_new(&(struct tls_hello){hello->wire, hello->size, plan.key_share}, c->ticket);
        }
        if (!tls_flush(c->tls, c->handler.fd))
            return false;
        if (!tls_unsent(c->tls))
            c->state = HANDSHAKING;
        return true;
    }
    vary(hello);
    ssize_t sent = send(c->handler.fd, permute(hello), hello->size, MSG_NOSIGNAL);
    if (sent == (ssize_t)hello->size) {
        c->state = GREETING;
        c->unread = c->mode == RR ? hello->size : FIRST_SIZE; /* that backend echoes the hello as well */
        return true;
    }
    return sent < 0 && errno == EAGAIN;
}

static void on_event(struct handler *self, uint32_t events);

void start(struct conn *c)
{
    int on = 1;
    counts.started++;
    c->handler = (struct handler){on_event, socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 0};
    if (c->handler.fd < 0)
        die("socket");
    setsockopt(c->handler.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (plan.sources > 1) { /* more client addresses: more ports than one address has */
        struct sockaddr_in from = plan.source;
        from.sin_addr.s_addr = htonl(ntohl(from.sin_addr.s_addr) + source++ % plan.sources);
        setsockopt(c->handler.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(c->handler.fd, (struct sockaddr *)&from, sizeof from) < 0)
            die("bind");
    }
    c->began = now_ns();
    c->state = CONNECTING;
    if (connect(c->handler.fd, (struct sockaddr *)&plan.target, sizeof plan.target) < 0 && errno != EINPROGRESS)
        die("connect");
    if (!greet(c)) { /* on loopback it is connected by now */
        fail(c, because(c));
        return;
    }
    c->writes = c->state == CONNECTING;
    await(c);
}

void request(struct conn *c)
{
    if (counts.started >= plan.most_ops)
        return;
    counts.started++;
    c->began = now_ns();
    c->unread = plan.size;
    if (!put(c, plan.size))
        fail(c, because(c));
}

static void done(struct conn *c)
{
    note(now_ns() - c->began);
    counts.finished++;
    if (c->tls) {
        counts.tickets += tls_tickets(c->tls);
        counts.resumed += tls_resumed(c->tls);
    }
    drop(c);
    if (counts.started < plan.most_ops)
        start(c);
}

static void finish(struct conn *c)
{
    c->state = ENDING;
    want_writes(c, has_unsent(c));
    if (has_unsent(c))
        return;
    if (c->tls && !tls_close(c->tls, c->handler.fd)) {
        fail(c, because(c));
        return;
    }
    shutdown(c->handler.fd, SHUT_WR);
}

/* The backend's first bytes are there. */
static void greeted(struct conn *c)
{
    c->state = OPEN;
    counts.opened++;
    if (c->mode != SETUP)
        return;
    if (plan.by_reset) {
        struct linger now = {1, 0};
        setsockopt(c->handler.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        done(c);
    } else
        finish(c);
}

/* The handshake is done: the first message tells the backend what to be. */
static void begin(struct conn *c)
{
    static const char *const words[] = {"reply", "echo", "sink", "source", "reply"};
    if (counts.measuring && plan.resume && c->mode == SETUP && !tls_resumed(c->tls)) {
        fail(c, "the session was not resumed");
        return;
    }
    c->state = GREETING;
    c->unread = FIRST_SIZE;
    memset(chunk, 0, FIRST_SIZE);
    memcpy(chunk, words[c->mode], strlen(words[c->mode]));
    if (!put(c, FIRST_SIZE))
        fail(c, because(c));
}

static void pour(struct conn *c)
{
    if (!put_unsent(c)) {
        fail(c, because(c));
        return;
    }
    for (int i = 0; i < (bulk_beside ? 1 : 4) && !(c->tls && has_unsent(c)); i++) {
        if (c->tls) {
            if (!tls_write(c->tls, c->handler.fd, chunk, CHUNK)) {
                fail(c, because(c));
                return;
            }
            poured += CHUNK;
            continue;
        }
        ssize_t sent = send(c->handler.fd, chunk, CHUNK, MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno != EAGAIN)
                fail(c, because(c));
            return;
        }
        poured += (uint64_t)sent;
    }
}

static void on_writable(struct conn *c)
{
    if (c->state == CONNECTING) {
        if (!greet(c)) {
            fail(c, because(c));
            return;
        }
        if (c->state != CONNECTING)
            want_writes(c, false);
    } else if (c->state == OPEN && c->mode == UP && pouring) {
        pour(c);
    } else if (!put_unsent(c)) {
        fail(c, because(c));
    } else if (!has_unsent(c)) {
        if (c->state == ENDING)
            finish(c);
        else
            want_writes(c, false);
    }
}

/* Reads once: TLS_READY when the handshake is done, TLS_DATA with `*data` bytes of the backend's. */
static enum tls_event take(struct conn *c, size_t *data)
{
    bool unseen = c->state == ENDING || (c->mode == DOWN && c->state == OPEN);
    size_t most = !unseen ? sizeof chunk : bulk_beside ? BESIDE : 4 * CHUNK;
    if (c->tls && unseen)
        return tls_count(c->tls, c->handler.fd, most, data);
    if (c->tls)
        return tls_read(c->tls, c->handler.fd, data);
    ssize_t got = recv(c->handler.fd, unseen ? NULL : chunk, most, unseen ? MSG_TRUNC : 0);
    *data = got < 0 ? 0 : (size_t)got;
    return got > 0 ? TLS_DATA : got == 0 ? TLS_END : errno == EAGAIN ? TLS_AGAIN : TLS_BROKEN;
}

static void on_end(struct conn *c)
{
    if (c->state != ENDING)
        fail(c, "the proxy closed the connection");
    else
        done(c);
}

static void on_data(struct conn *c, size_t got)
{
    if (c->mode == DOWN && c->state == OPEN)
        arrived += got;
    if (c->state == GREETING) {
        if (got >= c->unread)
            greeted(c);
        else
            c->unread -= (uint32_t)got;
    } else if (c->mode == RR && c->state == OPEN) {
        if (got >= c->unread) {
            note(now_ns() - c->began);
            counts.finished++;
            request(c);
        } else
            c->unread -= (uint32_t)got;
    }
}

static void on_event(struct handler *self, uint32_t events)
{
    struct conn *c = (struct conn *)self;
    size_t got;
    if (c->handler.fd < 0)
        return;
    if (events & EPOLLOUT)
        on_writable(c);
    if (c->handler.fd < 0 || !(events & ~(uint32_t)EPOLLOUT))
        return;
    switch (take(c, &got)) {
    case TLS_AGAIN:
        break;
    case TLS_READY:
        begin(c);
        break;
    case TLS_DATA:
        on_data(c, got);
        break;
    case TLS_END:
        on_end(c);
        break;
    case TLS_BROKEN:
        if (c->state == ENDING && c->tls && errno == ECONNRESET) { /* it has all that it asked for */
            counts.resets++;
            on_end(c);
        } else
            fail(c, because(c));
    }
}
