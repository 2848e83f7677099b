/* TLS 1.3 as a load generator's client: see tls.c. */
#ifndef BENCH_TLS_H
#define BENCH_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define TICKET_SIZE 4096

/* What resumes a session. `size` is 0 when there is none. */
struct ticket {
    uint64_t got_ns;
    uint32_t size, age_add;
    uint8_t psk[32], identity[TICKET_SIZE];
};

/* The ClientHello record that each connection begins with: 32 bytes of it are where our key share goes. */
struct tls_hello {
    const uint8_t *wire;
    size_t size, share_at;
};

enum tls_event {
    TLS_BROKEN = -1, /* of the connection or of the protocol: tls_why says which */
    TLS_AGAIN,       /* nothing more for now */
    TLS_READY,       /* the handshake is done; the next tls_write carries our Finished too */
    TLS_DATA,
    TLS_END, /* close_notify or FIN */
};

struct tls;

/* Opens libcrypto. False when it is not there. */
bool tls_load(void);

/* Makes the ClientHello; tls_flush sends it. `ticket` may be NULL or empty; it is kept, and gets what the server issues. */
struct tls *tls_new(const struct tls_hello *hello, struct ticket *ticket);
void tls_free(struct tls *tls);

/* Reads once, and decrypts all of it. `*data` is how many application bytes there were. */
enum tls_event tls_read(struct tls *tls, int fd, size_t *data);

/* Reads once, and counts the application bytes of the records without decrypting any: for bulk, where the load generator
   must not be the slower side. No tls_read after it. */
enum tls_event tls_count(struct tls *tls, int fd, size_t most, size_t *data);

/* Encrypts all of it, sends what goes, and keeps the rest for tls_flush. False when the connection broke. At most 256 KiB. */
bool tls_write(struct tls *tls, int fd, const uint8_t *data, size_t size);
bool tls_flush(struct tls *tls, int fd);
bool tls_unsent(const struct tls *tls);

/* Sends close_notify. */
bool tls_close(struct tls *tls, int fd);

bool tls_resumed(const struct tls *tls);
uint32_t tls_tickets(const struct tls *tls); /* that the server issued */
extern const char *tls_why;

#endif
