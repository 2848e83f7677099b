/* TLS 1.3 (RFC 8446) as a client that makes a server do the whole of its part, for as little CPU as that takes.

   A client of OpenSSL's costs about as much for a handshake as the server, so it could not load a fast one. This one
   leaves out what only protects a client: it has one key pair for all its handshakes, and checks neither the certificate nor
   its signature (the harness does that once, with a real client). It does check the server's Finished and the tag of
   each record that it decrypts, so both sides have the same keys, and a session counts as resumed only if the server said so.

   X25519 and TLS_AES_128_GCM_SHA256 only. Their arithmetic is that of libcrypto.so.3, opened at run time, so that nothing more
   than a C compiler is needed to build. */
#include "tls.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define RECORD 16384
#define OVERHEAD (5 + 1 + 16) /* header, content type, tag */
#define MOST (256 * 1024)     /* that is read, or written, at once */
#define HASH 32
#define MOST_MESSAGE 65536

enum content { CHANGE_CIPHER_SPEC = 20, ALERT, HANDSHAKE, APPLICATION };
enum message { SERVER_HELLO = 2, NEW_SESSION_TICKET = 4, FINISHED = 20 };
enum extension { PRE_SHARED_KEY = 41, KEY_SHARE = 51 };

typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_pkey_ctx_st EVP_PKEY_CTX;
typedef struct evp_cipher_st EVP_CIPHER;
typedef struct evp_cipher_ctx_st EVP_CIPHER_CTX;
typedef struct { uint64_t opaque[14]; } SHA256_CTX; /* 112 bytes, a part of libcrypto's interface */

/* As <openssl/evp.h> and <openssl/sha.h> declare them. */
#define LIBCRYPTO(F) \
    F(EVP_PKEY *, EVP_PKEY_new_raw_private_key, (int, void *, const uint8_t *, size_t)) \
    F(EVP_PKEY *, EVP_PKEY_new_raw_public_key, (int, void *, const uint8_t *, size_t)) \
    F(int, EVP_PKEY_get_raw_public_key, (const EVP_PKEY *, uint8_t *, size_t *)) \
    F(void, EVP_PKEY_free, (EVP_PKEY *)) \
    F(EVP_PKEY_CTX *, EVP_PKEY_CTX_new, (EVP_PKEY *, void *)) \
    F(int, EVP_PKEY_derive_init, (EVP_PKEY_CTX *)) \
    F(int, EVP_PKEY_derive_set_peer, (EVP_PKEY_CTX *, EVP_PKEY *)) \
    F(int, EVP_PKEY_derive, (EVP_PKEY_CTX *, uint8_t *, size_t *)) \
    F(EVP_CIPHER *, EVP_CIPHER_fetch, (void *, const char *, const char *)) \
    F(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_new, (void)) \
    F(void, EVP_CIPHER_CTX_free, (EVP_CIPHER_CTX *)) \
    F(int, EVP_CIPHER_CTX_ctrl, (EVP_CIPHER_CTX *, int, int, void *)) \
    F(int, EVP_CipherInit_ex, (EVP_CIPHER_CTX *, const EVP_CIPHER *, void *, const uint8_t *, const uint8_t *, int)) \
    F(int, EVP_CipherUpdate, (EVP_CIPHER_CTX *, uint8_t *, int *, const uint8_t *, int)) \
    F(int, EVP_CipherFinal_ex, (EVP_CIPHER_CTX *, uint8_t *, int *)) \
    F(int, SHA256_Init, (SHA256_CTX *)) \
    F(int, SHA256_Update, (SHA256_CTX *, const void *, size_t)) \
    F(int, SHA256_Final, (uint8_t *, SHA256_CTX *))

#define X25519 1034 /* NID_X25519 */
#define GET_TAG 0x10
#define SET_TAG 0x11

#define DECLARE(result, name, arguments) static result(*name) arguments;
LIBCRYPTO(DECLARE)

struct direction {
    EVP_CIPHER_CTX *cipher;
    uint64_t sequence;
    uint8_t iv[12];
};

struct tls {
    struct direction in, out;
    SHA256_CTX transcript;
    struct ticket *ticket;
    uint8_t early[HASH], client_handshake[HASH], server_handshake[HASH], master[HASH], resumption[HASH];
    bool encrypted, ready, offered, resumed;
    uint32_t tickets;
    uint8_t *kept; /* the begin of a record whose end did not come yet */
    uint32_t kept_size;
    uint8_t *message; /* handshake messages, which records may cut */
    uint32_t message_size;
    uint8_t *unsent;
    uint32_t unsent_from, unsent_size, unsent_room;
    uint32_t skip, head_size; /* tls_count's place in a record */
    uint8_t head[5];
};

const char *tls_why = "";
static EVP_CIPHER *aes;
static EVP_PKEY_CTX *agreement;
static uint8_t share[32], no_psk[HASH], empty_hash[HASH];
static uint8_t input[MOST + RECORD + 1024], output[(MOST / RECORD + 2) * (RECORD + OVERHEAD)];

static void hash(const void *data, size_t size, uint8_t *out)
{
    SHA256_CTX state;
    SHA256_Init(&state);
    SHA256_Update(&state, data, size);
    SHA256_Final(out, &state);
}

static void hmac(const uint8_t *key, const void *data, size_t size, uint8_t *out)
{
    uint8_t pad[64];
    SHA256_CTX state;
    memset(pad, 0x36, sizeof pad);
    for (int i = 0; i < HASH; i++)
        pad[i] ^= key[i];
    SHA256_Init(&state);
    SHA256_Update(&state, pad, sizeof pad);
    SHA256_Update(&state, data, size);
    SHA256_Final(out, &state);
    for (int i = 0; i < 64; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    SHA256_Init(&state);
    SHA256_Update(&state, pad, sizeof pad);
    SHA256_Update(&state, out, HASH);
    SHA256_Final(out, &state);
}

/* HKDF-Expand-Label (section 7.1), for at most one hash of output. */
static void expand(const uint8_t *secret, const char *label, const void *context, size_t context_size, uint8_t *out, size_t size)
{
    uint8_t info[128], block[HASH];
    size_t n = 0, label_size = strlen(label);
    info[n++] = 0, info[n++] = (uint8_t)size;
    info[n++] = (uint8_t)(6 + label_size);
    memcpy(info + n, "tls13 ", 6), n += 6;
    memcpy(info + n, label, label_size), n += label_size;
    info[n++] = (uint8_t)context_size;
    memcpy(info + n, context, context_size), n += context_size;
    info[n++] = 1;
    hmac(secret, info, n, block);
    memcpy(out, block, size);
}

static void transcript_hash(const struct tls *t, uint8_t *out)
{
    SHA256_CTX copy = t->transcript;
    SHA256_Final(out, &copy);
}

static bool broken(const char *why)
{
    tls_why = why;
    return false;
}

bool tls_load(void)
{
    static const uint8_t private[32] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const uint8_t zeros[HASH];
    void *library = dlopen("libcrypto.so.3", RTLD_NOW);
    if (!library)
        return broken("there is no libcrypto.so.3");
#define FIND(result, name, arguments) \
    if (!(*(void **)&name = dlsym(library, #name))) \
        return broken("libcrypto.so.3 has no " #name);
    LIBCRYPTO(FIND)
    size_t size = sizeof share;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(X25519, NULL, private, sizeof private);
    aes = EVP_CIPHER_fetch(NULL, "AES-128-GCM", NULL);
    if (!key || !aes || EVP_PKEY_get_raw_public_key(key, share, &size) <= 0 || !(agreement = EVP_PKEY_CTX_new(key, NULL))
        || EVP_PKEY_derive_init(agreement) <= 0)
        return broken("libcrypto.so.3 has no X25519 or no AES-128-GCM");
    hmac(zeros, zeros, HASH, no_psk);
    hash("", 0, empty_hash);
    return true;
}

static void rekey(struct direction *d, const uint8_t *secret, int encrypt)
{
    uint8_t key[16];
    expand(secret, "key", "", 0, key, sizeof key);
    expand(secret, "iv", "", 0, d->iv, sizeof d->iv);
    if (!d->cipher)
        d->cipher = EVP_CIPHER_CTX_new();
    EVP_CipherInit_ex(d->cipher, aes, NULL, key, NULL, encrypt);
    d->sequence = 0;
}

/* One record in place: `data` has `size` bytes to (de)crypt; the tag is behind them. `header` is the 5 bytes before. */
static bool crypt(struct direction *d, const uint8_t *header, uint8_t *data, size_t size, bool encrypt)
{
    uint8_t nonce[12];
    int done;
    memcpy(nonce, d->iv, sizeof nonce);
    for (int i = 0; i < 8; i++)
        nonce[11 - i] ^= (uint8_t)(d->sequence >> (8 * i));
    d->sequence++;
    if (!EVP_CipherInit_ex(d->cipher, NULL, NULL, NULL, nonce, encrypt) || !EVP_CipherUpdate(d->cipher, NULL, &done, header, 5)
        || !EVP_CipherUpdate(d->cipher, data, &done, data, (int)size))
        return false;
    if (!encrypt)
        EVP_CIPHER_CTX_ctrl(d->cipher, SET_TAG, 16, data + size);
    if (EVP_CipherFinal_ex(d->cipher, data + size, &done) <= 0)
        return false;
    return !encrypt || EVP_CIPHER_CTX_ctrl(d->cipher, GET_TAG, 16, data + size);
}

static void put16(uint8_t *at, size_t value)
{
    at[0] = (uint8_t)(value >> 8), at[1] = (uint8_t)value;
}

static size_t get16(const uint8_t *at)
{
    return (size_t)at[0] << 8 | at[1];
}

static uint32_t get32(const uint8_t *at)
{
    return (uint32_t)(get16(at) << 16 | get16(at + 2));
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* Encrypts as one record to `to`; the size of the record. */
static size_t seal(struct tls *t, enum content content, const uint8_t *data, size_t size, uint8_t *to)
{
    to[0] = APPLICATION, to[1] = 3, to[2] = 3;
    put16(to + 3, size + 1 + 16);
    memcpy(to + 5, data, size);
    to[5 + size] = (uint8_t)content;
    crypt(&t->out, to, to + 5, size + 1, true);
    return size + OVERHEAD;
}

static void keep_unsent(struct tls *t, const uint8_t *data, size_t size)
{
    if (t->unsent_from) {
        memmove(t->unsent, t->unsent + t->unsent_from, t->unsent_size);
        t->unsent_from = 0;
    }
    if (t->unsent_size + size > t->unsent_room) {
        t->unsent_room = (uint32_t)(t->unsent_size + size);
        if (!(t->unsent = realloc(t->unsent, t->unsent_room)))
            abort();
    }
    memcpy(t->unsent + t->unsent_size, data, size);
    t->unsent_size += (uint32_t)size;
}

bool tls_unsent(const struct tls *t)
{
    return t->unsent_size > 0;
}

bool tls_flush(struct tls *t, int fd)
{
    if (!t->unsent_size)
        return true;
    ssize_t sent = send(fd, t->unsent + t->unsent_from, t->unsent_size, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN || broken(strerror(errno));
    t->unsent_from += (uint32_t)sent;
    t->unsent_size -= (uint32_t)sent;
    if (!t->unsent_size) {
        free(t->unsent);
        t->unsent = NULL;
        t->unsent_from = t->unsent_room = 0;
    }
    return true;
}

static bool put(struct tls *t, int fd, const uint8_t *records, size_t size)
{
    if (t->unsent_size) {
        keep_unsent(t, records, size);
        return tls_flush(t, fd);
    }
    ssize_t sent = send(fd, records, size, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return broken(strerror(errno));
    sent = sent < 0 ? 0 : sent;
    if ((size_t)sent < size)
        keep_unsent(t, records + sent, size - (size_t)sent);
    return true;
}

bool tls_write(struct tls *t, int fd, const uint8_t *data, size_t size)
{
    size_t made = 0;
    for (size_t from = 0; from < size; from += RECORD)
        made += seal(t, APPLICATION, data + from, size - from < RECORD ? size - from : RECORD, output + made);
    return put(t, fd, output, made);
}

bool tls_close(struct tls *t, int fd)
{
    static const uint8_t close_notify[2] = {1, 0};
    return put(t, fd, output, seal(t, ALERT, close_notify, sizeof close_notify, output));
}

/* Appends the pre_shared_key extension (section 4.2.11), which is the last, and whose binder covers all before it. */
static size_t offer(struct tls *t, uint8_t *wire, size_t size, size_t extensions_at)
{
    const struct ticket *k = t->ticket;
    size_t added = 4 + 2 + 2 + k->size + 4 + 2 + 1 + HASH;
    uint8_t *at = wire + size, binder_key[HASH], key[HASH], digest[HASH];
    put16(at, PRE_SHARED_KEY), put16(at + 2, added - 4), at += 4;
    put16(at, 2 + k->size + 4), put16(at + 2, k->size), at += 4;
    memcpy(at, k->identity, k->size), at += k->size;
    uint32_t age = (uint32_t)((now_ns() - k->got_ns) / 1000000) + k->age_add;
    put16(at, age >> 16), put16(at + 2, age), at += 4;
    put16(at, 1 + HASH), at[2] = HASH;
    put16(wire + 3, get16(wire + 3) + added);
    put16(wire + 7, get16(wire + 7) + added);
    put16(wire + extensions_at, get16(wire + extensions_at) + added);
    hmac((const uint8_t[HASH]){0}, k->psk, HASH, t->early);
    expand(t->early, "res binder", empty_hash, HASH, binder_key, HASH);
    expand(binder_key, "finished", "", 0, key, HASH);
    hash(wire + 5, (size_t)(at - wire) - 5, digest);
    hmac(key, digest, HASH, at + 3);
    t->offered = true;
    return size + added;
}

struct tls *tls_new(const struct tls_hello *hello, struct ticket *ticket)
{
    static uint8_t wire[16384 + TICKET_SIZE];
    struct tls *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    size_t size = hello->size, at = 5 + 4 + 2 + 32;
    memcpy(wire, hello->wire, size);
    memcpy(wire + hello->share_at, share, sizeof share);
    memcpy(t->early, no_psk, HASH);
    t->ticket = ticket;
    at += 1 + wire[at];
    at += 2 + get16(wire + at);
    at += 1 + wire[at];
    if (ticket && ticket->size)
        size = offer(t, wire, size, at);
    SHA256_Init(&t->transcript);
    SHA256_Update(&t->transcript, wire + 5, size - 5);
    keep_unsent(t, wire, size);
    return t;
}

void tls_free(struct tls *t)
{
    if (!t)
        return;
    EVP_CIPHER_CTX_free(t->in.cipher);
    EVP_CIPHER_CTX_free(t->out.cipher);
    free(t->kept);
    free(t->message);
    free(t->unsent);
    free(t);
}

bool tls_resumed(const struct tls *t)
{
    return t->resumed;
}

uint32_t tls_tickets(const struct tls *t)
{
    return t->tickets;
}

static bool server_hello(struct tls *t, const uint8_t *message, size_t size)
{
    static const uint8_t retry[8] = {0xCF, 0x21, 0xAD, 0x74, 0xE5, 0x9A, 0x61, 0x11};
    const uint8_t *at = message + 4 + 2, *end = message + size, *theirs = NULL;
    if (size < 44 || !memcmp(at, retry, sizeof retry))
        return broken("a HelloRetryRequest");
    at += 32;
    at += 1 + *at;
    if (at + 5 > end || get16(at) != 0x1301)
        return broken("not TLS_AES_128_GCM_SHA256");
    for (at += 5; at + 4 <= end && at + 4 + get16(at + 2) <= end; at += 4 + get16(at + 2)) {
        if (get16(at) == KEY_SHARE && get16(at + 2) == 36)
            theirs = at + 8;
        else if (get16(at) == PRE_SHARED_KEY)
            t->resumed = true;
    }
    if (!theirs)
        return broken("not TLS 1.3 with X25519");
    if (t->resumed && !t->offered)
        return broken("a session resumed that was not offered");
    if (!t->resumed)
        memcpy(t->early, no_psk, HASH);

    uint8_t agreed[32], derived[HASH], digest[HASH], secret[HASH];
    size_t agreed_size = sizeof agreed;
    EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(X25519, NULL, theirs, 32);
    bool ok = peer && EVP_PKEY_derive_set_peer(agreement, peer) > 0 && EVP_PKEY_derive(agreement, agreed, &agreed_size) > 0;
    EVP_PKEY_free(peer);
    if (!ok)
        return broken("a key share that is no point");
    SHA256_Update(&t->transcript, message, size);
    transcript_hash(t, digest);
    expand(t->early, "derived", empty_hash, HASH, derived, HASH);
    hmac(derived, agreed, sizeof agreed, secret);
    expand(secret, "c hs traffic", digest, HASH, t->client_handshake, HASH);
    expand(secret, "s hs traffic", digest, HASH, t->server_handshake, HASH);
    expand(secret, "derived", empty_hash, HASH, derived, HASH);
    hmac(derived, (const uint8_t[HASH]){0}, HASH, t->master);
    rekey(&t->in, t->server_handshake, 0);
    rekey(&t->out, t->client_handshake, 1);
    t->encrypted = true;
    return true;
}

static bool finished(struct tls *t, const uint8_t *message, size_t size)
{
    uint8_t key[HASH], digest[HASH], expected[HASH], ours[4 + HASH] = {FINISHED, 0, 0, HASH}, secret[HASH], client[HASH];
    expand(t->server_handshake, "finished", "", 0, key, HASH);
    transcript_hash(t, digest);
    hmac(key, digest, HASH, expected);
    if (size != 4 + HASH || memcmp(message + 4, expected, HASH))
        return broken("a wrong Finished");
    SHA256_Update(&t->transcript, message, size);
    transcript_hash(t, digest);
    expand(t->master, "s ap traffic", digest, HASH, secret, HASH);
    expand(t->master, "c ap traffic", digest, HASH, client, HASH);
    rekey(&t->in, secret, 0);

    expand(t->client_handshake, "finished", "", 0, key, HASH);
    hmac(key, digest, HASH, ours + 4);
    uint8_t record[4 + HASH + OVERHEAD];
    size_t made = seal(t, HANDSHAKE, ours, sizeof ours, record);
    keep_unsent(t, record, made);
    rekey(&t->out, client, 1);
    if (t->ticket) {
        SHA256_Update(&t->transcript, ours, sizeof ours);
        transcript_hash(t, digest);
        expand(t->master, "res master", digest, HASH, t->resumption, HASH);
    }
    t->ready = true;
    return true;
}

static bool new_session_ticket(struct tls *t, const uint8_t *message, size_t size)
{
    const uint8_t *nonce = message + 4 + 8;
    if (size < 4 + 9 || size < 4 + 9 + (size_t)*nonce + 2)
        return broken("a short NewSessionTicket");
    const uint8_t *identity = nonce + 1 + *nonce;
    size_t identity_size = get16(identity);
    if (identity + 2 + identity_size > message + size)
        return broken("a short NewSessionTicket");
    t->tickets++;
    if (!t->ticket || !identity_size || identity_size > TICKET_SIZE)
        return true;
    t->ticket->size = (uint32_t)identity_size;
    t->ticket->age_add = get32(message + 4 + 4);
    t->ticket->got_ns = now_ns();
    memcpy(t->ticket->identity, identity + 2, identity_size);
    expand(t->resumption, "resumption", nonce + 1, *nonce, t->ticket->psk, HASH);
    return true;
}

static bool on_message(struct tls *t, const uint8_t *message, size_t size)
{
    if (t->ready)
        return message[0] != NEW_SESSION_TICKET || new_session_ticket(t, message, size);
    if (message[0] == SERVER_HELLO)
        return server_hello(t, message, size);
    if (message[0] == FINISHED)
        return finished(t, message, size);
    SHA256_Update(&t->transcript, message, size);
    return true;
}

/* All whole messages; what is left of one is kept. Keys may change only between records, so none follows a Finished here. */
static bool on_handshake(struct tls *t, const uint8_t *data, size_t size)
{
    if (t->message_size + size > MOST_MESSAGE || !(t->message = realloc(t->message, t->message_size + size)))
        return broken("a long handshake message");
    memcpy(t->message + t->message_size, data, size);
    t->message_size += (uint32_t)size;
    uint32_t from = 0;
    while (t->message_size - from >= 4) {
        uint32_t length = 4 + (get32(t->message + from) & 0xFFFFFF);
        if (t->message_size - from < length)
            break;
        if (!on_message(t, t->message + from, length))
            return false;
        from += length;
    }
    t->message_size -= from;
    memmove(t->message, t->message + from, t->message_size);
    if (!t->message_size) {
        free(t->message);
        t->message = NULL;
    }
    return true;
}

static enum tls_event on_record(struct tls *t, uint8_t *record, size_t size, size_t *data)
{
    uint8_t content = record[0];
    uint8_t *body = record + 5;
    size -= 5;
    if (content == CHANGE_CIPHER_SPEC)
        return TLS_AGAIN;
    if (t->encrypted) {
        if (content != APPLICATION || size < 17 || !crypt(&t->in, record, body, size - 16, false)) {
            broken("a record that does not decrypt");
            return TLS_BROKEN;
        }
        for (size -= 16; size && !body[size - 1];)
            size--;
        if (!size) {
            broken("a record without a content type");
            return TLS_BROKEN;
        }
        content = body[--size];
    }
    switch (content) {
    case APPLICATION:
        *data += size;
        return TLS_DATA;
    case HANDSHAKE:
        return on_handshake(t, body, size) ? TLS_AGAIN : TLS_BROKEN;
    case ALERT:
        if (size == 2 && body[1] == 0)
            return TLS_END;
        static char alert[32];
        snprintf(alert, sizeof alert, "alert %d", size == 2 ? body[1] : -1);
        broken(alert);
        return TLS_BROKEN;
    default:
        broken("a record of no known content type");
        return TLS_BROKEN;
    }
}

enum tls_event tls_read(struct tls *t, int fd, size_t *data)
{
    size_t have = t->kept_size, at = 0;
    bool was_ready = t->ready;
    enum tls_event result = TLS_AGAIN;
    *data = 0;
    if (have) {
        memcpy(input, t->kept, have);
        free(t->kept);
        t->kept = NULL;
        t->kept_size = 0;
    }
    ssize_t got = recv(fd, input + have, MOST, 0);
    if (got < 0 && errno != EAGAIN) {
        broken(strerror(errno));
        return TLS_BROKEN;
    }
    if (got == 0)
        return TLS_END;
    have += got < 0 ? 0 : (size_t)got;
    while (have - at >= 5) {
        size_t size = 5 + get16(input + at + 3);
        if (size > 5 + RECORD + 256) {
            broken("a record too long");
            return TLS_BROKEN;
        }
        if (have - at < size)
            break;
        enum tls_event event = on_record(t, input + at, size, data);
        if (event == TLS_BROKEN || event == TLS_END)
            return event;
        at += size;
        if (event == TLS_DATA)
            result = TLS_DATA;
    }
    if (at < have) {
        t->kept_size = (uint32_t)(have - at);
        if (!(t->kept = malloc(t->kept_size)))
            abort();
        memcpy(t->kept, input + at, t->kept_size);
    }
    return !was_ready && t->ready ? TLS_READY : result;
}

enum tls_event tls_count(struct tls *t, int fd, size_t most, size_t *data)
{
    *data = 0;
    if (t->kept_size) { /* what tls_read left */
        memcpy(t->head, t->kept, t->kept_size < 5 ? t->kept_size : 5);
        t->head_size = t->kept_size < 5 ? t->kept_size : 5;
        if (t->head_size == 5) {
            t->skip = (uint32_t)(5 + get16(t->head + 3)) - t->kept_size;
            *data += get16(t->head + 3) - 17;
            t->head_size = 0;
        }
        free(t->kept);
        t->kept = NULL;
        t->kept_size = 0;
    }
    ssize_t got = recv(fd, input, most < MOST ? most : MOST, 0);
    if (got < 0) {
        if (errno == EAGAIN)
            return TLS_AGAIN;
        broken(strerror(errno));
        return TLS_BROKEN;
    }
    if (got == 0)
        return TLS_END;
    for (size_t at = 0, have = (size_t)got; at < have;) {
        size_t left = have - at, take;
        if (t->skip) {
            take = t->skip < left ? t->skip : left;
            t->skip -= (uint32_t)take;
        } else {
            take = 5 - t->head_size < left ? 5 - t->head_size : left;
            memcpy(t->head + t->head_size, input + at, take);
            t->head_size += (uint32_t)take;
            if (t->head_size == 5) {
                t->head_size = 0;
                t->skip = (uint32_t)get16(t->head + 3);
                *data += t->skip > 17 ? t->skip - 17 : 0;
            }
        }
        at += take;
    }
    return TLS_DATA;
}
