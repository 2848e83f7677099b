/* The backend: a port for each thing that a backend can do, served from the load generator's own loop.

   reply   answers the first bytes of a connection with 100 bytes, and ignores what else comes
   echo    sends back what comes
   source  sends without end from the first bytes that it gets until the client ends its direction
   sink    answers the first bytes with 100 bytes, and throws away what else comes
   All close when the client ends. */
#include "common.h"

enum mode { REPLY, ECHO, SOURCE, SINK };

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
static int epoll;

static void watch(struct conn *c, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll, operation, c->handler.fd, &event) < 0)
        die("epoll_ctl");
}

static void end(struct conn *c)
{
    free(c->keep);
    c->keep = NULL;
    close(c->handler.fd);
}

/* Returns false when the connection broke. */
static bool pour(struct conn *c)
{
    for (int i = 0; i < 16; i++) {
        ssize_t sent = send(c->handler.fd, chunk, sizeof chunk, MSG_NOSIGNAL);
        if (sent < 0)
            return errno == EAGAIN;
    }
    return true;
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
        watch(c, EPOLLIN, EPOLL_CTL_MOD);
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
        watch(c, EPOLLOUT, EPOLL_CTL_MOD);
    }
    return true;
}

/* What was read is not looked at, so it is not copied either. */
static bool discard(struct conn *c)
{
    ssize_t got = recv(c->handler.fd, c->greeted ? NULL : chunk, c->greeted ? 4 * CHUNK : CHUNK, c->greeted ? MSG_TRUNC : 0);
    if (got <= 0)
        return got < 0 && errno == EAGAIN;
    if (!c->greeted) {
        c->greeted = true;
        return send(c->handler.fd, reply, REPLY_SIZE, MSG_NOSIGNAL) == REPLY_SIZE;
    }
    return true;
}

static bool serve_source(struct conn *c, uint32_t events)
{
    if (events & EPOLLIN) {
        ssize_t got = recv(c->handler.fd, chunk, sizeof chunk, 0);
        if (got <= 0 && !(got < 0 && errno == EAGAIN))
            return false;
        if (got > 0 && !c->greeted) {
            c->greeted = true;
            watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
        }
    }
    return !c->greeted || pour(c);
}

static void on_client(struct handler *self, uint32_t events)
{
    struct conn *c = (struct conn *)self;
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
        conns[fd] = (struct conn){.handler = {on_client, fd}, .mode = listener->mode};
        watch(&conns[fd], EPOLLIN, EPOLL_CTL_ADD);
    }
}

void serve(int shared, const char *text)
{
    epoll = shared;
    static const char *const names[] = {"reply", "echo", "source", "sink"};
    const char *colon = strchr(text, ':');
    int mode = -1;
    for (int i = 0; colon && i < 4; i++)
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
    conns[fd] = (struct conn){.handler = {on_connection, fd}, .mode = (enum mode)mode};
    watch(&conns[fd], EPOLLIN, EPOLL_CTL_ADD);
}
