/* The backend: a port for each thing that a backend can do, served from the load generator's own loop.

   reply   answers the first bytes of a connection with 100 bytes, and ignores what else comes
   echo    sends back what comes
   source  answers the first bytes with 100 bytes, and sends as much as goes while there is `pouring`
   sink    answers the first bytes with 100 bytes, and throws away what else comes
   any     is the one that the first bytes name: "echo…"
   All close when the client ends. */
#include "common.h"

enum mode { REPLY, ECHO, SOURCE, SINK, ANY, MODES };

struct conn {
    struct handler handler;
    enum mode mode; /* of a listener: its connections' */
    bool greeted;
    uint32_t kept, kept_from; /* of an echo: what the other side did not take yet */
    char *keep;
};

#define MOST 65536
#define REPLY_SIZE 100

static struct conn conns[MOST];
static char chunk[CHUNK];
static const char reply[REPLY_SIZE] = "reply";
static const char *const names[MODES] = {"reply", "echo", "source", "sink", "any"};

static void await(struct conn *c, uint32_t events)
{
    watch(&c->handler, c->mode == SOURCE || c->mode == SINK ? bulk : prompt, events);
}

static void end(struct conn *c)
{
    free(c->keep);
    close(c->handler.fd);
    *c = (struct conn){0};
}

/* Returns false when the connection broke. */
static bool pour(struct conn *c)
{
    for (int i = 0; i < (bulk_beside ? 1 : 16); i++) {
        ssize_t sent = send(c->handler.fd, chunk, bulk_beside ? BESIDE : sizeof chunk, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN;
        poured += (uint64_t)sent;
    }
    return true;
}

static bool greet(struct conn *c)
{
    c->greeted = true;
    return send(c->handler.fd, reply, REPLY_SIZE, MSG_NOSIGNAL) == REPLY_SIZE;
}

static bool echo(struct conn *c)
{
    if (c->kept) {
        ssize_t sent = send(c->handler.fd, c->keep + c->kept_from, c->kept, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN;
        c->kept -= (uint32_t)sent;
        c->kept_from += (uint32_t)sent;
        if (c->kept)
            return true;
        await(c, EPOLLIN);
    }
    ssize_t got = recv(c->handler.fd, chunk, sizeof chunk, 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    ssize_t sent = send(c->handler.fd, chunk, (size_t)got, MSG_NOSIGNAL);
    if (sent < 0) {
        if (errno != EAGAIN)
            return false;
        sent = 0;
    }
    if (sent < got) {
        if (!c->keep && !(c->keep = malloc(sizeof chunk)))
            die("malloc");
        c->kept = (uint32_t)(got - sent);
        c->kept_from = 0;
        memcpy(c->keep, chunk + sent, c->kept);
        await(c, EPOLLOUT);
    }
    return true;
}

/* What was read is not looked at, so it is not copied either. */
static bool discard(struct conn *c)
{
    ssize_t got = recv(c->handler.fd, c->greeted ? NULL : chunk, c->greeted ? 4 * CHUNK : CHUNK, c->greeted ? MSG_TRUNC : 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    if (!c->greeted)
        return greet(c);
    if (c->mode == SINK)
        arrived += (uint64_t)got;
    return true;
}

static bool serve_source(struct conn *c, uint32_t events)
{
    if (events & EPOLLIN) {
        ssize_t got = recv(c->handler.fd, chunk, sizeof chunk, 0);
        if (got <= 0 && !(got < 0 && errno == EAGAIN))
            return false;
        if (got > 0 && !c->greeted)
            return greet(c);
    }
    if (pouring && c->greeted)
        return pour(c);
    if (events & EPOLLOUT)
        await(c, EPOLLIN);
    return true;
}

void wake_sources(void)
{
    for (int fd = 0; fd < MOST; fd++)
        if (conns[fd].mode == SOURCE && conns[fd].greeted)
            await(&conns[fd], EPOLLIN | EPOLLOUT);
}

/* Of a connection that may be any: which it is. */
static bool choose(struct conn *c)
{
    char first[8] = "";
    ssize_t got = recv(c->handler.fd, first, sizeof first, MSG_PEEK);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    for (int i = 0; i < ANY; i++)
        if (!strncmp(first, names[i], strlen(names[i]))) {
            c->mode = (enum mode)i;
            await(c, EPOLLIN);
            return true;
        }
    return false;
}

static void on_client(struct handler *self, uint32_t events)
{
    struct conn *c = (struct conn *)self;
    if (c->mode == ANY) {
        if (!choose(c)) {
            end(c);
            return;
        }
        if (c->mode == ANY)
            return;
    }
    bool goes_on = c->mode == ECHO ? echo(c) : c->mode == SOURCE ? serve_source(c, events) : discard(c);
    if (!goes_on)
        end(c);
}

static void on_connection(struct handler *self, uint32_t events)
{
    struct conn *listener = (struct conn *)self;
    (void)events;
    for (int i = 0; i < 64; i++) {
        int fd = accept4(self->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (fd >= MOST) {
            close(fd);
            return;
        }
        conns[fd] = (struct conn){.handler = {on_client, fd, 0}, .mode = listener->mode};
        await(&conns[fd], EPOLLIN);
    }
}

void serve(const char *text)
{
    const char *colon = strchr(text, ':');
    int mode = -1;
    for (int i = 0; colon && i < MODES; i++)
        if (strlen(names[i]) == (size_t)(colon - text) && !strncmp(names[i], text, (size_t)(colon - text)))
            mode = i;
    if (mode < 0) {
        fprintf(stderr, "not MODE:HOST:PORT: %s\n", text);
        exit(2);
    }
    struct sockaddr_in where = address(colon + 1);
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* inherited by what is accepted */
    if (bind(fd, (struct sockaddr *)&where, sizeof where) < 0)
        die("bind");
    if (listen(fd, 8192) < 0)
        die("listen");
    conns[fd] = (struct conn){.handler = {on_connection, fd, 0}, .mode = (enum mode)mode};
    watch(&conns[fd].handler, prompt, EPOLLIN);
}
