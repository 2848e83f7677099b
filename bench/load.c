/* The load generator: clients and backends in one epoll loop, which opens connections as TLS clients do, and measures.

     load setup --to HOST:PORT --hello FILE[,FROM:SIZE…][,@FROM:COUNT] --open K --close fin|reset [--count N]
     load rr    … --open K --size BYTES                  requests and responses of BYTES each, on K connections
     load up    … --open K                               as many bytes as go, towards the backend
     load down  … --open K                               the same, from the backend
     load idle  … --open K                               K connections, held
     load serve --serve MODE:HOST:PORT…                  nothing but the backends: see backend.c

   A connection begins with the hello of FILE, with the bytes of each range FROM:SIZE made anew (random, session
   id, key shares: no two real hellos are equal; of several --hello each in turn), and the COUNT extensions that begin at
   the @FROM in another order each time, as browsers do. It is open once the backend's first bytes came back.
   `setup` also ends it: `fin` ends our direction, waits for the other's end and closes; `reset` resets.
   With --key-share OFFSET (where it is in the hello) the proxy terminates TLS 1.3, and the backend is an `any`:
   see tls.c. With --resume 1 as well, `setup` first gets a ticket for each of the K, and then resumes.
   `rr --beside K --beside-hello FILE…` has K more connections on which bytes come down at full rate.

   Every mode takes --serve. Clients and backends share one thread, and while it measures it polls for 200 µs before it
   sleeps: to wake a sleeping process on another core costs the one that sends to it (the proxy) several microseconds,
   which no network would, and the slower the proxy the more often. --spin 0 lets it sleep at once.

   It prints `ready` when its K connections are open (`setup`: at once). For each line on its standard input, MILLISECONDS,
   it does its work so long, waits for what is on its way then, and prints one line of JSON, with its own CPU time (`cpu_spun`
   of it polled for nothing); its connections stay open. It closes when its input ends, and gives up after --give-up seconds
   without an operation: {"error": WHY}. */
#include "client.h"

#define MOST_OPEN 60000
#define SPIN_NS 200000 /* longer than a proxy keeps us waiting while it works */
#define FULL_RATE 0.01 /* seconds until bulk that is beside something is in full flow */

static uint32_t open_count = 1, beside_count;
static uint64_t give_up = 5;
static double seconds; /* to work for; negative: to end */
static bool spin = true, told;

static void on_input(struct handler *self, uint32_t events)
{
    char line[64] = "";
    (void)events;
    seconds = read(self->fd, line, sizeof line - 1) <= 0 ? -1 : strtod(line, NULL) / 1000;
    told = true;
}

static void surrender(const char *why)
{
    printf("{\"error\": \"%s\"}\n", why);
    exit(1);
}

/* Turn the loop until `*counter` is `goal`, or for so many seconds; never longer than `give_up` without progress. */
static void turn(const uint64_t *counter, uint64_t goal, double most)
{
    bool spinning = spin && counts.measuring;
    uint64_t last = ~0ull, since = now_ns(), since_event = since, ends = since + (uint64_t)(most * 1e9);
    while (*counter + counts.failed < goal) {
        uint64_t now = now_ns(), progress = counts.finished + counts.opened + arrived + counts.failed;
        if (now >= ends)
            return;
        if (progress != last)
            last = progress, since = now;
        else if (now - since > give_up * 1000000000ull)
            surrender("nothing happened for too long");
        if (pass(spinning ? 0 : 100)) {
            since_event = now;
            spinning = spin && counts.measuring;
        } else if (spinning && now - since_event > SPIN_NS)
            spinning = false;
    }
}

/* "FILE,11:32,44:32,@160:14" */
static void read_hello(struct hello *hello, char *value)
{
    char *path = strtok(value, ",");
    int fd = open(path, O_RDONLY);
    ssize_t got = fd < 0 ? -1 : read(fd, hello->wire, sizeof hello->wire);
    if (got <= 0)
        die(path);
    hello->size = (uint32_t)got;
    close(fd);
    for (char *range; (range = strtok(NULL, ","));) {
        bool permuted = *range == '@';
        uint32_t from, size;
        if (sscanf(range + permuted, "%u:%u", &from, &size) != 2)
            die(range);
        if (permuted) {
            uint64_t end = from;
            for (uint32_t i = 0; i < size && end + 4 <= hello->size; i++)
                end += extension_size(hello->wire + end);
            if (size > MOST_PERMUTED || end > hello->size)
                die(range);
            hello->permuted.from = from;
            hello->permuted.size = size;
        } else {
            if (hello->ranges == 8 || (uint64_t)from + size > hello->size)
                die(range);
            hello->range[hello->ranges].from = from;
            hello->range[hello->ranges++].size = size;
        }
    }
}

/* "127.0.0.1:16": so many addresses from that one on. */
static void read_sources(const char *value)
{
    plan.source = address(value);
    plan.sources = ntohs(plan.source.sin_port);
    plan.source.sin_port = 0;
}

static bool read_flag(const char *flag, char *value)
{
    if (!strcmp(flag, "--to"))
        plan.target = address(value);
    else if (!strcmp(flag, "--hello")) {
        if (plan.hello_count == MOST_HELLOS)
            die("more than 64 times --hello");
        read_hello(&plan.hello[plan.hello_count++], value);
    }
    else if (!strcmp(flag, "--beside-hello"))
        read_hello(&plan.beside, value);
    else if (!strcmp(flag, "--count"))
        plan.most_ops = number(value, 100000000);
    else if (!strcmp(flag, "--open"))
        open_count = (uint32_t)number(value, MOST_OPEN);
    else if (!strcmp(flag, "--beside"))
        beside_count = (uint32_t)number(value, MOST_OPEN);
    else if (!strcmp(flag, "--size"))
        plan.size = (uint32_t)number(value, MOST_SIZE);
    else if (!strcmp(flag, "--sources"))
        read_sources(value);
    else if (!strcmp(flag, "--give-up"))
        give_up = number(value, 600);
    else if (!strcmp(flag, "--serve"))
        serve(value);
    else if (!strcmp(flag, "--spin"))
        spin = number(value, 1);
    else if (!strcmp(flag, "--key-share"))
        plan.key_share = (uint32_t)number(value, 16384 - 32);
    else if (!strcmp(flag, "--resume"))
        plan.resume = number(value, 1);
    else if (!strcmp(flag, "--close"))
        plan.by_reset = !strcmp(value, "reset");
    else
        return false;
    return true;
}

static void read_flags(int count, char **words)
{
    static const char *const modes[MODES] = {"setup", "rr", "up", "down", "idle", "serve"};
    bool beside = false;
    int found = -1;
    for (int i = 0; count > 1 && i < MODES; i++)
        if (!strcmp(words[1], modes[i]))
            found = i;
    if (found < 0 || count % 2) {
        fprintf(stderr, "load setup|rr|up|down|idle|serve …: see the head of load.c\n");
        exit(2);
    }
    plan.mode = (enum mode)found;
    for (int i = 2; i < count; i++)
        beside |= !strcmp(words[i], "--beside");
    open_loop(beside);
    for (int i = 2; i + 1 < count; i += 2)
        if (!read_flag(words[i], words[i + 1])) {
            fprintf(stderr, "no such flag: %s\n", words[i]);
            exit(2);
        }
    if (plan.mode != SERVE && (!plan.hello_count || !plan.target.sin_port)) {
        fprintf(stderr, "--to and --hello are needed\n");
        exit(2);
    }
    if (plan.key_share && !tls_load())
        surrender(tls_why);
}

/* Serve the backends until there is a line of standard input, or its end: then it is false. */
static bool serve_until_told(void)
{
    told = false;
    while (!told)
        pass(-1);
    return seconds >= 0;
}

/* Operations for so long; then start no more, and let those on their way end. */
static void operate(void)
{
    uint64_t most = plan.most_ops;
    turn(&counts.finished, most, seconds);
    plan.most_ops = counts.started;
    turn(&counts.finished, counts.started, 30);
    plan.most_ops = most;
}

static void begin_bulk(void)
{
    pouring = true;
    wake_sources();
}

static void end_bulk(void)
{
    pouring = false;
    if (!counts.failed)
        turn(&arrived, poured, 60);
}

/* A ticket for each of the connections, from a full handshake. */
static void get_tickets(struct conn *conns)
{
    uint64_t wanted = plan.most_ops;
    plan.most_ops = open_count;
    for (uint32_t i = 0; i < open_count; i++) {
        if (!(conns[i].ticket = calloc(1, sizeof *conns[i].ticket)))
            die("calloc");
        start(&conns[i]);
    }
    turn(&counts.finished, open_count, 60);
    if (counts.failed)
        surrender(counts.why);
    for (uint32_t i = 0; i < open_count; i++)
        if (!conns[i].ticket->size)
            surrender("it issues no session ticket");
    plan.most_ops = wanted;
}

static void open_all(struct conn *conns, uint32_t count, enum mode mode)
{
    uint64_t before = counts.opened;
    for (uint32_t i = 0; i < count; i++) {
        conns[i].mode = mode;
        if (mode == SETUP)
            continue;
        start(&conns[i]);
        turn(&counts.opened, before + (i < 64 ? 0 : i - 64), 600); /* at most 64 at once on their way */
        if (counts.failed)
            break;
    }
    if (mode != SETUP && !counts.failed)
        turn(&counts.opened, before + count, 600);
    if (counts.failed)
        surrender(counts.why ? counts.why : "a connection did not open");
}

static void work(struct conn *conns)
{
    switch (plan.mode) {
    case SETUP:
        for (uint32_t i = 0; i < open_count && counts.started < plan.most_ops; i++)
            start(&conns[i]);
        operate();
        break;
    case RR:
        if (beside_count) {
            begin_bulk();
            turn(&counts.finished, ~0ull, FULL_RATE);
        }
        for (uint32_t i = 0; i < open_count; i++)
            request(&conns[i]);
        operate();
        end_bulk();
        break;
    case UP:
    case DOWN:
        begin_bulk();
        for (uint32_t i = 0; i < open_count && plan.mode == UP; i++)
            want_writes(&conns[i], true);
        turn(&counts.finished, ~0ull, seconds);
        end_bulk();
        break;
    default:
        break;
    }
}

static void measure(struct conn *conns)
{
    double user, system, user_then, system_then;
    own_cpu(&user_then, &system_then);
    counts = (struct counts){.measuring = true};
    poured = arrived = spun_ns = 0;
    forget_latencies();
    uint64_t began = now_ns();
    work(conns);
    uint64_t took = now_ns() - began;
    own_cpu(&user, &system);
    counts.measuring = false;
    printf("{\"operations\": %llu, \"failed\": %llu, \"why\": \"%s\", \"bytes\": %llu, \"beside_bytes\": %llu, \"resumed\": %llu, "
           "\"tickets\": %llu, \"resets\": %llu, \"seconds\": %.6f, \"cpu_user\": %.6f, \"cpu_system\": %.6f, \"cpu_spun\": %.6f, "
           "\"latencies\": ",
           (unsigned long long)counts.finished, (unsigned long long)counts.failed, counts.why ? counts.why : "",
           (unsigned long long)(beside_count ? 0 : arrived), (unsigned long long)(beside_count ? arrived : 0),
           (unsigned long long)counts.resumed, (unsigned long long)counts.tickets, (unsigned long long)counts.resets,
           (double)took / 1e9, user - user_then, system - system_then, (double)spun_ns / 1e9);
    print_latencies();
    puts("}");
}

int main(int count, char **words)
{
    struct handler input = {on_input, 0, 0};
    all_descriptors();
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_flags(count, words);
    watch(&input, prompt, EPOLLIN);
    struct conn *conns = calloc(open_count + beside_count, sizeof *conns);
    if (!conns)
        die("calloc");
    if (plan.mode != SERVE) {
        open_all(conns, open_count, plan.mode);
        open_all(conns + open_count, beside_count, DOWN);
    }
    if (plan.resume)
        get_tickets(conns);
    puts("ready");
    while (serve_until_told())
        measure(conns);
    return 0;
}
